"""`viral reflexion`: why, report, replay and the ways to undo, as a person types them."""

from __future__ import annotations

import re
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
    newest = re.findall(r"^ +id (\S+)$", status.out, re.MULTILINE)[0]
    report = shell.viral("reflexion", "report", *learnt)
    replay = shell.viral("reflexion", "replay", "--check", "--platform", "youtube")
    undone = shell.viral("reflexion", "undo", newest, "--run", *learnt)

    assert "youtube   yours           after 40 results   -" in status.out
    assert "youtube   all, version 1  after 201 results  +" in status.out
    assert "Models cost" not in status.out
    assert "No hypothesis is on trial yet." in report.out
    assert "30 results, " in replay.out
    assert "all the same to the last bit." in replay.out
    assert (replay.code, undone.code) == (0, 0)
    assert re.fullmatch(r"\d+ adjustments of [-\d]+ [:\d]+ are undone.\n", undone.out)


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


def test_status_says_when_the_days_money_is_spent(shell: Shell) -> None:
    shell.viral("tenant", "create", "acme")
    cap = {"ANTHROPIC_API_KEY": "sk-ant-a-key-of-nobody", "VIRAL_CLAUDE_DAILY_COST": "0"}

    status = shell.viral("reflexion", "status", **cap)

    assert "Models cost 0.00 of 0.00 USD today (UTC).\n" in status.out
    assert "Until midnight the offline critic stands in for claude" in status.out


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
    assert "Starting point\n          30 videos of 1 tenant, shared as global ''" in why.out
    assert max(len(line) for line in why.out.splitlines()) <= 80
    (youtube,) = [each for each in document["platforms"] if each["platform"] == "youtube"]
    points = sum(round(10 * share["points"]) for share in youtube["shares"])
    assert points == round(10 * youtube["score"])
    assert len(youtube["similar"]) == 5
