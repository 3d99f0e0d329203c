"""Database URLs in every spelling people paste, made into one form that the driver takes."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field, replace
from typing import TypedDict
from urllib.parse import parse_qsl, urlencode

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from viral.errors import BadSetting

_SCHEMES = {"postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg"}
_TLS = {"sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslnegotiation"}
_TLS_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
_MINIMUM = "ssl_min_protocol_version"
# What these modes ask for is TLS 1.3, unless the URL names another minimum.
_STRICT = {"require", "verify-ca", "verify-full"}
_VERIFIED = {"verify-ca", "verify-full"}
_SSL_MODES = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}
# Of libpq, Prisma and SQLAlchemy: said elsewhere here, or with no meaning to this driver.
# asyncpg does not bind SCRAM to the TLS channel; `sslmode=verify-full` covers the same attack.
_IGNORED = {
    "channel_binding",
    "gssencmode",
    "target_session_attrs",
}
_KNOWN_OPTIONS = (
    "Known: sslmode, sslrootcert, ssl_min_protocol_version, connection_limit, pool_timeout,"
    " connect_timeout, statement_cache_size, pgbouncer, schema, application_name."
)
_DEFAULT_PORT = 5432
_PGBOUNCER_PORT = 6432
_LAST_PORT = 65_535
_LARGEST = 10_000
# A day: longer than anybody waits, and short enough for every timer.
_WITHOUT_END_S = 86_400
_EXAMPLE = "postgresql://user:password@host:5432/database"


class ConnectArguments(TypedDict, total=False):
    """Keywords of `asyncpg.connect`."""

    dsn: str
    ssl: ssl.SSLContext
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
    statement_cache_size: int | None = None
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
    def is_encrypted(self) -> bool:
        """Whether nothing travels but over TLS."""
        return dict(self.tls).get("sslmode") in _STRICT

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
            query={}
            if self._cached_statements is None
            else {"prepared_statement_cache_size": str(self._cached_statements)},
        )

    @property
    def connect_args(self) -> ConnectArguments:
        """What the driver is told beside the URL."""
        arguments: ConnectArguments = {
            "timeout": self.connect_timeout_s,
            "server_settings": {"application_name": self.application_name},
        }
        if self._cached_statements is not None:
            arguments["statement_cache_size"] = self._cached_statements
        if _asks_the_system(self.tls):
            arguments["ssl"] = _system_context(dict(self.tls))
        elif self.tls:
            arguments["dsn"] = f"postgresql://?{urlencode(_with_minimum(dict(self.tls)))}"
        return arguments

    @property
    def _cached_statements(self) -> int | None:
        # Behind a transaction pooler a prepared statement must not outlive its transaction.
        return 0 if self.is_pooled else self.statement_cache_size

    def libpq(self, *, password: bool) -> str:
        """Write the URL as psql and pg_dump take it."""
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

    def setting(self, *, password: bool) -> str:
        """Write the URL as DATABASE_URL and Prisma take it: libpq refuses the word of a pooler."""
        text = self.libpq(password=password)
        return f"{text}{'&' if self.tls else '?'}pgbouncer=true" if self.is_pooled else text


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
        elif option == _MINIMUM:
            tls.append((option, _tls_version(value, name)))
        elif option == "schema":
            _check_schema(value, name)
        else:
            server = _with_option(server, option, value, name)
    return replace(server, tls=tuple(tls))


def _with_option(server: ServerUrl, option: str, value: str, name: str) -> ServerUrl:
    match option:
        case "connection_limit":
            server = replace(server, pool_size=int(_number(option, value, name)))
        case "pool_timeout":
            server = replace(server, pool_timeout_s=_timeout(option, value, name))
        case "connect_timeout":
            server = replace(server, connect_timeout_s=_timeout(option, value, name))
        case "statement_cache_size":
            size = int(_number(option, value, name, least=0))
            server = replace(server, statement_cache_size=size)
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


def _check_schema(value: str, name: str) -> None:
    if value != "public":
        raise BadSetting(
            f"{name} has schema={value}, but the product's tables are in public.",
            hint="Leave the option out, or write schema=public.",
        )


def _ssl_mode(value: str, name: str) -> str:
    mode = {"true": "require", "1": "require", "false": "disable", "0": "disable"}.get(value, value)
    if mode not in _SSL_MODES:
        raise BadSetting(
            f"{name} has sslmode={value}.", hint=f"Use one of {', '.join(sorted(_SSL_MODES))}."
        )
    return mode


def _tls_version(value: str, name: str) -> str:
    if value not in _TLS_VERSIONS:
        raise BadSetting(
            f"{name} has {_MINIMUM}={value}.", hint=f"Use one of {', '.join(_TLS_VERSIONS)}."
        )
    return value


def _with_minimum(tls: dict[str, str]) -> dict[str, str]:
    return {_MINIMUM: "TLSv1.3"} | tls if tls.get("sslmode") in _STRICT else tls


def _asks_the_system(tls: tuple[tuple[str, str], ...]) -> bool:
    """Tell whether the machine's own authorities vouch: the driver knows files only."""
    named = dict(tls)
    return named.get("sslmode") in _VERIFIED and named.get("sslrootcert", "system") == "system"


def _system_context(tls: dict[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = tls["sslmode"] == "verify-full"
    context.minimum_version = _TLS_VERSIONS[_with_minimum(tls)[_MINIMUM]]
    if "sslcert" in tls:
        try:
            context.load_cert_chain(tls["sslcert"], tls.get("sslkey"))
        except OSError as error:
            raise BadSetting(
                f"The certificate {tls['sslcert']} cannot be used: {error.strerror}.",
                hint="Check sslcert and sslkey in the URL.",
            ) from error
    return context


def _timeout(option: str, value: str, name: str) -> float:
    """Read seconds; 0 means without end, as Prisma and libpq have it."""
    return _number(option, value, name, least=0) or _WITHOUT_END_S


def _number(option: str, value: str, name: str, *, least: int = 1) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1
    if not least <= number <= _LARGEST:
        raise BadSetting(
            f"{name} has {option}={value}.", hint=f"Use a number from {least} to {_LARGEST}."
        )
    return number
