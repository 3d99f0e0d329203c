"""`viral trends`: sources, a round over them, and the list, as people and programs run them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from clusters import Cluster
from shell import Answer, Shell, environment_of
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import execute, fetch

from viral.cli.trends import sparkline

LIST = "topic,score\nNight trains,40\nPizza recipe,60\n"


@pytest.fixture
def shell(cluster: Cluster, database_name: str, tmp_path: Path) -> Shell:
    return Shell(environment_of(cluster, database_name), tmp_path)


async def run(shell: Shell, *arguments: str) -> Answer:
    return await asyncio.to_thread(shell.viral, "trends", *arguments)


async def test_from_a_source_to_the_list(shell: Shell, admin: AsyncConnection) -> None:
    shell.file("list.csv", LIST)
    nothing = await run(shell, "fetch")
    # A path is kept whole, wherever it was named from.
    added = await run(shell, "sources", "add", "mine", "--kind", "csv", "--url", "list.csv")

    first = await run(shell, "fetch", "--source", "mine")
    early = await run(shell, "fetch", "--json")
    await execute(admin, "UPDATE trend_sources SET next_fetch_at = now()")
    await execute(admin, "UPDATE trend_observations SET observed_at = observed_at - interval '1 h'")
    shell.file("list.csv", LIST.replace("40", "55"))
    second = await run(shell, "fetch")
    table = await run(shell, "list")
    food = await run(shell, "list", "--category", "food", "--json")

    assert "sources add" in nothing.out
    assert "mine is enabled" in added.out
    assert first.out.startswith("mine: 2 new, 0 refreshed, 0 same; next 20")
    assert [each["status"] for each in early.document] == ["waiting"]
    assert second.out.startswith("mine: 0 new, 1 refreshed, 1 same")
    lines = [line.split() for line in table.out.splitlines()]
    assert [line[:2] for line in lines[1:]] == [["Pizza", "recipe"], ["Night", "trains"]]
    assert ["news", "55.0", "+15.0", "▁█", "mine"] == lines[2][2:7]
    assert [(each["topic"], each["history"]) for each in food.document] == [
        ("Pizza recipe", [60.0, 60.0])
    ]


async def test_a_source_that_fails_is_said_and_the_command_fails(shell: Shell) -> None:
    shell.file("list.csv", LIST)
    inside = "http://127.0.0.1/feed"
    await run(shell, "sources", "add", "good", "--kind", "csv", "--url", "list.csv")
    await run(shell, "sources", "add", "inside", "--kind", "feed", "--url", inside)
    await run(shell, "sources", "add", "keyless", "--kind", "youtube")

    answer = await run(shell, "fetch")
    listed = await run(shell, "sources", "list", "--json")
    table = await run(shell, "sources", "list")

    assert answer.code == 1
    lines = {line.partition(":")[0]: line for line in answer.out.splitlines()}
    assert "2 new" in lines["good"]
    assert "127.0.0.1 may not be called" in lines["inside"]
    assert "YOUTUBE_API_KEY must be set" in lines["keyless"]
    assert {each["name"]: each["failures"] for each in listed.document} == {
        "good": 0,
        "inside": 1,
        "keyless": 1,
    }
    assert "may not be called" in table.out


async def test_sources_are_disabled_enabled_and_removed(
    shell: Shell, admin: AsyncConnection
) -> None:
    await run(shell, "sources", "add", "mine", "--kind", "google-trends", "--region", "de")

    disabled = await run(shell, "sources", "disable", "mine")
    refused = await run(shell, "fetch", "--source", "mine")
    table = await run(shell, "sources", "list")
    enabled = await run(shell, "sources", "enable", "mine", "--json")
    removed = await run(shell, "sources", "remove", "mine", "--json")

    assert "mine is disabled" in disabled.out
    assert (refused.code, "sources enable mine" in refused.err) == (1, True)
    assert "rss?geo=DE" in table.out
    assert enabled.document["is_enabled"] is True
    assert removed.document == {"name": "mine", "is_removed": True}
    assert await fetch(admin, "SELECT count(*) FROM job_schedules") == [(0,)]


async def test_kinds_are_told_with_their_limits(shell: Shell) -> None:
    table = await run(shell, "sources", "kinds")

    youtube = next(line for line in table.out.splitlines() if line.startswith("youtube"))
    assert "60 min" in youtube
    assert "YOUTUBE_API_KEY" in youtube


@pytest.mark.parametrize(
    ("scores", "drawn"),
    [
        ([], ""),
        ([5], "▁"),
        ([5, 5], "▁▁"),
        ([0, 50, 100], "▁▅█"),
        ([100.0, *range(20)], "▁▂▂▃▄▄▅▅▆▇▇█"),
    ],
)
def test_scores_are_drawn_between_their_lowest_and_highest(scores: list[float], drawn: str) -> None:
    assert sparkline(scores) == drawn
