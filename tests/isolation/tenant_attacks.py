"""What should change nothing: others' rows, sessions of nobody, transactions that break."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

from factories import Row, new_row
from sqlalchemy import Executable, Integer, Uuid, bindparam, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from studio import NOW, learn
from tenancy import TENANTS
from tenant_model import READABLE, granted, stored_rows
from tenant_world import Move, World, count_touched

from viral.database.faults import sqlstate_of
from viral.errors import CommitLost, TenantContextMissing, TenantContextUnknown
from viral.features.jobs.queue import find_job
from viral.schema.base import uuid7
from viral.schema.tenants import AuditEntry

# What a turn of reflexion writes: the values are the product's; whose they are is checked.
DERIVED = ("learner_effects", "self_critiques", "reflexion_insights", "scoring_adjustments")
SYSTEM_READS = ("memberships", "concepts", "predictions", "performance_feedback", "learner_effects")
CLAIM = (
    "SELECT id, tenant_id, attempt FROM viral.claim_jobs(:worker, 'default', 1,"
    " '00000000-0000-0000-0000-000000000000', NULL, NULL, NULL, true) WHERE id IS NOT NULL"
)
FINISH = text(
    "SELECT count(*) FROM viral.finish_jobs(:worker, ARRAY[:job], ARRAY[:attempt],"
    " ARRAY[NULL::jsonb], ARRAY[NULL], ARRAY[NULL::float8])"
).bindparams(bindparam("job", type_=Uuid), bindparam("attempt", type_=Integer))
INSERTABLE = [table for table in READABLE.values() if granted(table, "INSERT")]


# Rows of others, in any table.


async def touch_rows_of_another(move: Move) -> None:
    """Name a row of another tenant by its id, in a fifth of all tables, in raw SQL."""
    other = move.stranger
    command = ("SELECT", "UPDATE", "DELETE")[move.draw.place % 3]
    async with move.session() as session:
        for name in list(READABLE)[move.draw.number % 5 :: 5]:
            columns = granted(READABLE[name], command)
            column = min(columns or {"id"})
            statement = {
                "SELECT": f"SELECT {column} FROM {name}",
                "UPDATE": f"UPDATE {name} SET {column} = {column}",
                "DELETE": f"DELETE FROM {name}",
            }[command]
            row_id = UUID(move.pick(name, of=other))
            touch = text(f"{statement} WHERE id = :id").bindparams(id=row_id)
            assert await _tried(session, touch) == (0 if columns else "42501"), f"{command} {name}"


async def plant_rows_with_another(move: Move) -> None:
    """Insert a row that says it is another tenant's, in a third of all tables."""
    other = move.stranger
    parents: dict[str, Row] = {
        name: {"id": UUID(move.pick(name, of=other)), "user_id": other.tenant.user_id}
        for name in READABLE
    }
    async with move.session() as session:
        for table in INSERTABLE[move.draw.number % 3 :: 3]:
            columns = granted(table, "INSERT")
            row = new_row(table, tenant_id=other.tenant.id, parents=parents, columns=columns)
            planted = table.insert().inline().values(row)
            assert await _tried(session, planted) == "42501", table.name


async def _tried(session: AsyncSession, statement: Executable) -> int | str | None:
    """Run a statement in a savepoint; return how many rows it touched, or why it was refused."""
    # Past the session, which would refuse an encrypted column before row security does.
    connection = await session.connection()
    try:
        async with connection.begin_nested():
            return (await connection.execute(statement)).rowcount
    except DBAPIError as error:
        return sqlstate_of(error)


# Sessions of nobody.


async def read_without_tenant(move: Move) -> None:
    filled = [name for name in READABLE if move.me.rows[name]]
    name = filled[move.draw.number % len(filled)]

    async def read() -> None:
        async with move.world.app.session_without_tenant() as session:
            await session.execute(text(f"SELECT id FROM {name}"))

    assert await _error_of(read()) is TenantContextMissing


async def open_in_a_task_without_tenant(move: Move) -> None:
    async def child() -> None:
        async with move.world.app.session() as session:
            await session.execute(TENANTS)

    async with move.session():
        assert await _error_of(asyncio.create_task(child())) is TenantContextMissing


async def open_as_nobody(move: Move) -> None:
    async def read() -> None:
        async with move.world.app.tenant_session(uuid7()) as session:
            await session.execute(TENANTS)

    assert await _error_of(read()) is TenantContextUnknown


async def name_another_in_sql(move: Move) -> None:
    """Set the tenant's setting to another's id; for longer than the transaction, too."""
    scope = "SESSION" if move.draw.is_raw else "LOCAL"

    async def read() -> None:
        async with move.session() as session:
            await session.execute(text(f"SET {scope} app.tenant = '{move.stranger.tenant.id}'"))
            await session.execute(TENANTS)

    assert await _error_of(read()) is TenantContextUnknown


