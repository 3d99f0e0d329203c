"""What `viral backup create --logical` and `viral backup restore --logical` do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from viral.cli.output import err, progress_bar
from viral.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from viral.database.urls import ServerUrl
    from viral.postgres.backup.catalogue import Backup
    from viral.postgres.branches.local import LocalBranches
    from viral.settings import Settings


async def create() -> tuple[Backup, str]:
    """Copy the database in use, wherever it is; return the backup and its place."""
    from viral.database.secrets import Secrets
    from viral.postgres.backup.logical import create_logical
    from viral.postgres.installation import load_or_create_installation
    from viral.servers import backup_target, field_keys, running_server, urls_of

    settings = load_settings()
    target = backup_target(settings)
    async with running_server(settings):
        secrets = Secrets.load_or_create(settings.home)
        with progress_bar("Copying", is_bytes=True) as advance:
            backup = await create_logical(
                urls_of(settings).for_role("viral_backup", secrets),
                target,
                field_keys(settings),
                home=settings.home,
                installation_id=load_or_create_installation(settings.home).id,
                bindir=settings.pg_bindir,
                advance=advance,
            )
    return backup, target.location


async def restore(source: str, into: str, admin_url: str | None) -> str:
    """Put a logical backup or a restore point into a new database; return its name.

    On this machine that is a branch of the name `into`. On a server elsewhere it takes the address
    of somebody who may make databases.
    """
    from viral.database.urls import parse_url
    from viral.errors import BadInput
    from viral.servers import is_embedded, local_branches

    settings = load_settings()
    if admin_url is not None:
        await _fill(settings, source, parse_url(admin_url, name="--admin-url"), into)
        return into
    if not is_embedded(settings):
        raise BadInput(
            "DATABASE_URL names a server that is not ours: who may make a database there?",
            hint="Add --admin-url postgresql://admin:password@host/postgres.",
        )
    return await _into_branch(settings, source, local_branches(settings), into)


async def _into_branch(settings: Settings, source: str, branches: LocalBranches, name: str) -> str:
    async def fill(admin: ServerUrl, database: str) -> None:
        await _fill(settings, source, admin, database)

    return (await branches.fill(name, fill)).database


async def _fill(settings: Settings, source: str, admin: ServerUrl, database: str) -> None:
    """Make the database; give its tenants today's tokens, and take out who was erased since."""
    from viral.database.context_keys import renew_tokens
    from viral.database.secrets import Secrets
    from viral.features.erasure import apply_tombstones
    from viral.postgres.backup.logical import restore_logical

    secrets = Secrets.load_or_create(settings.home)
    with progress_bar("Restoring", is_bytes=True) as advance:
        warnings = await restore_logical(
            _chunks(settings, source),
            admin,
            secrets,
            database=database,
            bindir=settings.pg_bindir,
            advance=advance,
        )
    for warning in warnings:
        err.print(f"warning: {warning}", markup=False)
    role = "viral_migrator"
    migrator = admin.for_role(role, secrets.password(role)).for_database(database)
    if await renew_tokens(migrator, secrets) is not None:
        await apply_tombstones(migrator, settings.home)


def _chunks(settings: Settings, source: str) -> AsyncIterator[bytes]:
    """Open a restore point by its file, or a backup by its id."""
    from viral.postgres.backup.logical import dump_file, stored_dump
    from viral.postgres.installation import load_or_create_installation
    from viral.servers import backup_target, field_keys

    keys = field_keys(settings)
    if "/" in source or Path(source).exists():
        return dump_file(Path(source).resolve(), keys)
    installation = load_or_create_installation(settings.home)
    return stored_dump(backup_target(settings), installation.id, keys, source)
