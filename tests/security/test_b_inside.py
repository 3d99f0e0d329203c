"""B12 to B15, B20 and B21: what happens inside, in tasks, the object mapper, jobs and fields."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from clusters import Cluster, free_port
from factories import TestTenant, fill_every_table
from queues import work_off
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from structlog.testing import capture_logs
from web.conftest import settings_for

from viral.database.encryption.keys import KeyRing, new_key
from viral.database.engine import Database
from viral.database.faults import sqlstate_of
from viral.database.tenancy import current_tenant, set_tenant_context
from viral.database.urls import parse_url
from viral.errors import DecryptionFailed, TenantContextMissing, ViralError
from viral.features.jobs.queue import enqueue
from viral.features.jobs.types import REFLEXION, JobType
from viral.postgres.installation import load_installation
from viral.runtime import Runtime, open_runtime
from viral.schema.base import uuid7
from viral.schema.content import Concept
from viral.schema.encrypted import Secret
from viral.schema.publishing import SocialAccount, Video
from viral.schema.tenants import AuditEntry

Work = Callable[[AsyncSession], Awaitable[object]]


@pytest.fixture
async def rows_of_bob(
    admin: AsyncConnection, alice: TestTenant, bob: TestTenant
) -> dict[str, dict[str, Any]]:
    await fill_every_table(admin, alice)
    return await fill_every_table(admin, bob)


@pytest.fixture
async def runtime(cluster: Cluster, database_name: str) -> AsyncIterator[Runtime]:
    async with open_runtime(settings_for(cluster, cluster.home, database_name)) as opened:
        yield opened


# Tasks and threads.


async def _in_a_task() -> UUID:
    return await asyncio.create_task(_asked())


async def _in_a_group() -> UUID:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_asked())
    return task.result()


async def _in_a_thread() -> UUID:
    return await asyncio.to_thread(current_tenant)


async def _in_a_loop_of_a_thread() -> UUID:
    context = contextvars.copy_context()
    return await asyncio.to_thread(context.run, asyncio.run, _asked())


async def _in_a_scheduled_call() -> UUID:
    answer: asyncio.Future[UUID] = asyncio.get_running_loop().create_future()

    def call() -> None:
        try:
            answer.set_result(current_tenant())
        except AssertionError as error:
            answer.set_exception(error)

    asyncio.get_running_loop().call_later(0.001, call)
    return await answer


async def _asked() -> UUID:
    await asyncio.sleep(0)
    return current_tenant()


@pytest.mark.parametrize(
    "elsewhere",
    [_in_a_task, _in_a_group, _in_a_thread, _in_a_loop_of_a_thread, _in_a_scheduled_call],
)
async def test_b12_what_a_request_starts_has_to_name_its_own_tenant(
    alice: TestTenant, elsewhere: Callable[[], Awaitable[UUID]]
) -> None:
    async def request() -> None:
        set_tenant_context(alice.id)
        with pytest.raises((TenantContextMissing, RuntimeError, AssertionError, ExceptionGroup)):
            await elsewhere()
        assert alice.id == current_tenant()

    await asyncio.create_task(request())


async def test_b12_a_task_that_tries_again_stays_in_its_tenant(
    app: Database, alice: TestTenant, bob: TestTenant
) -> None:
    seen: list[set[UUID]] = []

    async def work(tenant: TestTenant) -> None:
        set_tenant_context(tenant.id)
        for attempt in range(3):
            async with app.session() as session:
                await asyncio.sleep(0.002)
                seen.append(
                    {tenant.id} ^ set(await session.scalars(text("SELECT id FROM tenants")))
                )
            assert attempt < 3

    await asyncio.gather(*(work(tenant) for tenant in (alice, bob) * 5))

    assert [set()] * 30 == seen


# The object mapper.


async def test_b13_an_object_of_one_tenant_is_none_of_anothers_session(
    app: Database, alice: TestTenant, bob: TestTenant, rows_of_bob: dict[str, dict[str, Any]]
) -> None:
    key = (bob.id, rows_of_bob["concepts"]["id"])
    async with app.tenant_session(bob.id) as session:
        theirs = await session.get(Concept, key)
        assert theirs is not None

    async with app.tenant_session(alice.id) as session:
        found = [
            await session.get(Concept, key),
            await session.scalar(select(Concept).where(Concept.id == key[1])),
            await session.scalar(select(Concept).from_statement(text("SELECT * FROM concepts"))),
        ]
        owner = found[2].tenant_id if found[2] else None
        merged = await session.merge(theirs, load=True)
        with pytest.raises(DBAPIError) as refused:
            await session.flush()
        await session.rollback()

    assert merged is not theirs
    assert "42501" == sqlstate_of(refused.value)
    assert found[:2] == [None, None]
    assert alice.id == owner


async def test_b13_nothing_is_loaded_lazily(
    app: Database, bob: TestTenant, rows_of_bob: dict[str, dict[str, Any]]
) -> None:
    async with app.tenant_session(bob.id) as session:
        concept = await session.get_one(Concept, (bob.id, rows_of_bob["concepts"]["id"]))
        with pytest.raises(InvalidRequestError, match="lazy='raise"):
            _ = concept.predictions

    lazy = [
        str(each)
        for mapper in Concept.registry.mappers
        for each in mapper.relationships
        if each.lazy not in {"raise", "raise_on_sql"}
    ]
    assert [] == lazy


def _statements(theirs: UUID, bob: UUID) -> dict[str, Any]:
    return {
        "bulk update by id": update(Concept).where(Concept.id == theirs).values(title="taken"),
        "bulk update of all": update(Concept).values(title="alice's"),
        "text": text(f"UPDATE concepts SET title = 'taken' WHERE id = '{theirs}'"),
        "text of another": text(f"DELETE FROM concepts WHERE tenant_id = '{bob}'"),
        "bulk insert": insert(AuditEntry).values(
            id=uuid7(), tenant_id=bob, action="taken", subject="x"
        ),
    }


async def test_b13_bulk_statements_and_free_text_reach_ones_own_rows(
    app: Database,
    admin: AsyncConnection,
    alice: TestTenant,
    bob: TestTenant,
    rows_of_bob: dict[str, dict[str, Any]],
) -> None:
    before = rows_of_bob["concepts"]
    ended = {}
    for name, statement in _statements(before["id"], bob.id).items():
        try:
            async with app.tenant_session(alice.id) as session:
                ended[name] = "" if await session.execute(statement) else None
        except (DBAPIError, ViralError) as error:
            ended[name] = sqlstate_of(error)

    found = await admin.execute(
        text("SELECT title FROM concepts WHERE tenant_id = :id"), {"id": bob.id}
    )
    taken = await admin.scalar(text("SELECT count(*) FROM audit_log WHERE action = 'taken'"))
    assert {"", "42501"} == set(ended.values())
    assert "42501" == ended["bulk insert"]
    assert [before["title"]] == list(found.scalars())
    assert 0 == taken


async def test_b14_without_a_tenant_nothing_is_sent(cluster: Cluster) -> None:
    # Nobody listens there: whatever was sent would fail in another way.
    nowhere = parse_url(f"postgresql://viral_app:x@127.0.0.1:{free_port()}/viral")
    database = Database(nowhere, context_key=cluster.secrets.context_key)

    with pytest.raises(TenantContextMissing, match="nothing was sent"):
        async with database.session() as session:
            await session.scalars(select(Concept))

    await database.close()


# Jobs.


async def run_next(runtime: Runtime, tenant_id: UUID) -> None:
    await work_off(runtime, tenant_id)


@pytest.mark.parametrize("name", ["tenant_id", "concept_id", "video_ids"])
async def test_b15_a_job_with_ids_of_another_is_not_run_and_noted(
    runtime: Runtime, alice: TestTenant, bob: TestTenant, name: str
) -> None:
    async with runtime.app.tenant_session(alice.id) as session:
        forged = msgspec.defstruct("Forged", [(name, str), ("all", bool)])
        asked = JobType(REFLEXION.name, payload=forged)
        job = await enqueue(
            session, asked, forged(**{name: str(bob.id), "all": True}), tenant_id=alice.id
        )

    await run_next(runtime, alice.id)

    async with runtime.app.tenant_session(alice.id) as session:
        ended = (
            await session.execute(text("SELECT id, status, error_message, result FROM job_queue"))
        ).one()
        noted = (await session.execute(select(AuditEntry.action, AuditEntry.details))).all()
    async with runtime.app.tenant_session(bob.id) as session:
        others = (await session.execute(select(AuditEntry.action))).all()
    assert (ended.id, ended.result) == (job, None)
    assert ended.status in {"failed", "dead"}
    assert str(bob.id) not in ended.error_message
    assert [("refused job", {"job_id": str(job)})] == [tuple(each) for each in noted]
    assert [] == others


@pytest.mark.parametrize("scope", ["tenant", "system"])
async def test_b15_a_job_cannot_be_put_in_for_another_or_for_the_system(
    app: Database, alice: TestTenant, bob: TestTenant, scope: str
) -> None:
    for_whom = bob.id if scope == "tenant" else None

    with pytest.raises(DBAPIError) as refused:
        async with app.tenant_session(alice.id) as session:
            await enqueue(session, REFLEXION, tenant_id=for_whom)

    assert "42501" == sqlstate_of(refused.value)


async def test_b15_a_job_that_is_in_the_queue_cannot_be_turned_to_another(
    app: Database, alice: TestTenant, bob: TestTenant
) -> None:
    async with app.tenant_session(alice.id) as session:
        await enqueue(session, REFLEXION, tenant_id=alice.id)

    with pytest.raises(DBAPIError) as refused:
        async with app.tenant_session(alice.id) as session:
            await session.execute(text("UPDATE job_queue SET tenant_id = :id"), {"id": bob.id})

    assert "42501" == sqlstate_of(refused.value)


# Errors.


async def test_b20_a_refused_write_puts_no_value_into_errors_and_logs(
    cluster: Cluster, app: Database, alice: TestTenant
) -> None:
    planted = f"planted-{uuid7()}"
    account = {"platform": "tiktok", "external_id": planted, "username": planted}
    refused: list[Work] = [
        lambda session: _add(session, AuditEntry(action=planted * 5, subject=planted)),
        lambda session: _add(
            session, Video(concept_id=uuid7(), category=planted, platform="tiktok", provider="x")
        ),
        lambda session: _add(
            session, SocialAccount(**account), SocialAccount(**account | {"id": uuid7()})
        ),
    ]
    said = []
    with capture_logs() as logs:
        for work in refused:
            with pytest.raises((DBAPIError, ViralError)) as caught:
                async with app.tenant_session(alice.id) as session:
                    await work(session)
            said += [str(caught.value), repr(caught.value)]
    installation = load_installation(cluster.home)
    assert installation is not None
    log = installation.log_file.read_text("utf-8", errors="replace")

    assert "violates" in log
    assert planted not in log
    assert planted not in "".join(said) + str(logs)


async def _add(session: AsyncSession, *rows: object) -> None:
    session.add_all(rows)
    await session.flush()


# Fields.


@pytest.mark.parametrize(
    ("whose", "take", "put"),
    [
        ("bob", "access_token", "access_token"),
        ("bob", "refresh_token", "access_token"),
        ("alice", "access_token", "refresh_token"),
        ("alice", "refresh_token", "access_token"),
    ],
)
async def test_b21_a_copied_ciphertext_opens_nowhere_else(
    cluster: Cluster,
    database_name: str,
    admin: AsyncConnection,
    alice: TestTenant,
    bob: TestTenant,
    whose: str,
    take: str,
    put: str,
) -> None:
    keys = KeyRing([new_key(datetime.now(UTC))])
    vault = cluster.database("viral_app", database_name, keys)
    for tenant in (alice, bob):
        async with vault.tenant_session(tenant.id) as session:
            session.add(
                SocialAccount(
                    platform="tiktok",
                    external_id="1",
                    username="x",
                    access_token=Secret(f"access of {tenant.slug}"),
                    refresh_token=Secret(f"refresh of {tenant.slug}"),
                )
            )
    source = {"alice": alice, "bob": bob}[whose]
    copy = f"SELECT {take} FROM social_accounts WHERE tenant_id = '{source.id}'"
    await admin.execute(
        text(f"UPDATE social_accounts SET {put} = ({copy}) WHERE tenant_id = '{alice.id}'")
    )
    await admin.commit()

    async with vault.tenant_session(alice.id) as session:
        account = (await session.scalars(select(SocialAccount))).one()
        with pytest.raises(DecryptionFailed) as refused:
            getattr(account, put).reveal()

    await vault.close()
    assert " of bob" not in str(refused.value)
