"""The servers that the settings name: where they are, their branches, backups, pooler, replica."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from viral.adapters.neon import api as neon_api
from viral.adapters.neon.branches import NeonBranches
from viral.adapters.object_store import ObjectStore
from viral.database.context_keys import renew_tokens
from viral.database.encryption.keys import KeyFile, KeyRing, parse_keys
from viral.database.faults import DRIVER_ERRORS
from viral.database.foundation import quoted
from viral.database.secrets import Secrets
from viral.database.urls import ServerUrl, parse_url
from viral.errors import BackupError, BadSetting, ViralError
from viral.features.erasure import apply_tombstones
from viral.postgres.backup.catalogue import list_backups
from viral.postgres.backup.claim import IN_PLACE, claimed, until_free
from viral.postgres.backup.in_place import SetBack, take_over
from viral.postgres.backup.physical import create_backup
from viral.postgres.backup.restore import remove_server, restore_cluster
from viral.postgres.backup.target import LocalFolder
from viral.postgres.backup.wal import ship, switch
from viral.postgres.bootstrap import admin_connection, bootstrap
from viral.postgres.branches.local import LocalBranches, delete_expired
from viral.postgres.branches.registry import MAIN, Registry
from viral.postgres.branches.servers import Servers
from viral.postgres.installation import load_or_create_installation
from viral.postgres.pooler import Pooler, leads_to_pooler
from viral.postgres.role_passwords import settle_role_passwords
from viral.postgres.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from viral.postgres.backup.catalogue import Backup, Catalogue
    from viral.postgres.backup.restore import Restored
    from viral.postgres.backup.target import Target
    from viral.postgres.branches.provider import Advance, Branch, BranchProvider
    from viral.settings import Settings


# The worker's backup of the former data ends with them.
BACKUPS_FREE_WITHIN_S = 60.0
_DATABASES = """
SELECT datname, datallowconn FROM pg_database
WHERE NOT datistemplate AND datname <> 'postgres'
"""


@dataclass(frozen=True, slots=True)
class Urls:
    """Where the database is: for the app, and without a pooler for everything else."""

    app: ServerUrl
    direct: ServerUrl

    def for_role(self, role: str, secrets: Secrets) -> ServerUrl:
        """Return the direct address as a role of ours."""
        return self.direct.for_role(role, secrets.password(role))

    @property
    def app_itself(self) -> ServerUrl:
        """The app's role on the server, past a pooler."""
        return self.direct.for_role(self.app.user, self.app.password)


def is_embedded(settings: Settings) -> bool:
    """Tell whether the server is ours to start and stop; our own pooler may stand before it."""
    return settings.database_url is None or leads_to_pooler(
        parse_url(settings.database_url), settings.home
    )


def field_keys(settings: Settings) -> KeyRing:
    """Return the keys of encrypted fields; in production none is made up."""
    if settings.field_keys is not None:
        return parse_keys(settings.field_keys.get_secret_value())
    return KeyFile.load_or_create(settings.home, may_create=settings.environment != "production")


def main_server(settings: Settings) -> Server:
    """Return the embedded server of the installation, which is archived and backed up."""
    return Server(
        home=settings.home,
        secrets=Secrets.load_or_create(settings.home),
        bindir=settings.pg_bindir,
        port=settings.pg_port,
        archives=settings.archive,
    )


def embedded_server(settings: Settings) -> Server:
    """Return the embedded server of the branch that is checked out."""
    return Servers(main_server(settings)).at(checked_out(settings).home)


def checked_out(settings: Settings) -> Branch:
    """Return the branch that commands work on; raise BranchRefused if it is gone."""
    # A pooler of ours in DATABASE_URL stands before the database that it names.
    return Registry(settings.home).current() if settings.database_url is None else MAIN


def branch_name(settings: Settings) -> str | None:
    """Name the branch that is checked out; a server elsewhere has none that we know of."""
    if settings.database_url is not None:
        return None
    contents = Registry(settings.home).read()
    branch = contents.find(contents.current_id)
    return "gone: viral branch checkout main" if branch is None else branch.name


def local_branches(settings: Settings) -> LocalBranches:
    """Return what keeps the branches of the embedded server."""
    return LocalBranches(
        Servers(main_server(settings)),
        clock=lambda: datetime.now(UTC),
        rewind=partial(restore_copy, settings),
        pooler=pooler_of(settings),
    )


