"""Whether the server is there, by which address, how safely, and whether it has room."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from viral.database.faults import sqlstate_of
from viral.errors import ServerError, ServerUnreachable
from viral.postgres.binaries import OLDEST, find_binaries
from viral.postgres.doctor.check import (
    Check,
    Finding,
    error,
    looking_into,
    of_error,
    ok,
    warning,
)

if TYPE_CHECKING:
    from viral.database.urls import ServerUrl
    from viral.postgres.doctor.check import Patient

NEARLY_FULL = 0.8
CLOCK_WARNING_S = 2
CLOCK_ERROR_S = 60
NO_ROOM = "53300"
TOO_LONG = timedelta(hours=1)
# How many processes with a pool of each role a usual installation runs: web and worker.
PROCESSES = 2
POOLS = 4
_TLS = "SELECT ssl, version, cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
_ROOM = """
SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS used,
       current_setting('max_connections')::int
         - current_setting('superuser_reserved_connections')::int AS room
"""
# Of roles that hide their statements no state is known; the server ends theirs after a minute.
_OLD = """
SELECT count(*) AS idle, max(usename) AS who,
       (SELECT count(*) FROM pg_prepared_xacts WHERE prepared < now() - $1::interval) AS prepared
FROM pg_stat_activity
WHERE state LIKE 'idle in transaction%' AND state_change < now() - $1::interval
"""


async def look_at_programs(patient: Patient) -> list[Finding]:
    """Find PostgreSQL's programs; a server elsewhere needs them for backups only."""
    assert patient.settings is not None
    try:
        binaries = find_binaries(patient.settings.pg_bindir)
    except ServerError as missing:
        return [of_error("programs", missing)]
    version = ".".join(map(str, binaries.version))
    return ok("programs", f"PostgreSQL {version} of {binaries.source}.")


async def look_at_urls(patient: Patient) -> list[Finding]:
    """Judge the form of the addresses."""
    assert patient.app is not None
    assert patient.direct is not None
    assert patient.settings is not None
    if patient.settings.database_url is None:
        return ok("urls", "DATABASE_URL is not set: the embedded server is used.")
    found: list[Finding] = []
    if patient.app.is_pooled and patient.settings.direct_url is None:
        found += error(
            "urls",
            "DATABASE_URL goes through a pooler, and DIRECT_URL is not set: migrations need it.",
            "Set DIRECT_URL to the server's own address, as the role viral_migrator.",
        )
    for name, url in (("DATABASE_URL", patient.app), ("DIRECT_URL", patient.direct)):
        if not is_near(url.host) and dict(url.tls).get("sslmode") in {None, "allow", "disable"}:
            found += warning(
                "urls",
                f"{name} names another machine and does not ask for TLS.",
                f"Add sslmode=verify-full to {name} (or sslmode=require).",
            )
    if patient.app.user != "viral_app":
        found += warning(
            "urls",
            f"DATABASE_URL connects as {patient.app.user}, not as viral_app.",
            "See `viral server bootstrap --help`: it prints the lines for .env.local.",
        )
    return found or ok("urls", "DATABASE_URL and DIRECT_URL have the form they need.")


async def look_at_server(patient: Patient) -> list[Finding]:
    """Connect by each address, as the product does."""
    assert patient.app is not None
    assert patient.direct is not None
    assert patient.settings is not None
    named = [("DATABASE_URL", patient.app), ("DIRECT_URL", patient.direct)]
    if patient.settings.database_url is None:
        named = [("the embedded server", patient.app)]
    elif patient.settings.direct_url is None:
        named = named[:1]
    return [finding for name, url in named for finding in await _reach(name, url, patient)]


async def _reach(name: str, url: ServerUrl, patient: Patient) -> list[Finding]:
    try:
        async with looking_into(url) as connection:
            await connection.fetchval("SELECT 1")
    except ServerError as refused:
        fix = refused.hint
        if sqlstate_of(refused) == NO_ROOM:
            fix = "Lower connection_limit, put a pooler in between (`viral pooler start`), or end"
            fix += " sessions that are not needed."
        elif patient.embedded is not None and isinstance(refused, ServerUnreachable):
            fix = "Start it: `viral up`, or the server alone: `viral server start`."
        return error("server", f"{name}: {refused.message}", fix)
    return ok("server", f"{name} answers as {url.user} at {url.host}:{url.port}.")


async def look_at_tls(patient: Patient) -> list[Finding]:
    """Say what protects the way to the server."""
    assert patient.direct is not None
    if patient.embedded is not None:
        return ok(
            "tls", "The embedded server listens on 127.0.0.1 only; nothing leaves the machine."
        )
    async with looking_into(patient.direct) as connection:
        row = await connection.fetchrow(_TLS)
    if row is not None and row["ssl"]:
        if row["version"] < "TLSv1.3":
            return warning(
                "tls",
                f"The connection has {row['version']}, older than TLSv1.3.",
                "Take ssl_min_protocol_version out of the URL once the server is updated.",
            )
        return ok("tls", f"{row['version']}, {row['cipher']}.")
    if is_near(patient.direct.host):
        return ok("tls", "The server is on this machine, and the connection without TLS.")
    return error(
        "tls",
        f"The connection to {patient.direct.host} has no TLS: passwords and rows can be read.",
        "Add sslmode=verify-full to DATABASE_URL and DIRECT_URL.",
    )


