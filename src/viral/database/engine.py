"""Sessions on PostgreSQL: a pool per role, every transaction with its tenant or with none."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria

from viral.database.announcing import NEWS, Announcing, Kind, News, Piece, note_rows, note_statement
from viral.database.calls import Calls
from viral.database.encryption.fields import KEYS, refuse_bulk_write
from viral.database.faults import (
    DRIVER_ERRORS,
    connecting,
    connection_fault,
    is_protocol_broken,
    is_wrong_password,
    isolation_error,
    pooling_error,
    sqlstate_of,
)
from viral.database.tenancy import (
    WITHOUT_TENANT,
    TenantConnection,
    context_token,
    current_tenant,
    learn_role,
    parse_tenant_id,
)
from viral.database.together import Together
from viral.database.waking import Waking
from viral.errors import TenantContextMissing, ViralError
from viral.schema.base import TenantOwned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from asyncpg import Record
    from sqlalchemy import Connection
    from sqlalchemy.engine import Dialect, ExceptionContext
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.orm import SessionTransaction, UOWTransaction
    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

    from viral.database.encryption.keys import KeyRing
    from viral.database.urls import ServerUrl

# In a session's `info`: the channels to wake after its commit, and who wakes and tells.
WAKES, WAKE, ANNOUNCE = "wakes", "wake", "announce"
# A commit waits for all of the log before it, but only where it wrote something itself.
_FLUSH = "SELECT pg_logical_emit_message(true, 'viral', '')"


class TenantSession(Session):
    """The synchronous half of a session; `info` holds its tenant and context."""


class Database:
    """One role's way to a database.

    `tenant_session` for rows of one tenant; `session` for the tenant that the task has named;
    `session_without_tenant` for functions and tables that ask for none. Without `field_keys` the
    encrypted fields stay closed. Where `context_key` is a function, each transaction asks it for
    the key in force. Where `passwords` is given, each connection asks it for those to try. With
    `announces`, what a transaction changed is told to the open pages.
    """

    def __init__(
        self,
        url: ServerUrl,
        *,
        context_key: bytes | Callable[[], bytes],
        field_keys: KeyRing | None = None,
        passwords: Callable[[], Sequence[str]] | None = None,
        announces: bool = False,
    ) -> None:
        self.url = url
        self._context_key = context_key
        self._field_keys = field_keys
        self._calls = Calls(url, passwords=passwords)
        self._waking = Waking(self._calls)
        # Rows of an id and JSON, of callers that ask for the same at once.
        self.together: Together[tuple[UUID, str]] = Together()
        self._announcing = Announcing(self._calls) if announces else None
        self._engine = create_async_engine(
            url.sqlalchemy,
            connect_args={**url.connect_args, "connection_class": TenantConnection},
            pool_size=url.pool_size,
            max_overflow=0,
            pool_timeout=url.pool_timeout_s,
            json_serializer=lambda value: msgspec.json.encode(value).decode(),
            json_deserializer=msgspec.json.decode,
            hide_parameters=True,
        )
        sync_engine = self._engine.sync_engine
        if passwords is not None:
            event.listen(sync_engine, "do_connect", _logging_in(passwords))
        event.listen(sync_engine, "connect", _learn_role)
        event.listen(sync_engine, "begin", _forget_context)
        event.listen(sync_engine, "checkout", _ping)
        event.listen(sync_engine, "handle_error", self._translate)

    async def close(self) -> None:
        """Close all connections."""
        await self._waking.close()
        if self._announcing is not None:
            await self._announcing.close()
        await self._calls.close()
        await self._engine.dispose()

    async def call(self, statement: str, *arguments: object) -> list[Record]:
        """Run one statement that asks for no tenant, in one round trip."""
        return await self._calls.fetch(statement, *arguments)

    async def call_for(
        self, tenant_id: UUID | str, statement: str, *arguments: object
    ) -> list[Record]:
        """Run one statement whose $1 is the tenant's context, in one round trip."""
        token = self._token(parse_tenant_id(tenant_id))
        return await self._calls.fetch(statement, token, *arguments)

    async def read_for(
        self, tenant_id: UUID | str, statement: str, *arguments: object
    ) -> list[Record]:
        """Run one statement that reads rows of a tenant, in a transaction of its own.

        It says all that `tenant_session` says, for a fraction of its time: what is asked for many
        times a second is worth a statement of its own.
        """
        context = partial(self._token, parse_tenant_id(tenant_id))
        return await self._calls.read(context, statement, *arguments)

    def context(self, tenant_id: UUID) -> str:
        """Return what names a tenant to functions of the schema: a capability, so a secret."""
        return self._token(tenant_id)

    def wake(self, channel: str) -> None:
        """Tell those who listen on a channel that there is something to look at, very soon."""
        self._waking.wake(channel)

    def may_wake(self, channel: str) -> bool:
        """Say whether a statement is to wake a channel itself; if not, call `wake`."""
        return self._waking.may_ride(channel)

    async def flush(self) -> None:
        """Wait until what was committed before, by whoever, is on the server's disk."""
        await self._calls.fetch(_FLUSH)

    def announce(self, tenant_id: UUID | None, kind: Kind, row_id: UUID | None = None) -> None:
        """Tell the open pages of a tenant, or of all, that something of a kind changed."""
        if self._announcing is not None:
            self._announcing.announce(Piece(tenant_id, kind, row_id))

    @asynccontextmanager
    async def tenant_session(self, tenant_id: UUID | str) -> AsyncIterator[AsyncSession]:
        """Open a transaction of one tenant: committed at the end, rolled back on an error."""
        tenant = parse_tenant_id(tenant_id)
        # Derived when the transaction begins: the wait for a connection may outlast a key.
        info = {"tenant_id": tenant, "context": partial(self._token, tenant)}
        async with self._begin(info) as session:
            yield session

    @asynccontextmanager
    async def tenant_snapshot(self, tenant_id: UUID | str) -> AsyncIterator[AsyncSession]:
        """Open a transaction of one tenant that sees one moment, however long it reads."""
        tenant = parse_tenant_id(tenant_id)
        info = {"tenant_id": tenant, "context": partial(self._token, tenant)}
        options = {"isolation_level": "REPEATABLE READ"}
        async with self._begin(info, options) as session:
            yield session

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction of the tenant named by `set_tenant_context` in this task."""
        async with self.tenant_session(current_tenant()) as session:
            yield session

    @asynccontextmanager
    async def session_without_tenant(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction in which every row of a tenant is out of reach (VT001)."""
        async with self._begin({"context": lambda: WITHOUT_TENANT}) as session:
            yield session

    @asynccontextmanager
    async def _begin(
        self, info: Mapping[str, object], options: Mapping[str, str] | None = None
    ) -> AsyncIterator[AsyncSession]:
        told = {NEWS: None if self._announcing is None else News(), ANNOUNCE: self.announce}
        async with (
            AsyncSession(
                self._engine,
                sync_session_class=TenantSession,
                info={**info, **told, KEYS: self._field_keys, WAKES: set(), WAKE: self.wake},
                expire_on_commit=False,
            ) as session,
            session.begin(),
        ):
            with connecting(self.url):
                await session.connection(execution_options=options)
            yield session

    def _token(self, tenant_id: UUID) -> str:
        key = self._context_key
        return context_token(key() if callable(key) else key, tenant_id)

    def _translate(self, context: ExceptionContext) -> None:
        error = context.original_exception
        if isinstance(error, ViralError):
            # Of a column's type, which SQLAlchemy would wrap.
            raise error
        if is_protocol_broken(error):
            # SQLAlchemy does not know it for the end of the connection that it is.
            context.is_disconnect = True
        ours = isolation_error(sqlstate_of(error)) or pooling_error(error, self.url)
        if ours is None and (context.connection is None or context.is_disconnect):
            ours = connection_fault(error, self.url)
        if ours is not None:
            raise ours from error


