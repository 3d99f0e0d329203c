"""`viral branch` as people and programs run it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from clusters import Cluster
from shell import Shell, environment_of

from viral.cli.branch import tree
from viral.cli.moments import future, past
from viral.errors import BadInput
from viral.postgres.branches.provider import Branch
from viral.postgres.branches.registry import MAIN, new_branch
from viral.web.dashboard.rendering import render
from viral.web.dashboard.views import Page

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def test_a_server_that_is_not_ours_has_no_branches_of_ours(
    cluster: Cluster, database_name: str, tmp_path: Path
) -> None:
    shell = Shell(environment_of(cluster, database_name), tmp_path)

    answer = shell.viral("branch", "create", "x")

    assert answer.code == 1
    assert "NEON_API_KEY" in answer.err


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("2 hours ago", NOW - timedelta(hours=2)),
        ("30s", NOW - timedelta(seconds=30)),
        ("30m ago", NOW - timedelta(minutes=30)),
        ("2026-11-23T10:00:00Z", NOW - timedelta(hours=2)),
        ("2026-11-23T11:00+02:00", NOW - timedelta(hours=3)),
        ("2026-11-22", datetime(2026, 11, 22).astimezone()),
    ],
)
def test_moments_of_the_past(text: str, moment: datetime) -> None:
    assert past(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "0d", "2026-11-23T12:00:01Z", "7"])
def test_what_is_no_moment_of_the_past(text: str) -> None:
    with pytest.raises(BadInput):
        past(text, NOW)


def test_an_expiry_is_to_come() -> None:
    assert future("7d", NOW) == NOW + timedelta(days=7)
    with pytest.raises(BadInput, match="over"):
        future("2026-11-22", NOW)


def test_children_stand_under_their_parents() -> None:
    def below(parent: Branch, name: str) -> Branch:
        return new_branch(name, parent_id=parent.id, kind="database")

    first, second = below(MAIN, "first"), below(MAIN, "second")
    child = below(first, "child")

    lines = tree([MAIN, first, second, child])

    assert [(branch.name, depth) for branch, depth in lines] == [
        ("main", 0),
        ("first", 1),
        ("child", 2),
        ("second", 1),
    ]


@pytest.mark.parametrize("branch", [None, "feature/<b>"])
def test_the_bar_names_a_branch_that_is_not_main(branch: str | None) -> None:
    page = Page(now=NOW, csrf_token="", tenant_name="Demo", branch=branch)

    html = render("shell.html", page=page, here="home")

    assert ("feature/&lt;b&gt;" in html) == (branch is not None)
    assert ("rail-branch" in html) == (branch is not None)