def branch_provider(settings: Settings) -> BranchProvider:
    """Return what keeps the branches: Neon where it has a key, else this machine."""
    if settings.neon_api_key:
        return neon_branches(settings)
    if is_embedded(settings):
        return local_branches(settings)
    raise BadSetting(
        "DATABASE_URL is set: that server's branches are not ours to make.",
        hint="At Neon: set NEON_API_KEY and NEON_PROJECT_ID. Else unset DATABASE_URL.",
    )


def neon_branches(settings: Settings) -> NeonBranches:
    """Return what keeps the branches of the project at Neon."""
    key = settings.neon_api_key
    api = partial(
        neon_api.opened,
        settings.neon_api_url,
        api_key=key.get_secret_value() if key else "",
        project_id=settings.neon_project_id or "",
    )
    return NeonBranches(api, clock=lambda: datetime.now(UTC))


async def delete_expired_branches(settings: Settings) -> list[Branch]:
    """Delete the local branches whose time is over."""
    if not is_embedded(settings):
        return []
    return await delete_expired(local_branches(settings), now=datetime.now(UTC))


async def restore_copy(
    settings: Settings,
    *,
    home: Path,
    at: datetime | None = None,
    backup_id: str | None = None,
    advance: Advance,
) -> Restored:
    """Restore the main server, as it was at a moment or in a backup, into a folder of its own."""
    return await restore_cluster(
        main_server(settings),
        backup_target(settings),
        field_keys(settings),
        home=home,
        at=at,
        backup_id=backup_id,
        prepare=partial(prepare_restored, settings),
        advance=advance,
    )


async def restore_in_place(
    settings: Settings,
    *,
    at: datetime | None = None,
    backup_id: str | None = None,
    advance: Advance,
) -> SetBack:
    """Set the main server back, also one whose data were lost; only one at a time does so.

    Until the copy is whole nothing is changed. `viral up` waits meanwhile and starts what it finds.
    """
    server, home = main_server(settings), settings.home / "restoring"
    with claimed(settings.home, "viral backup restore --in-place", file_name=IN_PLACE):
        # One that was stopped half-way left it.
        await remove_server(Server(home=home, secrets=server.secrets))
        restored = await restore_copy(
            settings, home=home, at=at, backup_id=backup_id, advance=advance
        )
        kept = await take_over(server, restored)
        await server.start()
        await prepare_restored(settings, server)
        try:
            return SetBack(kept, await _back_up_anew(settings, server, advance=advance))
        except (ViralError, *DRIVER_ERRORS) as error:
            # Nobody is to restore again for that.
            return SetBack(kept, None, problem=str(error))


async def _back_up_anew(settings: Settings, server: Server, *, advance: Advance) -> Backup:
    """Make the backup that moments after a restore in place need."""
    target, ring = backup_target(settings), field_keys(settings)
    # The archive has to know of the timeline that begins here.
    await switch(server)
    await ship(server, target, ring)
    await until_free(settings.home, "viral backup restore", timeout_s=BACKUPS_FREE_WITHIN_S)
    return await create_backup(server, target, ring, kind="full", advance=advance)


async def prepare_restored(settings: Settings, server: Server) -> None:
    """Give a restored server today's roles, passwords and tokens, and take out who was erased."""
    admin = server.socket_url("viral_admin")
    names = []
    async with admin_connection(admin) as connection:
        for name, lets_in in await connection.fetch(_DATABASES):
            names.append(name)
            if not lets_in:
                # At that moment a branch was made of it.
                await connection.execute(f"ALTER DATABASE {quoted(name)} ALLOW_CONNECTIONS true")
    await bootstrap(admin, server.secrets)
    for name in names:
        migrator = server.socket_url("viral_migrator", name)
        if await renew_tokens(migrator, server.secrets) is not None:
            await apply_tombstones(migrator, settings.home)


def local_replica(settings: Settings) -> Server:
    """Return the replica of the embedded server that `viral replica start` makes."""
    return Server(
        home=settings.home / "replica",
        secrets=Secrets.load_or_create(settings.home),
        bindir=settings.pg_bindir,
    )