async def look_at_connections(patient: Patient) -> list[Finding]:
    """Compare what is used, and what our pools may take, with what the server gives."""
    assert patient.app is not None
    async with looking_into(patient.eye) as connection:
        row = await connection.fetchrow(_ROOM)
    assert row is not None
    used, room = row["used"], row["room"]
    said = f"{used} of {room} connections are used"
    if used >= room * NEARLY_FULL:
        return warning(
            "connections",
            f"{said}: soon nobody else gets one.",
            "Lower connection_limit in DATABASE_URL, or `viral pooler start`.",
        )
    if not patient.app.is_pooled and (wanted := patient.app.pool_size * POOLS * PROCESSES) > room:
        return warning(
            "connections",
            f"{said}; web and worker together may ask for {wanted}.",
            f"Set connection_limit={max(1, room // (POOLS * PROCESSES))} in DATABASE_URL, or"
            " `viral pooler start`.",
        )
    return ok("connections", f"{said}.")


async def look_at_transactions(patient: Patient) -> list[Finding]:
    """Find what holds back vacuum and locks: transactions that nobody ends."""
    async with looking_into(patient.eye) as connection:
        row = await connection.fetchrow(_OLD, TOO_LONG)
    assert row is not None
    found: list[Finding] = []
    if row["prepared"]:
        found += warning(
            "transactions",
            f"{row['prepared']} prepared transactions are older than an hour; the product makes"
            " none.",
            "See them: viral db execute 'SELECT gid, prepared FROM pg_prepared_xacts', then"
            " ROLLBACK PREPARED 'gid' as who made it.",
        )
    if row["idle"]:
        found += warning(
            "transactions",
            f"{row['idle']} sessions ({row['who']}) are idle in a transaction for over an hour.",
            "End the program that holds them; a restart of `viral up` ends those of the product.",
        )
    if found or patient.embedded is not None:
        return found or ok("transactions", "None is left open.")
    return ok("transactions", f"None that {patient.eye.user} can see is left open.")


async def look_at_clock(patient: Patient) -> list[Finding]:
    """Compare this machine's clock with the server's."""
    async with looking_into(patient.eye) as connection:
        before = patient.clock()
        there = await connection.fetchval("SELECT clock_timestamp()")
        after = patient.clock()
    # The answer was given somewhere between; what the way took does not count.
    apart = max((before - there).total_seconds(), (there - after).total_seconds(), 0.0)
    if apart < CLOCK_WARNING_S:
        return ok("clock", "This machine and the server agree.")
    what = f"This machine's clock and the server's are {apart:,.0f} s apart."
    fix = "Let both be set by the network: `timedatectl set-ntp true`."
    return (error if apart >= CLOCK_ERROR_S else warning)("clock", what, fix)


async def look_at_version(patient: Patient) -> list[Finding]:
    """Compare the server with what the product needs and with what it brings along."""
    assert patient.settings is not None
    async with looking_into(patient.eye) as connection:
        number = int(await connection.fetchval("SHOW server_version_num"))
    major, minor = divmod(number, 10_000)
    if major < OLDEST:
        return error(
            "version",
            f"The server is PostgreSQL {major}.{minor}; the product needs {OLDEST} or later.",
            "Update the server, or unset DATABASE_URL to use the embedded one.",
        )
    try:
        binaries = find_binaries(patient.settings.pg_bindir)
    except ServerError:
        return ok("version", f"PostgreSQL {major}.{minor}.")
    if patient.embedded and (major, minor) != binaries.version:
        packaged = ".".join(map(str, binaries.version))
        fix = "Run `viral server stop`, then `viral up`."
        if major != binaries.major:
            fix = "Run `viral server upgrade`."
        return warning("version", f"The server runs {major}.{minor}; installed is {packaged}.", fix)
    if not patient.embedded and binaries.major < major:
        return warning(
            "version",
            f"The server is PostgreSQL {major}, the programs here are {binaries.major}: pg_dump"
            " refuses a newer server.",
            f"Install PostgreSQL {major}'s programs and set VIRAL_PG_BINDIR.",
        )
    return ok("version", f"PostgreSQL {major}.{minor}.")


def is_near(host: str) -> bool:
    """Tell whether a host is this machine."""
    if host == "localhost" or host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def look_at_pooler(patient: Patient) -> list[Finding]:
    """Ask through the pooler, where there is one."""
    assert patient.app is not None
    if not patient.app.is_pooled:
        return ok("pooler", "DATABASE_URL leads to the server itself.")
    try:
        async with looking_into(replace(patient.app, is_pooled=True)) as connection:
            await connection.fetchval("SELECT 1")
    except ServerError as refused:
        fix = "Run `viral pooler start`." if patient.embedded else refused.hint
        return error("pooler", refused.message, fix)
    return ok("pooler", f"The pooler at {patient.app.host}:{patient.app.port} passes on.")


CHECKS = (
    Check("programs", look_at_programs, ("settings",)),
    Check("urls", look_at_urls, ("settings", "urls")),
    Check("server", look_at_server, ("settings", "urls")),
    Check("version", look_at_version, ("server", "settings")),
    Check("tls", look_at_tls, ("server",)),
    Check("clock", look_at_clock, ("server",)),
    Check("connections", look_at_connections, ("server",)),
    Check("transactions", look_at_transactions, ("server",)),
    Check("pooler", look_at_pooler, ("urls",)),
)
