"""New passwords for the database's roles, while programs connect all the time.

The file has the coming passwords before a server is told them, and a server takes them all or none.
So whoever is refused with the current one finds the other in the file, wherever this was killed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from viral.database.driver import driver_connection
from viral.database.faults import is_wrong_password
from viral.database.secrets import RolePasswords, new_password
from viral.errors import ServerError
from viral.postgres.bootstrap import admin_connection, set_password
from viral.postgres.installation import locked_file
from viral.schema.security import LOGINS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from viral.database.secrets import Secrets
    from viral.database.urls import ServerUrl


@dataclass(frozen=True, slots=True)
class RolesRotated:
    """What was done; `is_continued` when an earlier run had been stopped."""

    roles: tuple[str, ...]
    servers: int
    is_continued: bool


async def rotate_role_passwords(
    servers: Sequence[ServerUrl],
    secrets: Secrets,
    *,
    now: datetime,
    then: Callable[[], Awaitable[None]] | None = None,
) -> RolesRotated:
    """Give every role that logs in a new password, on all servers of the installation.

    `servers` are addresses as somebody who may change roles; `then` tells who keeps passwords of
    its own, such as a pooler. The superuser of an embedded server keeps its password: it has no way
    in but the socket, and opens every older data folder. A run that was stopped goes on with the
    passwords that it made.
    """
    async with locked_file(secrets.roles_lock):
        is_continued = secrets.roles.coming is not None
        coming = secrets.change_roles(_with_coming).coming
        assert coming is not None
        for server in servers:
            await _tell(server, coming)
        secrets.change_roles(partial(_settled, now=now))
        if then is not None:
            await then()
    return RolesRotated(tuple(coming), len(servers), is_continued)


async def settle_role_passwords(url: ServerUrl, secrets: Secrets, *, now: datetime) -> None:
    """After a rotation that was killed, put those passwords first that the server at `url` has.

    Programs that run try both; one that begins asks the file for one.
    """
    if secrets.roles.coming is None:
        return
    async with locked_file(secrets.roles_lock):
        coming = secrets.roles.coming
        if coming is None or await _takes(url.for_role("viral_app", secrets.password("viral_app"))):
            return
        if await _takes(url.for_role("viral_app", coming["viral_app"])):
            secrets.change_roles(partial(_settled, now=now))


def _with_coming(roles: RolePasswords) -> RolePasswords:
    return replace(roles, coming=roles.coming or {role: new_password() for role in LOGINS})


def _settled(roles: RolePasswords, *, now: datetime) -> RolePasswords:
    current = {**roles.current, **(roles.coming or {})}
    return RolePasswords(current, former=roles.current, changed_at=now)


async def _tell(server: ServerUrl, passwords: Mapping[str, str]) -> None:
    """Change the passwords of all roles in one transaction."""
    async with admin_connection(server) as connection, connection.transaction():
        for role, password in passwords.items():
            statement = f"ALTER ROLE {role}"
            await set_password(connection, statement, password, is_encrypted=server.is_encrypted)


async def _takes(url: ServerUrl) -> bool:
    """Tell whether the server takes the password; where that cannot be known, say that it does."""
    try:
        async with driver_connection(url):
            return True
    except ServerError as error:
        return not is_wrong_password(error)
