"""One session, one tenant: tasks, transactions, cancellation, and roles that are too strong."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import replace
from uuid import UUID, uuid4

import asyncpg
import pytest
from clusters import Cluster, count_rows
from factories import TestTenant, fill_every_table
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from tenancy import TENANTS, small, tenants_seen

from viral.database.engine import Database, _driver, tenant_of
from viral.database.faults import sqlstate_of
from viral.database.tenancy import (
    current_tenant,
    parse_tenant_id,
    set_tenant_context,
)
from viral.errors import (
    BadTenantId,
    CommitLost,
    PowerfulRole,
    TenantContextMissing,
    TenantContextUnknown,
)
from viral.schema.base import uuid7
from viral.schema.content import Concept
from viral.schema.encrypted import SealedSecret
from viral.schema.publishing import SocialAccount, Video
from viral.schema.tenants import AuditEntry

# The tenant of a task.


async def test_a_session_is_of_the_tenant_that_its_task_named(
    app: Database, alice: TestTenant, bob: TestTenant
) -> None:
    async def seen_by(tenant: TestTenant) -> list[UUID]:
        set_tenant_context(tenant.id)
        await asyncio.sleep(0)
        async with app.session() as session:
            assert tenant_of(session) == tenant.id
            return list(await session.scalars(TENANTS))

    first, second = await asyncio.gather(seen_by(alice), seen_by(bob))

    assert (first, second) == ([alice.id], [bob.id])
    with pytest.raises(TenantContextMissing):
        current_tenant()


async def test_a_task_does_not_inherit_the_tenant(alice: TestTenant) -> None:
    async def child() -> UUID:
        return current_tenant()

    async def parent() -> UUID:
        set_tenant_context(alice.id)
        with pytest.raises(TenantContextMissing, match="No tenant is named"):
            await asyncio.create_task(child())
        return await child()

    assert await asyncio.create_task(parent()) == alice.id


async def test_a_finished_tasks_tenant_is_gone(alice: TestTenant) -> None:
    async def named() -> None:
        set_tenant_context(alice.id)

    await asyncio.create_task(named())

    with pytest.raises(TenantContextMissing):
        current_tenant()


@pytest.mark.parametrize(
    "value",
    [
        "' OR true --",
        "00000000-0000-0000-0000-000000000000'; DROP TABLE tenants; --",
        "",
        "1",
        None,
        b"x",
        "*",
        "0" * 31,
    ],
)
def test_a_tenant_id_is_a_uuid_or_refused(value: object) -> None:
    with pytest.raises(BadTenantId):
        parse_tenant_id(value)


async def test_a_bad_tenant_id_opens_no_session(app: Database) -> None:
    with pytest.raises(BadTenantId):
        await tenants_seen(app, "'; SELECT 1; --")
    with pytest.raises(BadTenantId):
        set_tenant_context("x")


# One transaction.


async def test_a_savepoint_keeps_the_tenant(app: Database, alice: TestTenant) -> None:
    async def add_and_fail(session: AsyncSession) -> None:
        async with session.begin_nested():
            session.add(AuditEntry(action="lost", subject="x"))
            await session.flush()
            await session.execute(text("SELECT 1 / 0"))

    async with app.tenant_session(alice.id) as session:
        async with session.begin_nested():
            session.add(AuditEntry(action="kept", subject="x"))
        with pytest.raises(DBAPIError, match="division by zero"):
            await add_and_fail(session)
        seen = list(await session.scalars(TENANTS))

    async with app.tenant_session(alice.id) as session:
        actions = list(await session.scalars(select(AuditEntry.action)))
    assert seen == [alice.id]
    assert actions == ["kept"]


async def test_an_error_in_the_block_stores_nothing(
    app: Database, admin: AsyncConnection, alice: TestTenant
) -> None:
    async def fail() -> None:
        async with app.tenant_session(alice.id) as session:
            session.add(AuditEntry(action="lost", subject="x"))
            await session.flush()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        await fail()

    assert await count_rows(admin, "audit_log") == 0


async def test_a_swallowed_error_does_not_pass_for_a_commit(
    app: Database, admin: AsyncConnection, alice: TestTenant
) -> None:
    async def swallow() -> None:
        async with app.tenant_session(alice.id) as session:
            session.add(AuditEntry(action="lost", subject="x"))
            await session.flush()
            with suppress(DBAPIError):
                await session.execute(text("SELECT 1 / 0"))

    with pytest.raises(CommitLost, match="ROLLBACK"):
        await swallow()

    assert await count_rows(admin, "audit_log") == 0
    assert await tenants_seen(app, alice.id) == [alice.id]


async def test_a_new_row_gets_the_sessions_tenant_and_no_other(
    app: Database, alice: TestTenant, bob: TestTenant
) -> None:
    async with app.tenant_session(alice.id) as session:
        session.add(AuditEntry(action="mine", subject="x"))
        await session.flush()
        session.add(AuditEntry(action="theirs", subject="x", tenant_id=bob.id))
        with pytest.raises(DBAPIError) as caught:
            await session.flush()
        await session.rollback()

    assert sqlstate_of(caught.value) == "42501"


async def test_a_child_cannot_point_into_another_tenant(
    app: Database, admin: AsyncConnection, alice: TestTenant, bob: TestTenant
) -> None:
    theirs = (await fill_every_table(admin, bob))["concepts"]["id"]
    answers = []

    for concept_id in (theirs, uuid7()):
        with pytest.raises(DBAPIError) as caught:
            async with app.tenant_session(alice.id) as session:
                session.add(
                    Video(concept_id=concept_id, category="tech", platform="tiktok", provider="x")
                )
        answers.append((sqlstate_of(caught.value), str(caught.value.orig)))

    assert answers[0][0] == "23503"
    assert answers[0] == answers[1]


async def test_a_tenant_cannot_tell_a_taken_key_of_another_from_a_free_one(
    app: Database, admin: AsyncConnection, alice: TestTenant, bob: TestTenant
) -> None:
    taken = (await fill_every_table(admin, bob))["social_accounts"]

    async with app.tenant_session(alice.id) as session:
        account = SocialAccount(
            id=taken["id"],
            platform=taken["platform"],
            external_id=taken["external_id"],
            username="x",
            access_token=SealedSecret(b""),
        )
        session.add(account)
        await session.flush()

    assert await count_rows(admin, "social_accounts") == 2


async def test_get_of_another_tenants_row_finds_nothing(
    app: Database, admin: AsyncConnection, alice: TestTenant, bob: TestTenant
) -> None:
    theirs = (await fill_every_table(admin, bob))["concepts"]

    async with app.tenant_session(alice.id) as session:
        found = await session.get(Concept, (bob.id, theirs["id"]))
        also = await session.get(Concept, (alice.id, theirs["id"]))

    assert (found, also) == (None, None)


async def test_a_plan_made_for_one_tenant_serves_another_its_own_rows(
    narrow: Database, alice: TestTenant, bob: TestTenant
) -> None:
    seen = [await tenants_seen(narrow, tenant.id) for tenant in [alice] * 7 + [bob] * 7]

    assert seen == [[alice.id]] * 7 + [[bob.id]] * 7


async def test_a_cursor_does_not_outlive_its_transaction(
    narrow: Database, alice: TestTenant, bob: TestTenant
) -> None:
    async with narrow.tenant_session(alice.id) as session:
        await session.execute(text("DECLARE c CURSOR WITH HOLD FOR SELECT id FROM tenants"))

    with pytest.raises(DBAPIError) as caught:
        async with narrow.tenant_session(bob.id) as session:
            await session.execute(text("FETCH ALL FROM c"))

    assert sqlstate_of(caught.value) == "34000"


async def test_a_setting_of_the_session_does_not_outlive_it(
    narrow: Database, cluster: Cluster, alice: TestTenant, bob: TestTenant
) -> None:
    async with narrow.tenant_session(alice.id) as session:
        await session.execute(text(f"SET app.tenant = '{cluster.token(alice.id)}'"))

    with pytest.raises(TenantContextMissing):
        async with narrow.session_without_tenant() as session:
            await session.execute(TENANTS)
    assert await tenants_seen(narrow, bob.id) == [bob.id]


# Cancellation.


async def test_a_storm_of_cancellations_leaves_the_pool_whole(
    cluster: Cluster, database_name: str, alice: TestTenant, bob: TestTenant
) -> None:
    url = replace(small(cluster.url("viral_app", database_name), 5), pool_timeout_s=20)
    database = Database(url, context_key=cluster.secrets.context_key)
    rng = random.Random(7)

    async def work(tenant: TestTenant) -> None:
        async with database.tenant_session(tenant.id) as session:
            assert list(await session.scalars(TENANTS)) == [tenant.id]
            await session.execute(text("SELECT pg_sleep(0.01)"))
            assert list(await session.scalars(TENANTS)) == [tenant.id]

    async def cancelled(tenant: TestTenant, after_s: float) -> object:
        task = asyncio.create_task(work(tenant))
        await asyncio.sleep(after_s)
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        return outcome

    outcomes = await asyncio.gather(
        *(cancelled(rng.choice([alice, bob]), rng.uniform(0, 0.4)) for _ in range(200))
    )
    after = await asyncio.gather(
        *(tenants_seen(database, tenant.id) for tenant in [alice, bob] * 20)
    )

    kinds = {type(outcome) for outcome in outcomes}
    assert asyncio.CancelledError in kinds
    assert kinds <= {asyncio.CancelledError, type(None)}
    assert after == [[alice.id], [bob.id]] * 20
    with pytest.raises(TenantContextMissing):
        async with database.session_without_tenant() as session:
            await session.execute(TENANTS)
    await database.close()


# How the context travels.


async def _force(database: Database, *, hides_statements: bool) -> None:
    async with database.session_without_tenant() as session:
        driver = await session.run_sync(lambda sync: _driver(sync.connection()))
        assert driver.hides_statements
        driver.hides_statements = hides_statements


@pytest.mark.parametrize("hides_statements", [True, False])
async def test_both_forms_of_the_context_isolate(
    narrow: Database, alice: TestTenant, bob: TestTenant, *, hides_statements: bool
) -> None:
    await _force(narrow, hides_statements=hides_statements)

    assert await tenants_seen(narrow, alice.id) == [alice.id]
    assert await tenants_seen(narrow, bob.id) == [bob.id]
    with pytest.raises(TenantContextUnknown):
        await tenants_seen(narrow, uuid4())
    with pytest.raises(TenantContextMissing):
        async with narrow.session_without_tenant() as session:
            await session.execute(TENANTS)
    assert await tenants_seen(narrow, alice.id) == [alice.id]


@pytest.mark.parametrize("hides_statements", [True, False])
async def test_another_session_of_the_role_never_sees_the_token(
    narrow: Database,
    raw: asyncpg.Connection[asyncpg.Record],
    cluster: Cluster,
    alice: TestTenant,
    *,
    hides_statements: bool,
) -> None:
    await _force(narrow, hides_statements=hides_statements)
    token = cluster.token(alice.id)
    if not hides_statements:
        # As on a managed server, where the role's statements are visible to its like.
        await cluster.execute_as_admin("postgres", "ALTER ROLE viral_app RESET track_activities")
    try:
        seen = []
        async with narrow.tenant_session(alice.id) as session:
            for sql in ("SELECT 1", "SELECT id FROM tenants"):
                await session.execute(text(sql))
                seen += await raw.fetch("SELECT query FROM pg_stat_activity")
    finally:
        await cluster.execute_as_admin(
            "postgres", "ALTER ROLE viral_app SET track_activities = off"
        )

    assert len(seen) > 2
    assert token not in str(seen)


async def test_a_refused_statement_never_shows_the_token(
    app: Database, cluster: Cluster, alice: TestTenant
) -> None:
    with pytest.raises(DBAPIError) as caught:
        async with app.tenant_session(alice.id) as session:
            await session.execute(text("SELECT 1 / 0"))

    assert cluster.token(alice.id) not in repr(caught.value) + str(caught.value)


# Roles that are too strong.


@pytest.mark.parametrize("role", ["viral_migrator", "viral_backup"])
async def test_the_app_refuses_a_role_that_passes_row_security(
    cluster: Cluster, database_name: str, role: str
) -> None:
    database = cluster.database(role, database_name)

    with pytest.raises(PowerfulRole, match="refuses to run"):
        async with database.session_without_tenant() as session:
            await session.execute(text("SELECT 1"))

    await database.close()


async def test_the_app_refuses_a_superuser(cluster: Cluster, database_name: str) -> None:
    database = Database(
        cluster.admin.for_database(database_name), context_key=cluster.secrets.context_key
    )

    with pytest.raises(PowerfulRole):
        async with database.session_without_tenant() as session:
            await session.execute(text("SELECT 1"))

    await database.close()


async def test_the_app_refuses_a_role_that_may_act_as_the_functions_owner(
    cluster: Cluster, database_name: str
) -> None:
    await cluster.execute_as_admin("postgres", "GRANT viral_auth TO viral_signin")
    database = cluster.database("viral_signin", database_name)

    try:
        with pytest.raises(PowerfulRole):
            async with database.session_without_tenant() as session:
                await session.execute(text("SELECT 1"))
    finally:
        await cluster.execute_as_admin("postgres", "REVOKE viral_auth FROM viral_signin")
        await database.close()
