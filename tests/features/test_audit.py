"""The audit log is appended to, by a tenant in its own log, and never changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from clusters import Cluster, count_rows
from factories import TestTenant
from people import CALLER, change, join, make_key, sign_in_by_link
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.database.faults import sqlstate_of
from viral.features.audit import LONGEST_SUBJECT, Action, list_entries, note
from viral.schema.security import LOGINS
from viral.schema.tenants import AuditEntry


@pytest.fixture
def database_name(emptied_database: str) -> str:
    """One database for the module: a copy for each test would take longer than the tests."""
    return emptied_database


async def noted(app: Database, tenant: TestTenant, action: Action, subject: object = "") -> None:
    async with app.tenant_session(tenant.id) as session:
        await note(session, action, subject, user_id=tenant.user_id, address=CALLER.address)


async def entries(app: Database, tenant: TestTenant, limit: int = 99) -> list[AuditEntry]:
    async with app.tenant_session(tenant.id) as session:
        return list(await list_entries(session, limit=limit))


async def test_c17_an_entry_says_who_did_what_where_when_and_from_where(
    app: Database, alice: TestTenant
) -> None:
    async with app.tenant_session(alice.id) as session:
        await note(
            session,
            "changed role",
            "MEMBER",
            user_id=alice.user_id,
            address=CALLER.address,
            member="somebody",
            nothing=None,
        )

    [entry] = await entries(app, alice)
    assert (entry.tenant_id, entry.user_id, entry.address) == (
        alice.id,
        alice.user_id,
        CALLER.address,
    )
    assert (entry.action, entry.subject) == ("changed role", "MEMBER")
    assert entry.details == {"member": "somebody"}
    assert datetime.now(UTC) - entry.created_at < timedelta(hours=1)


@pytest.mark.parametrize("role", LOGINS)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET action = 'x'",
        "UPDATE audit_log SET created_at = now()",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
    ],
)
async def test_c17_nobody_changes_or_removes_an_entry(
    cluster: Cluster,
    app: Database,
    alice: TestTenant,
    database_name: str,
    role: str,
    statement: str,
) -> None:
    await noted(app, alice, "invited")
    connection = await cluster.connect(role, database_name)
    await connection.execute("SET default_transaction_read_only = off")
    await connection.execute("SELECT set_config('app.tenant', $1, false)", cluster.token(alice.id))

    with pytest.raises(Exception, match="denied") as refused:
        await connection.execute(statement)
    await connection.close()

    assert sqlstate_of(refused.value) == "42501"
    assert len(await entries(app, alice)) == 1


async def test_c17_a_tenant_writes_and_reads_its_own_log_only(
    app: Database, alice: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    await noted(app, bob, "invited")

    with pytest.raises(DBAPIError) as refused:
        async with app.tenant_session(alice.id) as session:
            await note(session, "invited", tenant_id=bob.id)

    assert sqlstate_of(refused.value) == "42501"
    assert await entries(app, alice) == []
    assert await count_rows(admin, "audit_log") == 1


async def test_c17_nobody_is_named_who_was_never_a_member(
    app: Database, alice: TestTenant, bob: TestTenant
) -> None:
    with pytest.raises(DBAPIError) as refused:
        async with app.tenant_session(alice.id) as session:
            await note(session, "invited", user_id=bob.user_id)

    assert sqlstate_of(refused.value) == "23503"


async def test_c17_the_system_appends_to_a_tenants_log_and_cannot_read_it(
    app: Database, system: Database, alice: TestTenant
) -> None:
    async with system.session_without_tenant() as session:
        await note(session, "refused webhook", "stripe", tenant_id=alice.id)

    assert [("refused webhook", "stripe", None)] == [
        (each.action, each.subject, each.user_id) for each in await entries(app, alice)
    ]
    with pytest.raises(DBAPIError) as refused:
        async with system.session_without_tenant() as session:
            await session.execute(text("SELECT id FROM audit_log"))
    assert sqlstate_of(refused.value) == "42501"


async def test_c17_an_entry_is_of_the_transaction_of_its_deed(
    app: Database, alice: TestTenant
) -> None:
    async def fail() -> None:
        async with app.tenant_session(alice.id) as session:
            await note(session, "invited")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()

    assert await entries(app, alice) == []


async def test_a_long_subject_is_cut(app: Database, alice: TestTenant) -> None:
    await noted(app, alice, "refused job", "x" * 1000)

    [entry] = await entries(app, alice)
    assert entry.subject == "x" * LONGEST_SUBJECT


async def test_c17_sessions_and_keys_leave_no_secret_in_the_log(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    host = await sign_in_by_link(app, system, alice)
    member = await join(app, system, alice, "member")
    key = await make_key(app, host, "admin")
    async with app.tenant_session(alice.id) as session:
        await note(session, "made key", key[:16], user_id=alice.user_id, scopes="admin")

    stored = str(await admin.scalar(text("SELECT array_agg(a::text) FROM audit_log AS a")))

    assert "made key" in stored
    for secret in (host.token, member.token, key):
        assert secret not in stored


async def test_entries_are_listed_newest_first_and_page_by_page(
    app: Database, alice: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    for number in range(7):
        await noted(app, alice, "invited", number)
        await noted(app, bob, "invited", "another tenant's")
    # All at one moment: the id decides.
    await change(admin, "UPDATE audit_log SET created_at = now()")

    seen: list[str] = []
    before: tuple[datetime, UUID] | None = None
    for _ in range(4):
        async with app.tenant_session(alice.id) as session:
            page = await list_entries(session, limit=2, before=before)
        seen += [each.subject for each in page]
        before = (page[-1].created_at, page[-1].id)

    assert seen == ["6", "5", "4", "3", "2", "1", "0"]


async def test_entries_are_found_by_action_and_moment(
    app: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await noted(app, alice, "invited", "old")
    await change(admin, "UPDATE audit_log SET created_at = now() - interval '2 days'")
    await noted(app, alice, "invited", "fresh")
    await noted(app, alice, "joined", "fresh")

    async with app.tenant_session(alice.id) as session:
        found = await list_entries(
            session, limit=9, action="invited", since=datetime.now(UTC) - timedelta(days=1)
        )

    assert ["fresh"] == [each.subject for each in found]
