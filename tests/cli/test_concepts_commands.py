"""`viral concepts` and `viral experiments`: found, kept, taken along, told otherwise, compared."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from clusters import Cluster
from shell import Shell, environment_of

TRENDS = "topic,category,score\none-pan dinners,food,90\nold cameras,tech,80\ncold soups,food,70\n"


@pytest.fixture(scope="module")
def environment(
    cluster: Cluster, module_database: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Name a database with one tenant that has six concepts."""
    environment = environment_of(cluster, module_database)
    shell = Shell(environment, tmp_path_factory.mktemp("made"))
    shell.viral("tenant", "create", "desk", "--plan", "AGENCY")
    shell.viral("trends", "import", shell.file("trends.csv", TRENDS))
    made = shell.viral("concepts", "generate", "--count", "6", "--seed", "1")
    assert made.code == 0, made.err
    return environment


@pytest.fixture
def shell(environment: dict[str, str], tmp_path: Path) -> Shell:
    return Shell(environment, tmp_path)


def test_concepts_are_listed_a_page_after_the_other(shell: Shell) -> None:
    first = shell.viral("concepts", "list", "--limit", "4", "--json").document
    last = first[-1]["id"]
    rest = shell.viral("concepts", "list", "--after", last, "--json").document
    shown = shell.viral("concepts", "list", "--limit", "4")

    assert {each["id"] for each in first} & {each["id"] for each in rest} == set()
    assert len(first) + len(rest) == len(shell.viral("concepts", "list", "--json").document)
    assert shown.err == f"Go on with --after {last}.\n"
    assert all(each["id"] in shown.out and each["title"] in shown.out for each in first)
    assert max(len(line) for line in shown.out.splitlines() if last not in line) <= 100
    assert len(next(line for line in shown.out.splitlines() if last in line)) <= 80


def test_what_is_searched_for_and_kept_is_found(shell: Shell) -> None:
    one = shell.viral("concepts", "list", "--category", "tech", "--json").document[0]
    words = " ".join(one["title"].split()[:2])

    found = shell.viral("concepts", "list", "--search", words, "--json").document
    kept = shell.viral("concepts", "favorite", one["id"])
    favorites = shell.viral("concepts", "list", "--favorites")
    let_go = shell.viral("concepts", "favorite", one["id"], "--off")
    none = shell.viral("concepts", "list", "--favorites")

    assert one["id"] in {each["id"] for each in found}
    assert kept.out == f"{one['title']} is a favourite.\n"
    assert favorites.out.startswith("★ ")
    assert let_go.out == f"{one['title']} is no favourite.\n"
    assert none.out == "There is no such concept.\n"


def test_concepts_are_taken_along(shell: Shell) -> None:
    rows = shell.viral("concepts", "export", "--category", "food")
    lines = shell.viral("concepts", "export", "--format", "json", "--out", "all.jsonl")
    again = shell.viral("concepts", "export", "--out", "all.jsonl")

    assert {"food"} == {each["category"] for each in csv.DictReader(io.StringIO(rows.out))}
    written = (shell.folder / "all.jsonl").read_text().splitlines()
    assert lines.err == f"{len(written)} concepts are written.\n"
    assert all(json.loads(line)["title"] for line in written)
    assert (again.code, "all.jsonl cannot be written" in again.err) == (1, True)


def test_a_concept_is_told_otherwise_and_one_telling_is_chosen(shell: Shell) -> None:
    # The newest may take part in the experiment of another test.
    concept = shell.viral("concepts", "list", "--json").document[-1]

    alone = shell.viral("concepts", "variants", concept["id"])
    varied = shell.viral("concepts", "vary", concept["id"], "--count", "3", "--seed", "1")
    chosen = shell.viral("concepts", "select", concept["id"], "c")
    listed = shell.viral("concepts", "variants", concept["id"], "--json").document

    assert alone.out == f"It is told in one way. Other ways: viral concepts vary {concept['id']}\n"
    assert varied.out.startswith(f"★ A  {concept['hook_type']}\n     title    {concept['title']}\n")
    assert chosen.out == f"To be posted as C: {listed[2]['title']}\n"
    assert [False, False, True] == [each["is_selected"] for each in listed]


def test_an_experiment_is_begun_shown_and_stopped(shell: Shell) -> None:
    start = ("experiments", "start", "openers", "--platform", "tiktok")

    none = shell.viral("experiments", "list")
    begun = shell.viral(*start, "--hooks", "story,question")
    twice = shell.viral(*start, "--arms", "3")
    made = shell.viral("concepts", "generate", "--count", "2", "--platform", "tiktok")
    shown = shell.viral("experiments", "show", "openers")
    document = shell.viral("experiments", "show", "openers", "--json").document
    stopped = shell.viral("experiments", "stop", "openers")
    listed = shell.viral("experiments", "list")

    assert none.out == "There is no experiment. Begin one: viral experiments start --help\n"
    assert "Next: viral concepts generate --platform tiktok\n" in begun.out
    assert (twice.code, "'openers' is running" in twice.err) == (1, True)
    assert made.out.count("The experiment tells it as ") == 2
    assert "0 of at most 200 posts are learnt, 2 concepts take part." in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80
    assert [("A", 0, None), ("B", 0, None)] == [
        (each["label"], each["posts"], each["low"]) for each in document["states"]
    ]
    assert "Stopped on " in stopped.out
    assert listed.out.startswith("openers  tiktok  stopped\n")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("concepts vary 42", "'42' is no concept's id"),
        ("concepts select 0199f3a0-5c1e-7b60-8b58-0f2f3c1f2a77 B", "There is no concept"),
        ("experiments show nothing", "There is no experiment 'nothing'"),
        ("experiments start x --platform mars", "'mars' is not a platform"),
        ("experiments start x --platform tiktok --hooks loud,story", "'loud' is not a type"),
        ("experiments start x --platform tiktok --most-posts 3", "3 posts cannot decide"),
    ],
)
def test_what_is_not_clear_is_said(shell: Shell, command: str, said: str) -> None:
    answer = shell.viral(*command.split())

    assert (answer.code, said in answer.err) == (1, True)