def tenant_of(session: AsyncSession) -> UUID:
    """Return the tenant that a session is open for."""
    tenant_id = session.info.get("tenant_id")
    if not isinstance(tenant_id, UUID):
        raise TenantContextMissing("This session was opened without a tenant.")
    return tenant_id


def _logging_in(passwords: Callable[[], Sequence[str]]) -> Callable[..., DBAPIConnection]:
    """Connect with the passwords in turn: in the middle of a change the server has either."""

    def log_in(
        dialect: Dialect,
        _entry: ConnectionPoolEntry,
        places: Sequence[object],
        options: Mapping[str, object],
    ) -> DBAPIConnection:
        tried: list[str] = []
        while True:
            # Asked anew each time: the change may have gone on while the server refused.
            password = next(word for word in passwords() if word not in tried)
            tried.append(password)
            try:
                return dialect.connect(*places, **{**options, "password": password})
            except dialect.loaded_dbapi.Error as error:
                if not is_wrong_password(error) or set(passwords()) <= set(tried):
                    raise

    return log_in


def _driver(connection: Connection) -> TenantConnection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, TenantConnection)
    return driver


def _learn_role(adapted: object, entry: ConnectionPoolEntry) -> None:
    adapted.run_async(learn_role)  # type: ignore[attr-defined]  # the dialect's adapter is untyped
    entry.info["is_new"] = True


