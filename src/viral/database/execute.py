"""SQL of a person: one text, one transaction, on a connection of its own that is closed afterwards.

Whoever writes whole statements could leave something behind for the next owner of a connection, so
none of the pools is used. That a text only reads is the server's word: the role may write nothing,
and the transaction is read-only, which no statement inside can undo.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from viral.database.driver import driver_connection
from viral.database.faults import (
    DRIVER_ERRORS,
    connection_fault,
    isolation_error,
    sqlstate_of,
)
from viral.database.statements import Statement, split_statements
from viral.database.tenancy import TenantConnection
from viral.database.values import plain_value, take_values_whole
from viral.errors import BadInput, BadSetting, StatementFailed, TenantContextMissing, ViralError
from viral.schema.security import APP, MIGRATOR, OWNER, READONLY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from viral.database.urls import ServerUrl

# They would end the transaction, outlive it, or need a stream of data beside the text.
_WITHHELD = {
    "ABORT",
    "BEGIN",
    "COMMIT",
    "COPY",
    "END",
    "PREPARE",
    "RELEASE",
    "ROLLBACK",
    "SAVEPOINT",
    "START",
}
_LINE_WIDTH = 100
# What PostgreSQL's text cannot hold: NUL, and bytes of the command line that are not UTF-8.
_NO_SQL = re.compile(r"[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Access:
    """As whom a text runs; `settings` hold for its session."""

    role: str
    settings: Mapping[str, str]
    is_readonly: bool = False


READ = Access(
    READONLY,
    {"default_transaction_read_only": "on", "statement_timeout": "30s"},
    is_readonly=True,
)
WRITE_AS_TENANT = Access(APP, {"statement_timeout": "30s", "lock_timeout": "5s"})
# The owner is under row security like everybody: what would pass over rows in silence raises.
WRITE_AS_OWNER = Access(
    MIGRATOR,
    {"role": OWNER, "row_security": "off", "statement_timeout": "15min", "lock_timeout": "5s"},
)

# SQLSTATE to what to do now, where PostgreSQL has no hint of its own.
_HINTS = {
    "25001": "It needs to run outside a transaction: make it a step of a migration.",
    "55P03": "Another session holds the lock; try again when it is done.",
    "57014": "Put `SET statement_timeout = '10min';` before it.",
}
_READ_ONLY = {"25006", "42501"}
_READ_HINT = (
    "The text may only read. With --write --tenant SLUG it runs as the app in that tenant, with"
    " --write alone as the owner of the tables."
)
_OWNER_HINT = (
    "Its rows belong to tenants: name one with --tenant SLUG. For all at once, let the text begin"
    " with `ALTER TABLE ... NO FORCE ROW LEVEL SECURITY;` and end with the same without NO."
)


@dataclass(frozen=True, slots=True)
class Script:
    """A text and its statements, ready to run."""

    text: str
    statements: list[Statement]


@dataclass(frozen=True, slots=True)
class Result:
    """What one statement answered; `status` is its command tag where it returns no rows."""

    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]
    status: str
    is_cut: bool
    seconds: float


def access_for(*, writes: bool, has_tenant: bool) -> Access:
    """Choose the least role that does."""
    if not writes:
        return READ
    return WRITE_AS_TENANT if has_tenant else WRITE_AS_OWNER


def read_script(text: str) -> Script:
    """Cut a text into its statements; refuse what cannot run inside one transaction."""
    if wrong := _NO_SQL.search(text):
        raise BadInput(f"The text holds {wrong[0]!a}: it is not SQL.", hint="Save it as UTF-8.")
    statements = split_statements(text)
    if not statements:
        raise BadInput(
            "There is no statement to run.", hint="For example: viral db execute 'SELECT 1'"
        )
    for statement in statements:
        if statement.verb in _WITHHELD:
            line = text.count("\n", 0, statement.start) + 1
            raise BadInput(
                f"{statement.verb} cannot be used here (line {line}).",
                hint="The whole text is one transaction, all or nothing: leave BEGIN, COMMIT and"
                " their like out; for COPY use psql."
                " `viral db url --direct --show` gives its address.",
            )
    return Script(text, statements)


async def execute(
    url: ServerUrl, script: Script, *, access: Access, context: str, limit: int
) -> list[Result]:
    """Run a script as a role of ours and return at most `limit` rows of each statement.

    `context` is a tenant's token or WITHOUT_TENANT. Either all statements hold or none does.
    """
    results = []
    async with _session(url, access) as connection:
        connection.context = context
        transaction = connection.transaction(readonly=access.is_readonly)
        with _explained(url, access):
            await transaction.start()
        for statement in script.statements:
            with _explained(url, access, script.text, statement):
                results.append(await _run(connection, statement, limit))
        with _explained(url, access):
            await transaction.commit()
    return results


@asynccontextmanager
async def _session(url: ServerUrl, access: Access) -> AsyncIterator[TenantConnection]:
    if url.is_pooled:
        raise BadSetting(
            f"{url.host}:{url.port} is a pooler: SQL of a person needs a connection of its own.",
            hint="Set DIRECT_URL to the server itself.",
        )
    async with driver_connection(
        url, connection_class=TenantConnection, settings=access.settings
    ) as connection:
        assert isinstance(connection, TenantConnection)
        await take_values_whole(connection)
        yield connection


async def _run(connection: TenantConnection, statement: Statement, limit: int) -> Result:
    clock = asyncio.get_running_loop().time
    begun = clock()
    prepared = await connection.prepare(statement.sql)
    if prepared.get_parameters():
        raise StatementFailed(
            "The statement has a parameter such as $1, and nothing to put there.",
            hint="Write the value in its place.",
        )
    columns = prepared.get_attributes()
    # One row more than asked for tells whether there are more.
    rows = await _rows(prepared, limit + 1) if columns else await prepared.fetch()
    return Result(
        columns=tuple(column.name for column in columns),
        rows=[
            tuple(map(plain_value, row, (column.type.oid for column in columns)))
            for row in rows[:limit]
        ],
        status=prepared.get_statusmsg() or "",
        is_cut=len(rows) > limit,
        seconds=clock() - begun,
    )


async def _rows(
    prepared: asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record], limit: int
) -> list[asyncpg.Record]:
    """Read no more rows from the server than the limit."""
    rows: list[asyncpg.Record] = []
    try:
        async for row in prepared.cursor(prefetch=limit):
            rows.append(row)
            if len(rows) == limit:
                break
    except (ValueError, OverflowError, asyncpg.UnsupportedClientFeatureError) as error:
        raise StatementFailed(
            f"A value of the result cannot be shown: {error}.",
            hint="Cast its column to text: SELECT column::text ...",
        ) from error
    return rows


@contextmanager
def _explained(
    url: ServerUrl, access: Access, text: str = "", statement: Statement | None = None
) -> Iterator[None]:
    try:
        yield
    except DRIVER_ERRORS as error:
        raise _fault(error, url) or _refusal(error, access, text, statement) from error


def _fault(error: BaseException, url: ServerUrl) -> ViralError | None:
    """Return what is not the statement's fault: the tenant's context, the connection."""
    state = sqlstate_of(error)
    if state == "VT001":
        return TenantContextMissing(
            "This statement touches a tenant's rows without a tenant.",
            hint="Name one with --tenant SLUG; see `viral tenant list`.",
        )
    if state is None or state.startswith(("08", "57P")):
        return connection_fault(error, url)
    return isolation_error(state)


def _refusal(
    error: BaseException, access: Access, text: str, statement: Statement | None
) -> StatementFailed:
    """Say what was refused and where; DETAIL, which may quote rows, is for the owner alone."""
    message = f"{getattr(error, 'message', error)} ({sqlstate_of(error) or 'driver'})"
    if statement is not None:
        message += _place(error, text, statement)
    detail = getattr(error, "detail", None)
    if detail and access is WRITE_AS_OWNER:
        message += f"\n{detail}"
    return StatementFailed(message, hint=_hint(error, access))


def _hint(error: BaseException, access: Access) -> str:
    state = sqlstate_of(error) or ""
    if access.is_readonly and state in _READ_ONLY:
        return _READ_HINT
    if access is WRITE_AS_OWNER and "affected by row-level security" in str(error):
        return _OWNER_HINT
    return getattr(error, "hint", None) or _HINTS.get(state, "")


def _place(error: BaseException, text: str, statement: Statement) -> str:
    """Point at the character; without a position, name the line on which the statement begins."""
    position = getattr(error, "position", None)
    at = statement.start + (int(position) - 1 if position else 0)
    number = text.count("\n", 0, at) + 1
    if not position:
        return f", in the statement of line {number}"
    begin = text.rfind("\n", 0, at) + 1
    line = text[begin:].partition("\n")[0].rstrip("\r")
    column = at - begin
    first = max(0, column - _LINE_WIDTH // 2)
    shown = line[first : first + _LINE_WIDTH].replace("\t", " ")
    return f", line {number}:\n  {shown}\n  {' ' * (column - first)}^"
