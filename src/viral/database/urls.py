"""Database URLs in every spelling people paste, made into one form that the driver takes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypedDict
from urllib.parse import parse_qsl, urlencode

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from viral.errors import BadSetting

_SCHEMES = {"postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg"}
_TLS = {"sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslnegotiation"}
_SSL_MODES = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}
# Of libpq, Prisma and SQLAlchemy: said elsewhere here, or with no meaning to this driver.
# asyncpg does not bind SCRAM to the TLS channel; `sslmode=verify-full` covers the same attack.
_IGNORED = {
    "channel_binding",
    "schema",
    "gssencmode",
    "target_session_attrs",
    "statement_cache_size",
}
_KNOWN_OPTIONS = (
    "Known: sslmode, sslrootcert, connection_limit, pool_timeout, connect_timeout, pgbouncer,"
    " application_name."
)
_DEFAULT_PORT = 5432
_PGBOUNCER_PORT = 6432
_LAST_PORT = 65_535
_LARGEST = 10_000
_EXAMPLE = "postgresql://user:password@host:5432/database"


class ConnectArguments(TypedDict, total=False):
    """Keywords of `asyncpg.connect`."""

    dsn: str
    timeout: float
    server_settings: dict[str, str]
    statement_cache_size: int


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """Where a database is and how to reach it. Its text never shows the password."""

    host: str
    port: int
    user: str
    database: str
    password: str = field(repr=False, default="")
    tls: tuple[tuple[str, str], ...] = ()
    pool_size: int = 10
    pool_timeout_s: float = 30
    connect_timeout_s: float = 10
    application_name: str = "viral"
    is_pooled: bool = False

    def __str__(self) -> str:
        return f"postgresql://{self.user}@{self.host}:{self.port}/{self.database}"

    def for_role(self, user: str, password: str) -> ServerUrl:
        """Return the same database, as another role."""
        return replace(self, user=user, password=password)

    def for_database(self, database: str) -> ServerUrl:
        """Return another database of the same server."""
        return replace(self, database=database)

    @property
    def sqlalchemy(self) -> URL:
        """The URL as SQLAlchemy's asyncpg dialect takes it."""
        return URL.create(
            "postgresql+asyncpg",
            self.user,
            self.password,
            self.host,
            self.port,
            self.database,
            # Prepared statements must not outlive a transaction behind a transaction pooler.
            query={"prepared_statement_cache_size": "0"} if self.is_pooled else {},
        )

    @property
    def connect_args(self) -> ConnectArguments:
        """What the driver is told beside the URL."""
        arguments: ConnectArguments = {
            "timeout": self.connect_timeout_s,
            "server_settings": {"application_name": self.application_name},
        }
        if self.tls:
            arguments["dsn"] = f"postgresql://?{urlencode(self.tls)}"
        if self.is_pooled:
            arguments["statement_cache_size"] = 0
        return arguments

    def libpq(self, *, password: bool) -> str:
        """Write the URL as psql, pg_dump and Prisma take it."""
        url = URL.create(
            "postgresql",
            self.user,
            self.password if password else None,
            self.host,
            self.port,
            self.database,
            query=dict(self.tls),
        )
        return url.render_as_string(hide_password=False)


def parse_url(text: str, *, name: str = "DATABASE_URL") -> ServerUrl:
    """Read a URL; `name` is the variable or option that an error speaks of."""
    url = _read(text.strip(), name)
    if url.drivername not in _SCHEMES:
        raise BadSetting(
            f"{name} names {url.drivername!r}, not PostgreSQL.", hint=f"Write it as {_EXAMPLE}."
        )
    parts = {"host": url.host, "database": url.database, "user": url.username}
    if missing := [part for part, value in parts.items() if not value]:
        raise BadSetting(
            f"{name} lacks its {' and '.join(missing)}.", hint=f"Write it as {_EXAMPLE}."
        )
    port = _DEFAULT_PORT if url.port is None else url.port
    if not 0 < port <= _LAST_PORT:
        raise BadSetting(f"{name} has the port {port}.", hint=f"Use one from 1 to {_LAST_PORT}.")
    host = str(url.host)
    server = ServerUrl(
        host=host,
        port=port,
        user=str(url.username),
        password=str(url.password or ""),
        database=str(url.database),
        is_pooled="-pooler." in host or port == _PGBOUNCER_PORT,
    )
    query = urlencode(url.normalized_query, doseq=True)
    return _with_options(server, parse_qsl(query), name)


def _read(text: str, name: str) -> URL:
    if text.partition("?")[0].count("@") > 1:
        # Read as it stands, a piece of the password would become the host and be shown.
        raise BadSetting(
            f"{name} has an @ too many.", hint="Write @ in a password as %40, : as %3A, / as %2F."
        )
    try:
        return make_url(text)
    except (ArgumentError, ValueError):
        # The cause is left out: it quotes the text.
        raise BadSetting(f"{name} is not a URL.", hint=f"Write it as {_EXAMPLE}.") from None


def _with_options(server: ServerUrl, query: list[tuple[str, str]], name: str) -> ServerUrl:
    tls = []
    for option, value in query:
        if option in {"sslmode", "ssl"}:
            tls.append(("sslmode", _ssl_mode(value, name)))
        elif option in _TLS:
            tls.append((option, value))
        else:
            server = _with_option(server, option, value, name)
    return replace(server, tls=tuple(tls))


def _with_option(server: ServerUrl, option: str, value: str, name: str) -> ServerUrl:
    match option:
        case "connection_limit":
            server = replace(server, pool_size=int(_number(option, value, name)))
        case "pool_timeout":
            server = replace(server, pool_timeout_s=_number(option, value, name))
        case "connect_timeout":
            server = replace(server, connect_timeout_s=_number(option, value, name))
        case "pgbouncer":
            server = replace(server, is_pooled=value.lower() in {"1", "true", "yes", "on"})
        case "application_name":
            server = replace(server, application_name=value)
        case "prepared_statement_cache_size":
            server = replace(server, is_pooled=server.is_pooled or value == "0")
        case _ if option not in _IGNORED:
            raise BadSetting(
                f"{name} has an option that is not known: {option}.", hint=_KNOWN_OPTIONS
            )
    return server


def _ssl_mode(value: str, name: str) -> str:
    mode = {"true": "require", "1": "require", "false": "disable", "0": "disable"}.get(value, value)
    if mode not in _SSL_MODES:
        raise BadSetting(
            f"{name} has sslmode={value}.", hint=f"Use one of {', '.join(sorted(_SSL_MODES))}."
        )
    return mode


def _number(option: str, value: str, name: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1
    if not 1 <= number <= _LARGEST:
        raise BadSetting(
            f"{name} has {option}={value}.", hint=f"Use a number from 1 to {_LARGEST}."
        )
    return number
