"""What the driver and the server raise, said in our errors: the cause in one line, and the fix."""

from __future__ import annotations

import socket
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from viral.errors import (
    LastAdmin,
    NotAllowed,
    PoolExhausted,
    ServerError,
    ServerRefused,
    ServerUnreachable,
    TenantContextMissing,
    TenantContextUnknown,
    ViralError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.database.urls import ServerUrl

# All that the driver raises while a server comes and goes. The last one is its word for an
# answer that it did not expect, such as the end of a session in the middle of a message.
DRIVER_ERRORS = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

# SQLSTATE, PostgreSQL manual appendix A.
_REFUSALS = {
    "28P01": ("the password of {user} is wrong", "Correct the password in the URL."),
    "28000": (
        "{user} may not connect to {database}",
        (
            "Check the role's name, its right to connect, and whether the server asks for TLS"
            " (sslmode=require)."
        ),
    ),
    "22023": (
        "the server has no role viral_owner",
        "Set the server up with `viral server bootstrap --admin-url URL`.",
    ),
    "3D000": ("there is no database {database}", "Create it, or correct the name in the URL."),
    "42501": (
        "{user} may not do this in {database}",
        "Set the server up with `viral server bootstrap --admin-url URL`.",
    ),
    "53300": ("the server has no connection left", "Lower connection_limit, or use a pooler."),
    "55000": ("{database} takes no connections", "A branch is made of it: try again in a moment."),
    "57P03": ("the server is starting or stopping", "Try again in a moment."),
}
# What PgBouncer says for itself has this one, whatever it is about.
_OF_POOLER = "08P01"
# Classes 57P and 08: the server ends the connection, or it is gone.
_CLOSED = {"57P01", "57P02", "08000", "08001", "08003", "08006"}
# The first that fits.
_REASONS: tuple[tuple[type[OSError], str], ...] = (
    (socket.gaierror, "the host name is not known"),
    (ConnectionRefusedError, "nothing listens there"),
    (TimeoutError, "no answer in time"),
    (OSError, "the connection broke"),
)


def sqlstate_of(error: BaseException | None) -> str | None:
    """Find the SQLSTATE in an error or in what it came from."""
    while error is not None:
        state = getattr(error, "sqlstate", None)
        if isinstance(state, str):
            return state
        cause = getattr(error, "orig", None) or error.__cause__
        # SQLAlchemy raises an error of ours again from itself.
        error = None if cause is error else cause
    return None


def is_wrong_password(error: BaseException) -> bool:
    """Tell whether a password was refused: by PostgreSQL, or in PgBouncer's words by a pooler."""
    state = sqlstate_of(error)
    return state == "28P01" or (state == "08P01" and "authentication failed" in str(error))


def isolation_error(state: str | None) -> ViralError | None:
    """Return our error for the SQLSTATEs that the schema's functions raise."""
    if state == "VT001":
        return TenantContextMissing("This statement touches a tenant's rows without a tenant.")
    if state == "VT002":
        return TenantContextUnknown(
            "The tenant context is not one of this installation.",
            hint="The tenant is erased, or the context key is retired, or another installation's.",
        )
    if state == "VT003":
        return NotAllowed("Only an admin of the tenant may do this.")
    if state == "VT004":
        return LastAdmin("This is the tenant's last admin.")
    return None


def pooling_error(error: BaseException, url: ServerUrl) -> ServerRefused | None:
    """Explain a prepared statement that is gone, or somebody else's: a pooler nobody told of."""
    if url.is_pooled or sqlstate_of(error) not in {"26000", "42P05"}:
        return None
    return ServerRefused(
        f"A prepared statement is missing on the server: {url.host}:{url.port} is a pooler that"
        " gives each transaction another connection.",
        hint='Add pgbouncer=true to the URL: DATABASE_URL="...?pgbouncer=true".',
    )


def connection_fault(error: BaseException, url: ServerUrl) -> ServerError | None:
    """Explain why a connection failed; None when the error is about something else."""
    state = "28P01" if is_wrong_password(error) else sqlstate_of(error)
    if state == _OF_POOLER and url.is_pooled:
        return _pooler_fault(str(_root(error)), url)
    if state in _REFUSALS:
        cause, fix = _REFUSALS[state]
        text = cause.format(user=url.user, database=url.database)
        return ServerRefused(f"Connecting to {url} failed: {text}.", hint=fix)
    cause_of = _root(error)
    if refusal := None if state else _tls_refusal(cause_of, url):
        return refusal
    reason = _unreachable_reason(cause_of, state)
    if reason is None:
        return None
    return ServerUnreachable(
        f"Can't reach the database server at {url.host}:{url.port}: {reason}.",
        hint="Check DATABASE_URL and that the server runs: `viral"
        f" {'pooler' if url.is_pooled else 'server'} status`.",
    )


def _pooler_fault(said: str, url: ServerUrl) -> ServerError:
    hint = "See who uses it, and who waits: `viral pooler status`."
    if "query_wait_timeout" in said:
        return PoolExhausted(
            f"The pooler at {url.host}:{url.port} had no connection free in time.", hint=hint
        )
    return ServerUnreachable(f"The pooler at {url.host}:{url.port} says: {said}.", hint=hint)


def _tls_refusal(error: BaseException, url: ServerUrl) -> ServerRefused | None:
    if "rejected SSL upgrade" in str(error):
        return ServerRefused(
            f"Connecting to {url} failed: the server offers no TLS.",
            hint="Use sslmode=prefer or sslmode=disable, or switch TLS on at the server.",
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return ServerRefused(
            f"Connecting to {url} failed: its certificate is not trusted"
            f" ({error.verify_message.rstrip('.')}).",
            hint="Name the file of its authority in the URL, sslrootcert=FILE, and the host as in"
            " the certificate.",
        )
    if isinstance(error, ssl.SSLError) and "PROTOCOL" in (error.reason or ""):
        return ServerRefused(
            f"Connecting to {url} failed: the server speaks no TLS as new as the URL asks for"
            " (1.3, unless it says otherwise).",
            hint="Update the server. Until then, in the URL: ssl_min_protocol_version=TLSv1.2",
        )
    if isinstance(error, ssl.SSLError):
        return ServerRefused(
            f"Connecting to {url} failed: TLS was refused ({error.reason or 'handshake'}).",
            hint="Check sslmode and sslrootcert in the URL.",
        )
    if url.tls and isinstance(error, FileNotFoundError | PermissionError):
        return ServerRefused(
            f"Connecting to {url} failed: a file for TLS cannot be read ({error.strerror}).",
            hint="Check sslrootcert, sslcert and sslkey in the URL.",
        )
    return None


def pool_exhausted(url: ServerUrl, size: int) -> PoolExhausted:
    """Explain that all `size` connections of a pool are at work."""
    return PoolExhausted(
        f"All {size} connections to {url} are in use for {url.pool_timeout_s:g} s.",
        hint=f'Increase pool size: DATABASE_URL="...?connection_limit={url.pool_size * 2}", or'
        " put a pooler before the server: `viral pooler start`.",
    )


@contextmanager
def connecting(url: ServerUrl) -> Iterator[None]:
    """Turn what goes wrong while a connection is made into our errors."""
    try:
        yield
    except PoolTimeout as error:
        raise pool_exhausted(url, url.pool_size) from error
    except (*DRIVER_ERRORS, DBAPIError) as error:
        fault = connection_fault(error, url)
        if fault is None:
            raise
        raise fault from error


def _root(error: BaseException) -> BaseException:
    # What the system says is the cause; a time-out comes from a cancellation, which says nothing.
    while not isinstance(error, OSError):
        cause = getattr(error, "orig", None) or error.__cause__
        if cause is None:
            break
        error = cause
    return error


def is_protocol_broken(error: BaseException) -> bool:
    """Tell whether the driver lost track, as it does when the server ends a session unasked."""
    return isinstance(_root(error), asyncpg.InternalClientError)


def _unreachable_reason(error: BaseException, state: str | None) -> str | None:
    if state is not None:
        return "the server closed the connection" if state in _CLOSED else None
    if isinstance(error, asyncpg.InterfaceError) and "closed" in str(error):
        # The driver's own words for a connection that ended before this statement.
        return "the server closed the connection"
    if is_protocol_broken(error):
        return "the server closed the connection"
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), None)
