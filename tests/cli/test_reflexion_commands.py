"""`viral reflexion`: why, report, replay and the ways to undo, as a person types them."""

from __future__ import annotations

from pathlib import Path

import pytest
from clusters import Cluster
from shell import Shell, environment_of

UNIT = "id,platform,published_at,views,likes,title\n"


@pytest.fixture
def shell(cluster: Cluster, database_name: str, tmp_path: Path) -> Shell:
    return Shell(environment_of(cluster, database_name), tmp_path)


@pytest.fixture
def learnt(shell: Shell) -> tuple[str, str]:
    """Make a tenant that has learnt from thirty results; give the option that names it."""
    shell.viral("tenant", "create", "acme")
    rows = [
        f"v{number},youtube,2026-01-{number + 1:02},800000,{90000 - 1000 * number},x"
        for number in range(30)
    ]
    results = shell.file("results.csv", UNIT + "\n".join(rows))
    shell.viral("performance", "import", results, "--tenant", "acme")
    assert shell.viral("reflexion", "run").code == 0
    return "--tenant", "acme"


def test_the_guard_and_a_replay_are_shown_and_a_run_is_undone(
    shell: Shell, learnt: tuple[str, str]
) -> None:
    status = shell.viral("reflexion", "status", *learnt)
    document = shell.viral("reflexion", "status", *learnt, "--json").document
    report = shell.viral("reflexion", "report", *learnt)
    replay = shell.viral("reflexion", "replay", "--check", "--platform", "youtube")
    undone = shell.viral("reflexion", "undo", document["adjustments"][0]["id"], "--run", *learnt)

    assert "youtube, your own effects: 40 more results until the next" in status.out
    assert "youtube, version 1 of all tenants: 201 more results" in status.out
    assert "No hypothesis is on trial yet." in report.out
    assert "30 results, " in replay.out
    assert "all the same to the last bit." in replay.out
    assert (replay.code, undone.code) == (0, 0)
    assert f"{len(document['adjustments'])} adjustments of" in undone.out


def test_a_shared_version_and_a_shared_effect_are_undone(
    shell: Shell, learnt: tuple[str, str]
) -> None:
    effect = ("youtube", "reach", "global", "")

    own = shell.viral("reflexion", "undo", "--shared", *effect, *learnt)
    version = shell.viral("reflexion", "undo", "--version", "youtube", "1")
    again = shell.viral("reflexion", "undo", "--version", "youtube", "1")

    assert "This tenant is served +50.0 points in place of" in own.out
    assert version.out == "youtube: undone for all tenants: version 1.\n"
    assert (again.code, "Version 1 of youtube is not served." in again.err) == (1, True)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("undo", "Name one thing to undo"),
        ("undo --run --insight 42", "--run goes with"),
        ("undo --insight 42", "'42' is not an insight's id."),
        ("undo --version mars 1", "'mars' is not a platform."),
        ("replay --platform mars", "'mars' is not a platform."),
        ("why 42", "'42' is not a concept's id."),
    ],
)
def test_what_is_not_clear_is_said(shell: Shell, command: str, said: str) -> None:
    answer = shell.viral("reflexion", *command.split())

    assert (answer.code, said in answer.err) == (1, True)


def test_why_shows_each_effect_and_what_it_rests_on(shell: Shell, learnt: tuple[str, str]) -> None:
    trends = shell.file("trends.csv", "topic,category,score\none-pan dinners,food,90\n")
    shell.viral("trends", "import", trends)
    made = shell.viral("concepts", "generate", "--count", "1", *learnt, "--json").document[0]

    why = shell.viral("reflexion", "why", made["id"], *learnt)
    document = shell.viral("reflexion", "why", made["id"], *learnt, "--json").document

    assert why.code == 0, why.err
    assert made["title"] in why.out
    assert "Starting point (30 videos of 1 tenants)" in why.out
    (youtube,) = [each for each in document["platforms"] if each["platform"] == "youtube"]
    points = sum(round(10 * share["points"]) for share in youtube["shares"])
    assert points == round(10 * youtube["score"])
    assert len(youtube["similar"]) == 5
