"""Commands as people and programs use them: exit codes, one line and its fix, JSON, no traces."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import Cluster
from shell import Answer, Shell, environment_of
from typer.main import get_command

from viral.cli.application import application

HEAVY = {"anthropic", "asyncpg", "httpx", "litestar", "numpy", "sqlalchemy"}
UNIT = "id,platform,published_at,views,likes,title\n"


@pytest.fixture(scope="module")
def environment(cluster: Cluster, module_database: str) -> dict[str, str]:
    return environment_of(cluster, module_database)


@pytest.fixture
def shell(environment: dict[str, str], tmp_path: Path) -> Shell:
    return Shell(environment, tmp_path)


def commands() -> Iterator[tuple[str, str]]:
    """List every command with its help."""

    def walk(command: object, path: str) -> Iterator[tuple[str, str]]:
        children = getattr(command, "commands", None)
        if children is None:
            yield path, str(getattr(command, "help", ""))
            return
        for name, child in children.items():
            yield from walk(child, f"{path} {name}".strip())

    return walk(get_command(application), "")


@pytest.mark.parametrize(("path", "text"), list(commands()))
def test_the_help_of_every_command_has_an_example(path: str, text: str) -> None:
    assert "Example:" in text
    assert f"viral {path}" in text


def test_help_loads_nothing_heavy_and_needs_no_database(environment: dict[str, str]) -> None:
    program = f"""
import sys
from viral.__main__ import main
sys.argv = ["viral", "reflexion", "status", "--help"]
try:
    main()
finally:
    print("loaded:", sorted({HEAVY} & sys.modules.keys()))
