"""One text of SQL, typed by a person: one statement in one transaction.

What holds is what the server grants, not what the text looks like. The protocol's message takes one
statement. The role reads, or writes, inside one tenant. The transaction is read-only, which nothing
inside can undo once it has a snapshot. The context is a pass that ends with the run. The connection
is closed, with whatever the text left in it. Afterwards the context is looked at again: what a text
answered that changed it is thrown away.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import asyncpg

from viral.database.console.answers import Answer, Changed, Column, Refusal, changed_rows
from viral.database.console.refusals import refusal_of, too_long, withheld
from viral.database.console.sessions import GRACE_S, Bounds, Opened, Places, opened
from viral.database.faults import DRIVER_ERRORS, connection_fault, sqlstate_of
from viral.database.statements import split_statements
from viral.database.values import plain_value
from viral.errors import BadInput, CommitLost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    Deed = Callable[[asyncpg.Connection, tuple[Changed, ...]], Awaitable[None]]

LONGEST_TEXT = 100_000
# Rows are asked for in parts, and no more once they are as large as the bounds allow.
_PART = 100
# What PostgreSQL's text cannot hold.
_NO_SQL = re.compile(r"[\0\ud800-\udfff]")
_CHANGES = """
SELECT coalesce(pg_catalog.pg_partition_root(relid), relid)::regclass::text AS name,
       sum(n_tup_ins)::bigint, sum(n_tup_upd)::bigint, sum(n_tup_del)::bigint