async def leave_settings_behind(move: Move) -> None:
    """Leave the own capability and a cursor on the connection, for whoever has it next."""
    token = await _own_token(move)
    async with move.session() as session:
        await session.execute(text(f"SET SESSION app.tenant = '{token}'"))
        await session.execute(text("DECLARE c CURSOR WITH HOLD FOR SELECT id FROM tenants"))


async def _own_token(move: Move) -> str:
    async with move.session() as session:
        return str(await session.scalar(text("SELECT current_setting('app.tenant')")))


async def _error_of(work: Awaitable[object]) -> type[BaseException] | None:
    try:
        await work
    except Exception as error:  # noqa: BLE001 - the caller compares its class
        return type(error)
    return None


# Transactions that break.


class Stopped(Exception):
    """What a request's own code raises in the middle."""


async def break_transaction(move: Move) -> None:
    """Write in several tables, then fail: in Python, in SQL, unheard, or by a cancellation."""
    how = ("python", "sql", "unheard", "cancelled")[move.draw.number % 4]
    wrote = asyncio.Event()

    async def spoil() -> None:
        async with move.session() as session:
            session.add(AuditEntry(action="lost", subject=how))
            await session.flush()
            await count_touched(session, "UPDATE videos SET provider = 'lost'")
            await count_touched(session, "UPDATE concepts SET title = 'lost'")
            wrote.set()
            if how == "cancelled":
                await asyncio.sleep(60)
            elif how == "python":
                raise Stopped
            with suppress(*([DBAPIError] if how == "unheard" else [])):
                await session.execute(text("SELECT 1 / 0 FROM tenants"))

    task = asyncio.create_task(spoil())
    if how == "cancelled":
        await wrote.wait()
        task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)

    expected = {
        "python": Stopped,
        "sql": DBAPIError,
        "unheard": CommitLost,
        "cancelled": asyncio.CancelledError,
    }[how]
    assert isinstance(outcome, expected), f"{how}: {outcome!r}"


async def undo_to_savepoint(move: Move) -> None:
    """Keep what stands around a savepoint, lose what stands in it, stay the same tenant."""
    kept = uuid7()

    async def fail(session: AsyncSession) -> None:
        async with session.begin_nested():
            session.add(AuditEntry(action="lost", subject="savepoint"))
            await session.flush()
            await session.execute(text("SELECT 1 / 0 FROM tenants"))

    async with move.session() as session:
        session.add(AuditEntry(id=kept, action="kept", subject="savepoint"))
        await session.flush()
        with suppress(DBAPIError):
            await fail(session)
        assert list(await session.scalars(TENANTS)) == [move.me.tenant.id]

    move.me.add("audit_log", kept, action="kept", subject="savepoint")


# The product's own roles.


async def learn_from_results(world: World) -> None:
    """Run a turn of the loop; what it wrote is asked for behind row security, tenant by tenant."""
    await learn(world.app, world.system, now=NOW + timedelta(days=7))
    for model in world.models:
        model.rows |= await stored_rows(world.admin, model, *DERIVED)
        titles = {str(row["title"]) for row in model.rows["concepts"].values()}
        for row in model.rows["self_critiques"].values():
            assert row["title"] is None or row["title"] in titles


async def run_a_job(world: World) -> None:
    """Claim a job that waits as the worker, and read it as the tenant it is of."""
    worker_id = uuid7()
    async with world.worker.session_without_tenant() as session:
        await session.execute(select(func.viral.heartbeat(worker_id)))
        claimed = (await session.execute(text(CLAIM), {"worker": worker_id})).one_or_none()
    waiting = [row for model in world.models for row in model.find("job_queue", status="pending")]
    assert (claimed is None) == (not waiting)
    if claimed is None:
        return
    (model,) = [each for each in world.models if each.tenant.id == claimed.tenant_id]
    row = model.rows["job_queue"][str(claimed.id)]
    assert row["status"] == "pending"
    async with world.app.tenant_session(claimed.tenant_id) as session:
        job = await find_job(session, claimed.id)
        assert job.payload == {"asked_by": model.tenant.slug}
    async with world.worker.session_without_tenant() as session:
        values = {"job": claimed.id, "worker": worker_id, "attempt": claimed.attempt}
        assert await session.scalar(FINISH, values) == 0
    row |= {"status": "completed", "dedupe_key": None}


async def look_as_the_system(world: World) -> None:
    """See the rows of all tenants as the system role, where it may, and no tenant's elsewhere."""
    async with world.system.session_without_tenant() as session:
        for name in SYSTEM_READS:
            found = await session.scalars(text(f"SELECT id::text FROM {name}"))
            assert set(found) == {row for model in world.models for row in model.rows[name]}
        with suppress(DBAPIError):
            async with session.begin_nested():
                await session.execute(text("SELECT id FROM videos"))
            raise AssertionError("the system role may read videos")
