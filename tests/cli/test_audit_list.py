"""`viral audit list`: the entries of every tenant, each read as that tenant."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from clusters import Cluster
from factories import TestTenant
from shell import Shell, environment_of

from viral.cli.application import application
from viral.cli.audit import moment_of
from viral.database.engine import Database
from viral.errors import BadInput
from viral.features.audit import note

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


async def test_entries_are_listed_newest_first_with_their_tenant_and_who(
    cluster: Cluster,
    database_name: str,
    app: Database,
    alice: TestTenant,
    bob: TestTenant,
    tmp_path: Path,
) -> None:
    shell = Shell(environment_of(cluster, database_name), tmp_path)
    for tenant, subject in ((alice, "first"), (bob, "second"), (alice, "third")):
        async with app.tenant_session(tenant.id) as session:
            await note(
                session, "made key", subject, user_id=tenant.user_id, address="192.0.2.1", scopes=2
            )
    async with app.tenant_session(bob.id) as session:
        await note(session, "refused job", "fourth")

    newest = await asyncio.to_thread(
        shell.viral, "audit", "list", "--action", "made key", "--limit", "2", "--json"
    )
    of_bob = await asyncio.to_thread(shell.viral, "audit", "list", "--tenant", "bob")
    later = await asyncio.to_thread(shell.viral, "audit", "list", "--since", "2999-01-01")

    assert [(e["subject"], e["tenant"], e["user"]) for e in newest.document] == [
        ("third", "alice", "alice@example.com"),
        ("second", "bob", "bob@example.com"),
    ]
    assert newest.document[0]["details"] == {"scopes": 2}
    heading, fourth, second = of_bob.out.splitlines()
    assert heading.split() == [
        "when_utc",
        "tenant",
        "who",
        "action",
        "subject",
        "details",
        "address",
    ]
    assert fourth.split()[2:] == ["bob", "-", "refused", "job", "fourth", "-", "-"]
    assert second.split()[-3:] == ["second", "scopes=2", "192.0.2.1"]
    assert (later.code, later.out) == (0, "There is no such entry.\n")


def test_an_unknown_action_is_refused_with_those_there_are() -> None:
    with pytest.raises(BadInput, match="'flew' is not an action") as refused:
        application(["audit", "list", "--action", "flew"], standalone_mode=False)

    assert "signed in, signed out" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("30m", NOW - timedelta(minutes=30)),
        ("12H", NOW - timedelta(hours=12)),
        ("7d", NOW - timedelta(days=7)),
        ("2w", NOW - timedelta(weeks=2)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T10:00+02:00", datetime(2026, 11, 1, 8, tzinfo=UTC)),
    ],
)
def test_a_span_or_a_date_says_since_when(text: str, moment: datetime) -> None:
    assert moment_of(text, now=NOW) == moment


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "7y", "yesterday", "2026-13-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is no time"):
        moment_of(text, now=NOW)