def urls_of(settings: Settings) -> Urls:
    """Return the addresses: from the settings, or of the embedded server once it was started."""
    if settings.database_url is None:
        if settings.direct_url is not None:
            raise BadSetting(
                "DIRECT_URL is set, but DATABASE_URL is not.",
                hint="Set both, or none for the embedded server.",
            )
        server, database = embedded_server(settings), checked_out(settings).database
        return Urls(
            parse_url(server.url("viral_app", database)),
            parse_url(server.url("viral_migrator", database)),
        )
    app = parse_url(settings.database_url)
    if settings.direct_url is not None:
        direct = parse_url(settings.direct_url, name="DIRECT_URL")
    elif app.is_pooled:
        raise BadSetting(
            "DATABASE_URL leads to a pooler, and DIRECT_URL is not set: migrations and locks need"
            " a connection of their own.",
            hint="Set DIRECT_URL to the same database past the pooler, as viral_migrator.",
        )
    else:
        direct = app
    if direct.is_pooled:
        raise BadSetting(
            f"DIRECT_URL leads to a pooler: {direct.host}:{direct.port}.",
            hint="Set it to the database's own address. If it is that, add ?pgbouncer=false.",
        )
    return Urls(app, direct)


def migrator_url(settings: Settings, secrets: Secrets) -> ServerUrl:
    """Return the address for migrations: DIRECT_URL's own role where it is the migrator's."""
    urls = urls_of(settings)
    if urls.direct.user == "viral_migrator" and not secrets.login(
        "viral_migrator", urls.direct.password
    ):
        return urls.direct
    return urls.for_role("viral_migrator", secrets)


def backup_target(settings: Settings) -> Target:
    """Return where backups go: backups/ in VIRAL_HOME, or what VIRAL_BACKUP_URL names."""
    url = settings.backup_url
    if url is None:
        return LocalFolder(settings.home / "backups")
    if "://" in url:
        return ObjectStore(url)
    folder = Path(url).expanduser()
    if not folder.is_absolute():
        raise BadSetting(
            f"VIRAL_BACKUP_URL is {url}, and from where is not said.",
            hint="Give the whole path of a folder, or s3://bucket/prefix.",
        )
    return LocalFolder(folder)


async def backup_catalogue(settings: Settings) -> Catalogue:
    """List the backups of the installation, whichever server they are of."""
    installation = load_or_create_installation(settings.home)
    return await list_backups(backup_target(settings), installation.id, field_keys(settings))


@asynccontextmanager
async def running_main_server(settings: Settings) -> AsyncIterator[Server]:
    """Have the installation's own server for the length of the block, whatever is checked out."""
    if not is_embedded(settings):
        raise BackupError(
            "DATABASE_URL is set: the files of that server are not ours to copy.",
            hint="Make a logical backup: `viral backup create --logical`.",
        )
    server = main_server(settings)
    _ = server.installation
    async with server.used():
        if not await server.is_answering():
            await server.start(stays=False)
        yield server


@asynccontextmanager
async def running_server(settings: Settings) -> AsyncIterator[None]:
    """Have a server for the block; one that was started for it is stopped by its last user."""
    if not is_embedded(settings):
        await _settle_passwords(settings)
        yield
        return
    server = embedded_server(settings)
    async with server.used():
        if await server.is_answering():
            await local_branches(settings).settle(checked_out(settings))
        else:
            await prepare_server(settings, stays=False)
        await _settle_passwords(settings)
        yield


async def _settle_passwords(settings: Settings) -> None:
    secrets = Secrets.load_or_create(settings.home)
    if secrets.roles.coming is not None:
        await settle_role_passwords(urls_of(settings).direct, secrets, now=datetime.now(UTC))


async def prepare_server(settings: Settings, *, stays: bool = True) -> list[str]:
    """Start the embedded server with its roles and database; what could not be done."""
    server, branch = embedded_server(settings), checked_out(settings)
    await server.start(stays=stays)
    await local_branches(settings).settle(checked_out(settings))
    database = "postgres" if branch.is_default else branch.database
    _, warnings = await bootstrap(server.socket_url("viral_admin", database), server.secrets)
    if settings.database_url is not None:
        await pooler_of(settings).start()
    elif branch.home is None:
        # It has just been told the passwords again, with another salt.
        await pooler_of(settings).refresh_users()
    return warnings


def pooler_of(settings: Settings) -> Pooler:
    """Return the pooler before the installation's own server."""
    return Pooler(main_server(settings), port=settings.pooler_port)


async def start_pooler(settings: Settings) -> tuple[Pooler, list[str]]:
    """Start the pooler, and its server first; also what could not be done there."""
    if not is_embedded(settings):
        raise BadSetting(
            "DATABASE_URL is set: that server is not ours to put a pooler before.",
            hint="Unset it to use the embedded server.",
        )
    server, pooler = main_server(settings), pooler_of(settings)
    await server.start()
    _, warnings = await bootstrap(server.socket_url("viral_admin"), server.secrets)
    await pooler.start()
    return pooler, warnings