FROM pg_catalog.pg_stat_xact_user_tables
GROUP BY 1 HAVING sum(n_tup_ins + n_tup_upd + n_tup_del) > 0 ORDER BY 1
"""
_TYPE_NAMES = {"bool": "boolean", "bpchar": "char", "int4": "integer", "int8": "bigint"}


async def read(
    places: Places, text: str, *, tenant_id: UUID, bounds: Bounds, prefix: str = ""
) -> Answer | Refusal:
    """Run a text that only reads; `prefix` stands before it, such as EXPLAIN."""
    if (refused := _unsendable(text)) is not None:
        return refused
    try:
        async with opened(places, tenant_id=tenant_id, bounds=bounds, writes=False) as session:
            return await _answer(session, text, bounds, prefix)
    except TimeoutError:
        return Refusal(*too_long(bounds.seconds))


async def rehearse(
    places: Places, text: str, *, tenant_id: UUID, bounds: Bounds, prefix: str = ""
) -> Answer | Refusal:
    """Run a text that may write, tell what it changes, and take all of it back."""
    if (refused := _unsendable(text)) is not None:
        return refused
    try:
        async with opened(places, tenant_id=tenant_id, bounds=bounds, writes=True) as session:
            return await _with_changes(session, text, bounds, prefix)
    except TimeoutError:
        return Refusal(*too_long(bounds.seconds))


async def keep(
    places: Places,
    text: str,
    *,
    tenant_id: UUID,
    bounds: Bounds,
    expected: tuple[Changed, ...],
    deed: Deed,
) -> Answer | Refusal:
    """Run a text that writes and keep what it changed, if that is what was expected.

    `deed` notes it in the same transaction. CommitLost where the server did not confirm it.
    """
    if (refused := _unsendable(text)) is not None:
        return refused
    try:
        async with opened(places, tenant_id=tenant_id, bounds=bounds, writes=True) as session:
            answer = await _with_changes(session, text, bounds, prefix="")
            if isinstance(answer, Refusal):
                return answer
            if answer.changes != expected:
                return Refusal(
                    f"It would change {changed_rows(answer.changes)} by now, not"
                    f" {changed_rows(expected)}. Nothing was stored.",
                    "Look at what it changes again, and confirm that.",
                )
            await deed(session.connection, answer.changes)
            return await _committed(session, answer, bounds)
    except TimeoutError:
        return Refusal(*too_long(bounds.seconds))


async def _committed(session: Opened, answer: Answer, bounds: Bounds) -> Answer | Refusal:
    try:
        await session.transaction.commit()
    except TimeoutError as error:
        raise CommitLost("The server did not confirm COMMIT: look what is stored.") from error
    except DRIVER_ERRORS as error:
        # A constraint that is looked at last.
        return await _refusal(session, error, bounds)
    return replace(answer, is_kept=True)


async def _with_changes(
    session: Opened, text: str, bounds: Bounds, prefix: str
) -> Answer | Refusal:
    answer = await _answer(session, text, bounds, prefix)
    if isinstance(answer, Refusal):
        return answer
    rows = await session.connection.fetch(_CHANGES)
    return replace(answer, changes=tuple(Changed(*row) for row in rows))


async def _answer(session: Opened, text: str, bounds: Bounds, prefix: str) -> Answer | Refusal:
    begun = asyncio.get_running_loop().time()
    try:
        # The server's own limit begins anew with each part of the rows.
        async with asyncio.timeout(bounds.seconds + GRACE_S):
            answer = await _carried_out(session.connection, prefix + text, bounds)
        is_as_before = await session.is_as_before()
    except TimeoutError:
        raise
    except DRIVER_ERRORS as error:
        return await _refusal(session, error, bounds, offset=len(prefix))
    if not is_as_before:
        return Refusal(
            "The text changed the session that it ran in: its tenant, its role or its"
            " transaction. The answer was thrown away, and nothing was stored.",
            "Leave app.tenant and roles as they are. Another tenant is opened with the switch in"
            " the head of the page.",
        )
    if isinstance(answer, Refusal):
        return answer
    return replace(answer, seconds=asyncio.get_running_loop().time() - begun)


async def _carried_out(
    connection: asyncpg.Connection, sql: str, bounds: Bounds
) -> Answer | Refusal:
    prepared = await connection.prepare(sql)
    if prepared.get_parameters():
        return Refusal(
            "There is a parameter such as $1, and nothing to put there.",
            "Write the value in its place.",
        )
    columns = prepared.get_attributes()
    rows: list[asyncpg.Record] = []
    is_cut = False
    try:
        if columns:
            rows, is_cut = await _rows(prepared, bounds)
        else:
            await prepared.fetch()
    except (ValueError, OverflowError, asyncpg.UnsupportedClientFeatureError) as error:
        return Refusal(
            f"A value of the result cannot be shown: {error}.",
            "Cast its column to text: SELECT column::text ...",
        )
    types = [each.type.oid for each in columns]
    return Answer(
        columns=tuple(
            Column(each.name, _TYPE_NAMES.get(each.type.name, each.type.name)) for each in columns
        ),
        rows=[tuple(map(plain_value, row, types)) for row in rows],
        tag=prepared.get_statusmsg() or "",
        is_cut=is_cut,
        seconds=0,
    )


async def _rows(
    prepared: asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record], bounds: Bounds
) -> tuple[list[asyncpg.Record], bool]:
    """Read no more than the bounds from the server; one row beyond tells that there are more."""
    rows: list[asyncpg.Record] = []
    size = largest = 0
    cursor = await prepared.cursor()
    while len(rows) <= bounds.rows and size <= bounds.size_bytes:
        # As many as fit, if they are like those before: the first alone tells how large they are.
        fitting = (bounds.size_bytes - size) // largest + 1 if largest else 1
        wanted = min(_PART, fitting, bounds.rows + 1 - len(rows))
        part = await cursor.fetch(wanted)
        rows += part
        if len(part) < wanted:
            return rows, False
        sizes = [1 + sum(map(_size, row)) for row in part]
        size, largest = size + sum(sizes), max(largest, *sizes)
    return rows[: bounds.rows], True


def _size(value: object) -> int:
    return len(value) if isinstance(value, str | bytes) else 16


async def _refusal(
    session: Opened, error: BaseException, bounds: Bounds, offset: int = 0
) -> Refusal:
    """Explain what is the text's fault; raise what is the server's."""
    state = sqlstate_of(error)
    is_of_server = state is None or state.startswith(("08", "57P"))
    if is_of_server and (fault := connection_fault(error, session.url)):
        raise fault from error
    return await refusal_of(
        error, connection=session.connection, seconds=bounds.seconds, offset=offset
    )


def _unsendable(text: str) -> Refusal | None:
    if len(text) > LONGEST_TEXT:
        return Refusal(f"The text is longer than {LONGEST_TEXT:,} characters.")
    if found := _NO_SQL.search(text):
        return Refusal("The text holds a character that is not SQL.", position=found.start())
    try:
        statements = split_statements(text)
    except BadInput as error:
        return Refusal(error.message, error.hint)
    if not statements:
        return Refusal("There is nothing to run yet.", "For example: SELECT 1")
    return withheld(statements[0].verb)
