"""The tenant context: BEGIN and the tenant's capability go to the server in one message.

The mechanism uses public API only: asyncpg takes a `connection_class`, whose `transaction()` is
what SQLAlchemy's dialect starts, commits and rolls back. A transaction that was given no context
is refused before anything is sent.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from contextvars import ContextVar
from functools import lru_cache
from typing import Literal
from uuid import UUID
from weakref import ReferenceType, ref

import asyncpg

from viral.errors import BadTenantId, CommitLost, PowerfulRole, TenantContextMissing

WITHOUT_TENANT: Literal["without tenant"] = "without tenant"
_TOKEN = re.compile(r"\A[0-9a-f]{64}\Z")
# Settings and held cursors of the session belong to whoever had the connection before. Sent with
# BEGIN in one message: no round trip, and no difference that could be measured.
_CLEAN = "RESET ALL;CLOSE ALL"

# Whether the role can pass row security, and whether others could read its statements.
_ROLE_QUERY = """
SELECT r.rolsuper OR r.rolbypassrls OR EXISTS (
         SELECT FROM pg_catalog.pg_roles AS o
         WHERE o.rolname IN ('viral_owner', 'viral_auth') AND pg_has_role(r.oid, o.oid, 'MEMBER')
       ) AS is_powerful,
       current_setting('track_activities') = 'off'
       AND (current_setting('server_version_num')::integer >= 180000
            OR coalesce(current_setting('pg_stat_statements.track_utility', true), 'off') = 'off')
       AS hides_statements,
       EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'citus') AS is_distributed
