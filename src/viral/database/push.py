"""Bring a database to a catalogue without a history, in one transaction: all of it, or nothing."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from viral.database.catalog import Catalog, differences, read_catalog, summary
from viral.database.data_loss import count_at_risk
from viral.database.deployment import said
from viral.database.draft.plan import draft
from viral.database.draft.steps import steps_of
from viral.database.drift import ROUNDS, catalog_of_models, refuse_rest, without_bookkeeping
from viral.database.faults import sqlstate_of
from viral.database.lock_patience import patiently
from viral.database.owner import (
    deploy_lock,
    owner_connection,
    refuse_pooler,
    send,
)
from viral.errors import DataLossRefused, DraftIncomplete, LockNotObtained
from viral.schema.tables import SCHEMA, Schema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Container

    from sqlalchemy.ext.asyncio import AsyncConnection

    from viral.database.data_loss import RestorePoint
    from viral.database.scripts import Step
    from viral.database.urls import ServerUrl

# lock_not_available, deadlock_detected
_IN_USE = {"55P03", "40P01"}
_POLICY = "push_pass"
# Of the database's own schemas; a partition is reached through its parent.
_HIDDEN = """
SELECT c.oid::regclass::text AS name, c.relowner::regrole::text AS owner
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relrowsecurity AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND pg_has_role(session_user, c.relowner, 'MEMBER')
"""
_OPENED = """
SELECT c.oid::regclass::text AS name, c.relowner::regrole::text AS owner
FROM pg_policy AS p JOIN pg_class AS c ON c.oid = p.polrelid
WHERE p.polname = :policy
"""


@dataclass(frozen=True, slots=True)
class Push:
    """What was run, or would be; what it loses, by name and count; and the copy made before."""

    steps: list[Step] = field(default_factory=list)
    losses: dict[str, int] = field(default_factory=dict)
    restore_point: str | None = None


async def push(
    url: ServerUrl,
    *,
    schema: Schema = SCHEMA,
    accept_data_loss: bool = False,
    is_rehearsal: bool = False,
    restore_point: RestorePoint | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> Push:
    """Bring the database to the models; raise DataLossRefused for a loss nobody accepted."""
    return await converge(
        url,
        without_bookkeeping(await catalog_of_models(url, schema)),
        accept_data_loss=accept_data_loss,
        is_rehearsal=is_rehearsal,
        restore_point=restore_point,
        on_wait=on_wait,
    )


async def converge(
    url: ServerUrl,
    wanted: Catalog,
    *,
    forgets_history: bool = False,
    accept_data_loss: bool = False,
    is_rehearsal: bool = False,
    restore_point: RestorePoint | None = None,
    copy_name: str = "before-push",
    on_wait: Callable[[str], None] | None = None,
) -> Push:
    """Rehearse and take back, count what is lost, then run it: each time in one transaction.

    What the database remembers of its migrations stays, or goes in the same transaction.
    """
    refuse_pooler(url)
    way = _Way(wanted, forgets_history)
    async with owner_connection(url) as connection, deploy_lock(connection, on_wait=on_wait):
        rehearsed = await _go(connection, way)
        if is_rehearsal or not rehearsed.steps:
            return rehearsed
        _refuse_losses(rehearsed.losses, accepted=rehearsed.losses if accept_data_loss else ())
        copy = None
        if rehearsed.losses and restore_point is not None:
            copy = await restore_point(copy_name)
        # What was not there to be counted a moment ago is in no copy, and nobody accepted it.
        done = await _go(connection, way, accepted=rehearsed.losses)
        return replace(done, restore_point=copy)


@dataclass(frozen=True, slots=True)
class _Way:
    """Where it leads, and whether the bookkeeping of migrations is part of it."""

    wanted: Catalog
    forgets_history: bool

    async def catalog(self, connection: AsyncConnection) -> Catalog:
        """Read what there is, without the policies of this module."""
        found = await read_catalog(connection)
        if not self.forgets_history:
            found = without_bookkeeping(found)
        return {
            title: entry
            for title, entry in found.items()
            if not (entry.kind == "policy" and entry.place["bare"] == _POLICY)
        }


async def _go(
    connection: AsyncConnection, way: _Way, *, accepted: Container[str] | None = None
) -> Push:
    """Try it, patiently; without a word on what may be lost it is a rehearsal, and taken back."""
    runs: list[Push] = []

    async def attempt() -> None:
        async with connection.begin() as transaction:
            run = await _lead(connection, way)
            if accepted is None:
                await transaction.rollback()
            else:
                _refuse_losses(run.losses, accepted=accepted)
        runs.append(run)

    try:
        await patiently(attempt)
    except (DBAPIError, asyncpg.PostgresError) as error:
        if sqlstate_of(error) not in _IN_USE:
            raise
        raise LockNotObtained(
            f"Somebody is using a table for too long: {said(error)}. Nothing was changed.",
            hint="End what has a transaction open in this database, and try again.",
        ) from error
    return runs[-1]


async def _lead(connection: AsyncConnection, way: _Way) -> Push:
    """Draft and run until it is as wanted; say what is left."""
    run = Push()
    actual = await way.catalog(connection)
    # Where nothing is to do, no table is locked.
    if draft(way.wanted, actual).changes:
        async with _all_rows(connection):
            for _ in range(ROUNDS):
                plan = draft(way.wanted, await way.catalog(connection))
                if not plan.changes:
                    break
                for step in steps_of(plan.changes):
                    await _carry_out(connection, step, run)
        actual = await way.catalog(connection)
    refuse_rest(summary(differences(way.wanted, actual)))
    return run


async def _carry_out(connection: AsyncConnection, step: Step, run: Push) -> None:
    # Within one transaction there is nobody to be gentle with.
    sql = step.sql.replace("INDEX CONCURRENTLY ", "INDEX ")
    try:
        for risk in step.risks:
            if count := await count_at_risk(connection, risk):
                run.losses[risk.what] = count
        await send(connection, sql)
    except (DBAPIError, asyncpg.PostgresError) as error:
        if sqlstate_of(error) in _IN_USE:
            raise
        raise DraftIncomplete(
            f"A drafted statement does not work: {said(error)} ({step.name}). Nothing was changed.",
            hint="Correct the rows or the models, or write a migration:"
            " `viral migrate dev --create-only`.",
        ) from error
    run.steps.append(step)


def _refuse_losses(losses: dict[str, int], *, accepted: Container[str]) -> None:
    lost = [f"{what}: {count:,}" for what, count in losses.items() if what not in accepted]
    if lost:
        raise DataLossRefused(f"This would be lost: {'; '.join(lost)}.")


@asynccontextmanager
async def _all_rows(connection: AsyncConnection) -> AsyncIterator[None]:
    """Let the owners count and check every row, which row security hides, in this transaction."""
    for table in (await connection.execute(text(_HIDDEN))).all():
        await _as_owner(
            connection,
            table.owner,
            f"CREATE POLICY {_POLICY} ON {table.name} TO {table.owner}"
            " USING (true) WITH CHECK (true)",
        )
    await send(connection, "SET LOCAL row_security = on")
    yield
    for table in (await connection.execute(text(_OPENED), {"policy": _POLICY})).all():
        await _as_owner(connection, table.owner, f"DROP POLICY {_POLICY} ON {table.name}")


async def _as_owner(connection: AsyncConnection, owner: str, statement: str) -> None:
    await send(connection, f"SET LOCAL ROLE {owner}; {statement}; SET LOCAL ROLE viral_owner")