"""

    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, "DATABASE_URL": "postgresql://nowhere/x"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "") == (ended.returncode, ended.stderr)
    assert "Example: viral reflexion status --tenant demo" in ended.stdout
    assert ended.stdout.endswith("\nloaded: []\n")


def test_a_group_alone_shows_its_help(shell: Shell) -> None:
    answer = shell.viral("reflexion")

    assert answer.code == 0
    assert "evaluate" in answer.out + answer.err
    assert "error" not in answer.err


def test_trends_become_concepts_and_a_broken_entry_is_named(shell: Shell) -> None:
    made = shell.viral("tenant", "create", "writer", "--plan", "PRO", "--json")
    trends = shell.file("trends.csv", "topic,category,score\none-pan dinners,food,90\n,food,1\n")

    imported = shell.viral("trends", "import", trends)
    written = shell.viral("concepts", "generate", "--tenant", "writer", "--count", "2", "--json")

    assert (made.code, set(made.document)) == (0, {"id", "slug"})
    assert (imported.code, imported.out) == (1, "1 trends are in.\n")
    assert "entry 2 is left out: it has no topic" in imported.err
    assert written.code == 0
    assert [len(each["predictions"]) for each in written.document] == [3, 3]
    listed = shell.viral("tenant", "list").out.split("\n")
    assert ["writer", "writer", "PRO", "2", "50"] in [line.split()[:5] for line in listed]


def test_results_become_adjustments_that_can_be_undone(shell: Shell) -> None:
    shell.viral("tenant", "create", "acme")
    # Enough of them, whatever other tests' tenants have taught.
    rows = [f"q{number},tiktok,2026-02-{number:02},800000,90000,x" for number in range(1, 21)]
    results = shell.file("results.csv", UNIT + "\n".join(rows))
    tenant = ("--tenant", "acme")

    first = shell.viral("performance", "import", results, *tenant)
    second = shell.viral("performance", "import", results, *tenant)
    learnt = shell.viral("reflexion", "run", "--json")
    adjustments = shell.viral("reflexion", "status", *tenant, "--json").document["adjustments"]
    shown = shell.viral("reflexion", "status", *tenant)
    undone = shell.viral("reflexion", "undo", adjustments[0]["id"], *tenant)
    again = shell.viral("reflexion", "undo", adjustments[0]["id"], *tenant)

    assert first == Answer(0, "20 results are in, 0 were known before.\n", "")
    assert second == Answer(0, "0 results are in, 20 were known before.\n", "")
    assert learnt.document["results"] >= 20
    assert f"id {adjustments[0]['id']}\n" in shown.out
    assert "20 results learnt, 0 wait." in shown.out
    assert (undone.code, again.code) == (0, 1)
    assert "points again" in undone.out
    assert "is undone already" in again.err


def test_broken_rows_are_listed_and_the_good_ones_are_in(shell: Shell) -> None:
    shell.viral("tenant", "create", "broken")
    rows = ["v1,tiktok,2026-01-31,5,1,a", "v2,myspace,2026-01-31,5,1,b", "v3,tiktok,soon,5,1,c"]
    file = shell.file("results.csv", UNIT + "\n".join([*rows, "v4,tiktok,2026-01-31,6,,"]))

    answer = shell.viral("performance", "import", file, "--tenant", "broken")

    assert (answer.code, answer.out) == (1, "2 results are in, 0 were known before.\n")
    assert "line 3, platform: 'myspace': is no known platform" in answer.err
    assert "all are listed in results.rejects.csv" in answer.err
    with (shell.folder / "results.rejects.csv").open() as listed:
        assert [row["line"] for row in csv.DictReader(listed)] == ["3", "4"]


def test_tenants_of_a_column_are_made(shell: Shell) -> None:
    rows = ["anna,v1,tiktok,2026-01-31,5", "Not usable,v2,tiktok,2026-01-31,5"]
    file = shell.file("all.csv", "studio,id,platform,published_at,views\n" + "\n".join(rows))

    answer = shell.viral("performance", "import", file, "--tenant-column", "studio", "--json")

    assert answer.code == 1
    document = answer.document
    assert isinstance(document, dict)
    assert (document["stored"], len(document["rejects"])) == (1, 1)
    assert document["rejects"][0]["line"] == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("reflexion status --tenant nobody", "There is no tenant 'nobody'."),
        ("reflexion undo 42 --tenant acme", "'42' is not an adjustment's id."),
        ("concepts generate --tenant nobody --count 0", "There is no tenant"),
        ("trends import nowhere.csv", "cannot be read: No such file"),
        ("trends import .", "cannot be read: Is a directory"),
        ("performance import . --tenant nobody", "is a folder"),
        ("performance import x.csv", "Say whose results these are."),
        ("tenant create a/b", "slug"),
        ("tenant create good --plan GOLD", "'GOLD' is not a plan."),
        ("tenant create good --bogus", "No such option"),
        ("concepts generate --tenant acme --count many", "Invalid value for '--count'"),
        ("server status", "DATABASE_URL is set"),
        ("server start", "DATABASE_URL is set"),
        ("server stop", "DATABASE_URL is set"),
        ("server logs", "DATABASE_URL is set"),
        ("server bootstrap --admin-url nonsense", "is not a URL"),
        ("dance", "No such command"),
    ],
)
def test_bad_input_is_one_line_with_its_fix(shell: Shell, arguments: str, words: str) -> None:
    answer = shell.viral(*arguments.split())

    lines = answer.err.strip().split("\n")
    assert answer.code == 1
    assert answer.out == ""
    assert lines[0].startswith("error: ")
    assert words in lines[0]
    assert [line[:7] for line in lines[1:]] in ([], ["  fix: "])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("reflexion status --tenant nobody --json", "not_found"),
        ("trends import nowhere.csv --json", "bad_file"),
        ("tenant create --json", "error"),
    ],
)
def test_an_error_is_json_where_json_was_asked_for(shell: Shell, arguments: str, code: str) -> None:
    answer = shell.viral(*arguments.split())

    document = answer.document
    assert isinstance(document, dict)
    assert answer.code == 1
    assert document["error"]["code"] == code
    assert set(document["error"]) == {"code", "message", "hint"}


def test_a_server_that_is_not_there_is_named(shell: Shell) -> None:
    nowhere = "postgresql://viral_app:secret@127.0.0.1:1/viral"

    answer = shell.viral("tenant", "list", DATABASE_URL=nowhere, DIRECT_URL=nowhere)

    assert answer.code == 1
    assert "127.0.0.1:1" in answer.err
    assert "secret" not in answer.err


def test_an_unusable_home_is_told_in_words(shell: Shell) -> None:
    answer = shell.viral("tenant", "list", VIRAL_HOME="/dev/null/home")

    assert answer.code == 1
    assert answer.err.startswith("error: ")


def test_evaluate_needs_no_database(shell: Shell) -> None:
    rows = [f"v{n},tiktok,2026-01-{n % 28 + 1:02},{900 + 37 * n},{n},t{n % 5}" for n in range(60)]
    file = shell.file("history.csv", UNIT + "\n".join(rows))

    answer = shell.viral(
        "reflexion",
        "evaluate",
        file,
        "--json",
        "--predictions",
        "out.csv",
        DATABASE_URL="postgresql://nobody@127.0.0.1:1/none",
    )

    assert answer.code == 0
    assert set(answer.document["tiktok"]) == {"eng", "reach"}
    assert (shell.folder / "out.csv").read_text().startswith("id,target,actual,score,low,high\n")


def test_rejects_that_cannot_be_listed_are_told(shell: Shell) -> None:
    shell.viral("tenant", "create", "listless")
    file = shell.file("results.csv", UNIT + "v1,tiktok,2026-01-31,5,1,a\nv2,x,2026-01-31,5,1,b\n")

    answer = shell.viral("performance", "import", file, "--tenant", "listless", "--rejects", ".")

    assert answer.code == 1
    assert "The good rows are in, but 1 bad ones cannot be listed in ." in answer.err