def _forget_context(connection: Connection) -> None:
    # From here to the session's own listener nothing may begin: a forgotten tenant is refused.
    _driver(connection).context = None


def _ping(adapted: object, entry: ConnectionPoolEntry, _owner: PoolProxiedConnection) -> None:
    """See that the connection lives; if not, those of its age are made anew.

    SQLAlchemy's own ping would need a transaction; this is one message, behind a pooler too.
    """
    if entry.info.pop("is_new", False):
        return
    try:
        adapted.run_async(lambda driver: driver.execute("SELECT"))  # type: ignore[attr-defined]  # the dialect's adapter is untyped
    except DRIVER_ERRORS as error:
        raise InvalidatePoolError from error


@event.listens_for(TenantSession, "after_begin")
def _bind_context(session: Session, _transaction: SessionTransaction, conn: Connection) -> None:
    driver = _driver(conn)
    if not driver.is_in_transaction():
        driver.context = session.info["context"]()


def wake_after_commit(session: AsyncSession, channel: str) -> None:
    """Have `Database.wake` called once the session's transaction is committed."""
    session.info[WAKES].add(channel)


def announce_after_commit(session: AsyncSession, kind: Kind) -> None:
    """Tell of what a function of the schema changed for the session's tenant, once committed."""
    news = session.info[NEWS]
    if news is not None:
        news.add(tenant_of(session), kind)


@event.listens_for(TenantSession, "after_commit")
def _wake(session: Session) -> None:
    channels = session.info[WAKES]
    for channel in channels:
        session.info[WAKE](channel)
    channels.clear()
    for piece in (session.info[NEWS] or News()).take():
        session.info[ANNOUNCE](piece.tenant_id, piece.kind, piece.id)


@event.listens_for(TenantSession, "after_flush")
def _notice(session: Session, _flush: UOWTransaction) -> None:
    note_rows(session)


@event.listens_for(TenantSession, "before_flush")
def _own_new_rows(session: Session, _flush: UOWTransaction, _objects: object) -> None:
    """Give rows of a tenant's table the session's tenant."""
    tenant_id = session.info.get("tenant_id")
    if tenant_id is None:
        return
    for row in session.new:
        if isinstance(row, TenantOwned) and row.tenant_id is None:
            row.tenant_id = tenant_id


# One option for all tenants, and the tenant a parameter: SQLAlchemy knows a statement again at
# once, where an option made for each took a tenth of a request.
_OF_TENANT = with_loader_criteria(
    TenantOwned,
    lambda table: table.tenant_id == bindparam("tenant_of_session"),
    include_aliases=True,
    propagate_to_loaders=False,
)


@event.listens_for(TenantSession, "do_orm_execute")
def _name_tenant(state: ORMExecuteState) -> None:
    """Add the tenant as a predicate: PostgreSQL can skip, a router can route; policies decide."""
    refuse_bulk_write(state)
    note_statement(state)
    tenant_id = state.session.info.get("tenant_id")
    if tenant_id is None or state.is_column_load:
        return
    if state.is_select:
        if not state.is_relationship_load:
            state.statement = state.statement.options(_OF_TENANT)
        given = state.parameters or {}
        assert isinstance(given, dict)
        state.parameters = given | {"tenant_of_session": tenant_id}
        return
    state.statement = state.statement.options(
        with_loader_criteria(
            TenantOwned, lambda table: table.tenant_id == tenant_id, include_aliases=True
        )
    )


def is_unique_violation(error: DBAPIError) -> bool:
    """Tell whether a statement failed because its key is taken."""
    return sqlstate_of(error) == "23505"
