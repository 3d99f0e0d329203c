"""Prepare a server for the product: roles, their passwords, the database, its privileges."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import TYPE_CHECKING

import asyncpg

from viral.database.driver import driver_connection
from viral.database.foundation import database_script, quoted, schema_script
from viral.errors import ServerRefused
from viral.postgres.installation import locked_file
from viral.schema.security import LOGINS, OWNERS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from viral.database.secrets import Secrets
    from viral.database.urls import ServerUrl

MAINTENANCE = {"postgres", "template1", "defaultdb"}
DATABASE = "viral"

# Locks between sessions, messages and large objects pass over row security.
_WITHHELD = """
SELECT p.oid::regprocedure::text FROM pg_catalog.pg_proc AS p
WHERE p.pronamespace = 'pg_catalog'::regnamespace
  AND (p.proname ~ '^pg_(try_)?advisory_' OR p.proname IN ('pg_notify', 'loread', 'lowrite')
       OR p.proname ~ '^lo_')
  AND has_function_privilege('public', p.oid, 'EXECUTE')
"""
_LOCKS_FOR = "viral_auth, viral_migrator"
_FIRST_WITH_SET_OPTION = 16
_STORED = "SELECT rolname, rolpassword FROM pg_catalog.pg_authid"
_VERIFIER = re.compile(r"SCRAM-SHA-256\$(?P<iterations>\d+):(?P<salt>[^$]+)\$.+")


def scram_verifier(password: str, *, salt: bytes | None = None, iterations: int = 4096) -> str:
    """Compute what PostgreSQL stores of a password (RFC 5803), so that no statement holds it."""
    salt = salt or os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    encoded = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${iterations}:{encoded[0]}${encoded[1]}:{encoded[2]}"


def is_verifier_of(verifier: str | None, password: str) -> bool:
    """Tell whether what PostgreSQL has stored is of this password."""
    stored = _VERIFIER.fullmatch(verifier or "")
    if stored is None:
        return False
    salt = base64.b64decode(stored["salt"])
    expected = scram_verifier(password, salt=salt, iterations=int(stored["iterations"]))
    return hmac.compare_digest(expected, stored[0])


async def bootstrap(admin: ServerUrl, secrets: Secrets) -> tuple[str, list[str]]:
    """Make the roles and the database ready; return its name and what could not be done.

    `admin` may be a superuser or a role with CREATEROLE and CREATEDB. It can run again at any
    time: passwords are set to those of this installation.
    """
    warnings: list[str] = []
    name = DATABASE if admin.database in MAINTENANCE else admin.database
    async with admin_connection(admin) as server:
        # A change of the passwords that is under way ends first.
        async with locked_file(secrets.roles_lock):
            await _make_roles(server, secrets, warnings, is_encrypted=admin.is_encrypted)
        if not await server.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
            await server.execute(f"CREATE DATABASE {quoted(name)} OWNER viral_owner")
    async with admin_connection(admin.for_database(name)) as database:
        await prepare_database(database, warnings)
    return name, warnings


async def prepare_database(connection: asyncpg.Connection, warnings: list[str]) -> None:
    """Set the privileges inside one database; the roles are there already."""
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(database_script(name))
    await connection.execute(schema_script())
    await connection.execute((files("viral.postgres") / "bootstrap.sql").read_text("utf-8"))
    for (function,) in await connection.fetch(_WITHHELD):
        await connection.execute(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")
        if "advisory" in function:
            await connection.execute(f"GRANT EXECUTE ON FUNCTION {function} TO {_LOCKS_FOR}")
    if await connection.fetchval(
        "SELECT has_function_privilege('viral_app', 'pg_advisory_lock(bigint)', 'EXECUTE')"
    ):
        warnings.append(
            "PUBLIC keeps advisory locks, pg_notify and large objects: only a superuser can"
            " withhold them."
        )


async def _make_roles(
    server: asyncpg.Connection, secrets: Secrets, warnings: list[str], *, is_encrypted: bool
) -> None:
    known = {name for (name,) in await server.fetch("SELECT rolname FROM pg_roles")}
    for role in OWNERS:
        if role not in known:
            await server.execute(f"CREATE ROLE {role} NOLOGIN")
    is_superuser = await server.fetchval(
        "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
    )
    version = server.get_server_version()
    if not is_superuser:
        # Since PostgreSQL 16 who makes a role may not act as it unless told so.
        option = " WITH SET TRUE, INHERIT TRUE" if version.major >= _FIRST_WITH_SET_OPTION else ""
        await server.execute(f"GRANT {', '.join(OWNERS)} TO CURRENT_USER{option}")
    rows = await server.fetch(_STORED) if is_superuser else []
    stored = {row["rolname"]: row["rolpassword"] for row in rows}
    for role in LOGINS:
        verb = "ALTER" if role in known else "CREATE"
        inherit = "NOINHERIT" if role == "viral_migrator" else "INHERIT"
        statement, password = f"{verb} ROLE {role} LOGIN {inherit}", secrets.password(role)
        if is_verifier_of(stored.get(role), password):
            # A new salt would lock out a pooler, which logs in by its copy of the verifier.
            await server.execute(statement)
        else:
            await set_password(server, statement, password, is_encrypted=is_encrypted)
    await server.execute(f"GRANT {', '.join(OWNERS)} TO viral_migrator")
    await _give_rights(server, warnings)


async def _give_rights(server: asyncpg.Connection, warnings: list[str]) -> None:
    """Give the roles what a managed server may refuse."""
    await _try(
        server,
        "ALTER ROLE viral_migrator CREATEDB",
        warnings,
        "viral_migrator gets no CREATEDB here: drift is not seen, and migrations are drafted"
        " elsewhere.",
    )
    await _try(
        server,
        "ALTER ROLE viral_readonly SET track_activities = off",
        warnings,
        "Statements of viral_readonly stay visible to its other sessions.",
    )
    await _try(
        server,
        "ALTER ROLE viral_app SET track_activities = off",
        warnings,
        "Statements of the app stay visible to the administrator, so the tenant context is sent"
        " as a parameter: one more round trip.",
    )
    await _try(
        server,
        "ALTER ROLE viral_backup REPLICATION BYPASSRLS",
        warnings,
        "viral_backup gets neither REPLICATION nor BYPASSRLS here: logical backups only.",
    )
    await _try(
        server,
        "GRANT pg_read_all_data TO viral_backup",
        warnings,
        "viral_backup cannot read all tables: the administrator has to grant pg_read_all_data.",
    )


async def set_password(
    connection: asyncpg.Connection, statement: str, password: str, *, is_encrypted: bool
) -> None:
    """Run a statement about a role with a password of ours, whose letters need no quoting.

    Neon answers that it wants the password itself: it gets it where the connection is encrypted.
    """
    try:
        async with connection.transaction():
            await connection.execute(f"{statement} PASSWORD '{scram_verifier(password)}'")
    except asyncpg.PostgresError as error:
        if "plaintext" not in str(error) or not is_encrypted:
            raise
        await connection.execute(f"{statement} PASSWORD '{password}'")


async def _try(
    server: asyncpg.Connection, statement: str, warnings: list[str], otherwise: str
) -> None:
    try:
        await server.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        warnings.append(otherwise)


@asynccontextmanager
async def admin_connection(url: ServerUrl) -> AsyncIterator[asyncpg.Connection]:
    """Connect as who may make roles; say so where it may not."""
    async with driver_connection(url) as connection:
        try:
            yield connection
        except asyncpg.InsufficientPrivilegeError as error:
            raise ServerRefused(
                f"{url.user} may not prepare the server: {error}.",
                hint="Use a role with CREATEROLE and CREATEDB, or a superuser.",
            ) from error