FROM pg_catalog.pg_roles AS r
WHERE r.rolname = current_user
"""


class TenantTransaction:
    """A transaction of one tenant, or explicitly of none."""

    __slots__ = ("_connection", "_head")

    def __init__(self, connection: TenantConnection, head: str) -> None:
        self._connection = connection
        self._head = head

    async def start(self) -> None:
        """Send BEGIN with the context; raise TenantContextMissing when none was given."""
        connection = self._connection
        context, connection.context = connection.context, None
        if context is None:
            raise TenantContextMissing("No tenant is named; nothing was sent.")
        try:
            await _begin(connection, self._head, context)
        except BaseException:
            await _undo(connection)
            raise

    async def commit(self) -> None:
        """Commit; the server answers ROLLBACK when the transaction had failed before."""
        answer = await self._connection.execute("COMMIT")
        if answer != "COMMIT":
            raise CommitLost(f"COMMIT was answered {answer}; nothing was stored.")

    async def rollback(self) -> None:
        await self._connection.execute("ROLLBACK")


class TenantConnection(asyncpg.Connection):
    """A connection whose transactions carry a tenant's context.

    `context` is a token, WITHOUT_TENANT, or None: then the next transaction is refused. The first
    one of a connection is SQLAlchemy's own look at the server.
    """

    # asyncpg's own class has slots; these two need room.
    __slots__ = ("__dict__",)

    context: str | None = WITHOUT_TENANT
    hides_statements = False
    # Citus passes SET LOCAL on to its nodes, and set_config() to none.
    is_distributed = False

    def transaction(  # type: ignore[override]  # the dialect starts, commits, rolls back: no more
        self,
        *,
        isolation: str | None = None,
        readonly: bool = False,
        deferrable: bool = False,
    ) -> TenantTransaction:
        """Return a transaction that begins with the context of this connection."""
        head = "BEGIN"
        if isolation:
            head += f" ISOLATION LEVEL {isolation.replace('_', ' ').upper()}"
        if readonly:
            head += " READ ONLY"
        if deferrable:
            head += " DEFERRABLE"
        # A level is taken before any statement has looked at the database; in the transaction the
        # settings are clean all the same.
        return TenantTransaction(self, f"{head};{_CLEAN}" if isolation else f"{_CLEAN};{head}")


async def read_once(
    connection: TenantConnection, context: str, statement: str, *arguments: object
) -> list[asyncpg.Record]:
    """Run one statement that reads, in a transaction of its own with a tenant's context.

    It names tables with their schemas: no settings are cleaned before. Canceled, it may leave its
    transaction open, so its caller ends the connection.
    """
    if not connection.is_distributed:
        return await connection.fetch(_in_context(statement, len(arguments)), *arguments, context)
    try:
        await _begin(connection, f"{_CLEAN};BEGIN READ ONLY", context)
        rows = await connection.fetch(statement, *arguments)
        await connection.execute("COMMIT")
    except asyncpg.PostgresError:
        await _undo(connection)
        raise
    return rows


@lru_cache(maxsize=100)
def _in_context(statement: str, arguments: int) -> str:
    """Have a statement set the context itself: one round trip in place of three.

    A condition that asks for no row is tested before any is looked for, and a policy looks the
    context up with the first row. Were it otherwise, the policy would raise VT001.
    """
    context = f"(SELECT set_config('app.tenant', ${arguments + 1}, true))"
    return f"SELECT * FROM ({statement}) AS rows WHERE {context} IS NOT NULL"  # noqa: S608 - texts of our own


async def learn_role(connection: TenantConnection) -> None:
    """Refuse a role that could pass row security; see how a context reaches it."""
    role = await connection.fetchrow(_ROLE_QUERY)
    assert role is not None
    if role["is_powerful"]:
        raise PowerfulRole(
            "The app refuses to run as a superuser, as the owner of the tables, or with BYPASSRLS:"
            " row security would not hold.",
            hint="Use the role viral_app in DATABASE_URL.",
        )
    # Of the role on its server: behind a pooler it holds for each of the pooler's connections.
    connection.hides_statements = role["hides_statements"]
    connection.is_distributed = role["is_distributed"]


async def _begin(connection: TenantConnection, head: str, context: str) -> None:
    if context == WITHOUT_TENANT:
        await connection.execute(f"{head};SET LOCAL app.tenant=''")
    elif connection.hides_statements:
        await connection.execute(f"{head};SET LOCAL app.tenant='{context}'")
    else:
        # The literal would be seen in pg_stat_activity; a parameter is not.
        await connection.execute(f"{head};SET LOCAL app.tenant=''")
        await connection.fetchval("SELECT set_config('app.tenant', $1, true)", context)


async def _undo(connection: TenantConnection) -> None:
    """Leave no transaction open on a connection that others will use."""
    if not connection.is_closed() and connection.is_in_transaction():
        await connection.execute("ROLLBACK")


# Few tenants are asked for again and again, and the key that makes tokens is in memory as well.
@lru_cache(maxsize=1024)
def context_token(context_key: bytes, tenant_id: UUID) -> str:
    """Derive a tenant's capability: HMAC-SHA-256 of its id under the context key, as hex."""
    token = hmac.digest(context_key, str(tenant_id).encode(), "sha256").hex()
    assert _TOKEN.match(token)
    return token


def token_hash(token: str) -> bytes:
    """Return what the database keeps of a token."""
    return hashlib.sha256(token.encode()).digest()


def parse_tenant_id(value: object) -> UUID:
    """Read a tenant id; anything but a UUID is refused before it comes near SQL."""
    if isinstance(value, UUID):
        return value
    try:
        return UUID(str(value))
    except ValueError as error:
        raise BadTenantId(f"{str(value)[:60]!r} is not a tenant's id.") from error


_bound: ContextVar[tuple[ReferenceType[asyncio.Task[object]], UUID] | None] = ContextVar(
    "tenant", default=None
)


def set_tenant_context(tenant_id: UUID | str) -> None:
    """Name the tenant of all sessions that the current task opens from here on.

    It holds for this task alone: a task started from it has to name its own.
    """
    _bound.set((ref(_current_task()), parse_tenant_id(tenant_id)))


def current_tenant() -> UUID:
    """Return the tenant of the current task; raise TenantContextMissing when none was named."""
    match _bound.get():
        case (owner, UUID() as tenant_id) if owner() is _current_task():
            return tenant_id
    raise TenantContextMissing(
        "No tenant is named; nothing was sent.",
        hint="Call set_tenant_context(tenant_id) in this task, or use tenant_session(tenant_id).",
    )


def _current_task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    assert task is not None, "a tenant context belongs to a task"
    return task
