"""Branches on this machine: databases of one server, or servers of their own.

A branch of the present is a copy of the database in the same server (kind `database`). A branch of
the past is a restored server with its own folder and port (kind `cluster`). One command at a time
works on them; what a killed one left is cleaned up by the next.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from fcntl import LOCK_EX, LOCK_NB, flock
from typing import TYPE_CHECKING, Protocol

from viral.database.urls import parse_url
from viral.errors import BadInput, BranchRefused, NotFound, RestoreRefused, ViralError
from viral.postgres.binaries import find_binaries
from viral.postgres.bootstrap import bootstrap
from viral.postgres.branches.clone import (
    administering,
    clone_database,
    copy_schema,
    drop_database,
    end_left_overs,
    furnish,
    let_in,
)
from viral.postgres.branches.jobs import cancel_copied_jobs
from viral.postgres.branches.provider import check_name, kept_name, refuse_deletion
from viral.postgres.branches.registry import MAIN_ID, Held, Registry, new_branch, no_branch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime
    from pathlib import Path

    from viral.database.urls import ServerUrl
    from viral.postgres.backup.restore import Restored
    from viral.postgres.branches.provider import Advance, Branch
    from viral.postgres.branches.servers import Servers
    from viral.postgres.pooler import Pooler

WORK_WAIT_S = 30.0
WORK_POLL_S = 0.1
_IS_THERE = "SELECT true FROM pg_database WHERE datname = $1"
_OTHERS = """
SELECT datname FROM pg_database
WHERE datname <> ALL (ARRAY['postgres', 'template0', 'template1', $1])
"""


class Rewind(Protocol):
    """Restores the main server as it was into a folder; the restored server runs afterwards."""

    async def __call__(
        self,
        *,
        home: Path,
        at: datetime | None,
        backup_id: str | None = None,
        advance: Advance,
    ) -> Restored:
        """Raise RestoreRefused where no backup reaches the moment."""
        ...


class LocalBranches:
    """Keeps the branches of one VIRAL_HOME."""

    def __init__(
        self,
        servers: Servers,
        *,
        clock: Callable[[], datetime],
        rewind: Rewind,
        pooler: Pooler,
    ) -> None:
        self.registry = Registry(servers.main_home)
        self._servers = servers
        self._clock = clock
        self._rewind = rewind
        self._pooler = pooler

    async def create(
        self,
        name: str,
        *,
        parent: str | None,
        at: datetime | None,
        schema_only: bool,
        expires_at: datetime | None,
        protected: bool,
        advance: Advance,
    ) -> Branch:
        """Copy the parent's database, or its schema; with `at` restore the server as it was."""
        check_name(name)
        if at is not None and schema_only:
            raise BadInput(
                "A branch of the past takes its rows along.", hint="Leave out --schema-only."
            )
        async with self._work():
            source = self._ready(parent or MAIN_ID)
            branch = replace(
                new_branch(name, parent_id=source.id, kind="database" if at is None else "cluster"),
                expires_at=expires_at,
                is_protected=protected,
                parent_at=at,
            )
            if at is not None:
                branch = replace(branch, database=self._database_at(source, at))
                return await self._make_restored(branch, at, advance)
            branch = replace(branch, home=source.home)
            async with self._making(branch):
                await self._copy(source, branch, schema_only=schema_only, advance=advance)
            return self.registry.get(branch.id)

    async def fill(self, name: str, fill: Callable[[ServerUrl, str], Awaitable[object]]) -> Branch:
        """Make a branch whose database `fill` makes, given the server's admin and its name."""
        check_name(name)
        async with self._work():
            branch = new_branch(name, parent_id=MAIN_ID, kind="database")
            async with self._making(branch), self._servers.running(None) as admin:
                await fill(admin, branch.database)
            return self.registry.get(branch.id)

    async def bring_back(
        self, name: str, *, at: datetime | None, backup_id: str | None, advance: Advance
    ) -> Restored:
        """Make a branch of the whole main server, as it was at a moment, in a backup, or just now.

        It is in the list from the beginning: whatever becomes of this process, nothing stays that
        nobody knows of.
        """
        check_name(name)
        async with self._work():
            draft = new_branch(name, parent_id=MAIN_ID, kind="cluster")
            home = self.registry.home_of(draft)
            branch = replace(draft, home=home, parent_at=at)
            async with self._making(branch):
                restored = await self._rewind(
                    home=home, at=at, backup_id=backup_id, advance=advance
                )
            reached = at or restored.recovered_to or restored.backup.stopped_at
            with self.registry.change() as contents:
                made = contents.find(branch.id)
                assert made is not None, "this is the only command at work"
                contents.put(replace(made, parent_at=reached))
            return restored

    async def list(self) -> list[Branch]:
        """List all branches; sizes are those of servers that run."""
        await self.repair()
        branches = self.registry.read().all
        sizes = {home: await self._servers.sizes(home) for home in {each.home for each in branches}}
        return [replace(each, size_bytes=sizes[each.home].get(each.database)) for each in branches]

    async def get(self, name_or_id: str) -> Branch:
        """Find a branch, or raise NotFound."""
        return self.registry.get(name_or_id)

    async def delete(self, branch: Branch, *, expired_at: datetime | None = None) -> None:
        """Drop the database, or stop the server and remove its folder.

        It is judged and deleted as it is then. With `expired_at` only a branch whose time is over
        at that moment is deleted, else BranchRefused.
        """
        async with self._work():
            with self.registry.change() as contents:
                found = contents.find(branch.id)
                if found is None and branch.state != "ready":
                    # The clean-up took the rest of it.
                    return
                if found is None:
                    raise no_branch(branch.name)
                refuse_deletion(found, contents.all)
                if contents.current_id == found.id:
                    raise BranchRefused(
                        f"{found.name} is checked out.",
                        hint="Run `viral branch checkout main` first.",
                    )
                if expired_at is not None and not found.is_expired(expired_at):
                    raise BranchRefused(f"The time of {found.name} is not over.")
                contents.put(replace(found, state="deleting"))
            await self._discard(found)

    async def restore(self, branch: Branch, at: datetime, *, advance: Advance) -> Branch:
        """Give a branch a restored server; who keeps the former state gets its children too.

        The moment is one of the branch itself, or of its parent where it is before the branch.
        """
        if branch.is_default:
            raise BranchRefused(
                f"{branch.name} is the server itself.",
                hint="Make a branch of that moment, `viral branch create NAME --at TIME`, or put"
                " the server back: `viral backup restore --at TIME --in-place`.",
            )
        if branch.is_protected:
            raise BranchRefused(
                f"{branch.name} is protected.", hint=f"Run `viral branch unprotect {branch.name}`."
            )
        async with self._work():
            branch = self._ready(branch.id)
            # Under a name of its own until it is whole: until then nothing is changed.
            attempt = replace(
                new_branch(f"restoring-{secrets.token_hex(4)}", parent_id=MAIN_ID, kind="cluster"),
                database=self._database_at(branch, at),
            )
            made = await self._make_restored(attempt, at, advance)
            former = kept_name(branch.name, self._clock())
            with self.registry.change() as contents:
                return contents.replace_by(branch, replace(made, parent_at=at), former=former)

    async def connection_string(self, branch: Branch, *, pooled: bool, password: bool) -> str:
        """Give the app's address; the server of a branch of its own is started for it."""
        server = self._servers.at(branch.home)
        if branch.home is not None:
            if pooled:
                raise BranchRefused(
                    f"{branch.name} has a server of its own, and no pooler before it.",
                    hint="Leave out --pooled.",
                )
            await server.start()
            # The passwords may have changed since it was made.
            admin = self._servers.admin(branch.home)
            await bootstrap(admin.for_database(branch.database), self._servers.main.secrets)
        url = parse_url(server.url("viral_app", branch.database))
        if pooled:
            url = self._pooler.url.for_database(branch.database)
        return url.setting(password=password)

    def running(self, branch: Branch) -> AbstractAsyncContextManager[ServerUrl]:
        """Have a branch's server for the length of a block."""
        return self._servers.running(branch.home)

    async def protect(self, branch: Branch, *, is_protected: bool) -> Branch:
        """Protect a branch, or no longer; the default branch always is."""
        if branch.is_default:
            raise BranchRefused(f"{branch.name} is the default branch: it is always protected.")
        with self.registry.change() as contents:
            changed = replace(self._ready(branch.id), is_protected=is_protected)
            contents.put(changed)
        return changed

    async def check_out(self, branch: Branch) -> None:
        """Make the commands of this installation use a branch."""
        async with self._work():
            branch = self._ready(branch.id)
            self.registry.check_out(branch)

    async def repair(self) -> None:
        """Clean up after a killed command, unless one is at work."""
        contents = self.registry.read()
        if contents.held or any(each.state != "ready" for each in contents.branches):
            with suppress(BranchRefused):
                async with self._work(wait_s=0):
                    pass

    async def settle(self, branch: Branch) -> None:
        """Clean up after a killed command; raise BranchRefused if a branch lost its database."""
        await self.repair()
        if branch.is_default:
            return
        async with administering(self._servers.admin(branch.home)) as server:
            if not await server.fetchval(_IS_THERE, branch.database):
                raise BranchRefused(
                    f"The database {branch.database} of the branch {branch.name} is gone.",
                    hint="Go back with `viral branch checkout main`.",
                )

    @asynccontextmanager
    async def _work(self, *, wait_s: float = WORK_WAIT_S) -> AsyncIterator[None]:
        """Be the only command that works on branches; clean up after a killed one first."""
        self._servers.main_home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = self._servers.main_home / "branches.work.lock"
        deadline = asyncio.get_running_loop().time() + wait_s
        # os.open sets close-on-exec: a server started meanwhile does not keep the lock.
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            while not _obtained(descriptor):
                if asyncio.get_running_loop().time() >= deadline:
                    raise BranchRefused(
                        "Another command is at work on the branches.",
                        hint="Wait until it ends and try again.",
                    )
                await asyncio.sleep(WORK_POLL_S)
            await self._clean_up()
            yield
        finally:
            os.close(descriptor)

    async def _clean_up(self) -> None:
        """Let in whom a killed command holds off, and remove what is half made or half deleted."""
        contents = self.registry.read()
        for held in contents.held:
            if not self._servers.is_there(held.home):
                with self.registry.change() as contents:
                    contents.held.remove(held)
                continue
            async with self._servers.running(held.home) as admin:
                await let_in(admin, self.registry, self._pooler_before(held.home), held)
        for branch in contents.branches:
            if branch.state != "ready":
                await self._discard(branch)

    @asynccontextmanager
    async def _making(self, branch: Branch) -> AsyncIterator[None]:
        """Enter a branch that the block makes; it is ready after it, without open jobs, or gone."""
        with self.registry.change() as contents:
            contents.add(branch)
        try:
            yield
            async with self._servers.running(branch.home) as admin:
                await cancel_copied_jobs(admin, branch.database)
        except BaseException:
            # What cannot be removed at the moment, the next command removes.
            with suppress(ViralError):
                await self._discard(branch)
            raise
        with self.registry.change() as contents:
            contents.put(replace(branch, state="ready", created_at=self._clock()))

    async def _copy(
        self, source: Branch, branch: Branch, *, schema_only: bool, advance: Advance
    ) -> None:
        async with self._servers.running(source.home) as admin:
            if schema_only:
                advance(f"Copying the schema of {source.name}", 0, None)
                binaries = await asyncio.to_thread(find_binaries, self._servers.main.bindir)
                await copy_schema(admin, binaries, source=source.database, target=branch.database)
                return
            advance(f"Copying {source.name}", 0, None)
            held = Held(source.database, source.home)
            pooler = self._pooler_before(source.home)
            await clone_database(admin, self.registry, pooler, source=held, target=branch.database)

    def _pooler_before(self, home: Path | None) -> Pooler | None:
        return self._pooler if home is None else None

    async def _make_restored(self, branch: Branch, at: datetime, advance: Advance) -> Branch:
        """Restore the main server as it was, and keep the one database of it that is wanted."""
        home = self.registry.home_of(branch)
        branch = replace(branch, home=home)
        async with self._making(branch):
            await self._rewind(home=home, at=at, advance=advance)
            async with self._servers.running(home) as admin:
                async with administering(admin) as server:
                    if not await server.fetchval(_IS_THERE, branch.database):
                        raise RestoreRefused(
                            f"There was no database {branch.database} at {at.isoformat()}.",
                            hint="Choose a later moment.",
                        )
                    others = [name for (name,) in await server.fetch(_OTHERS, branch.database)]
                for name in others:
                    await drop_database(admin, name)
                await furnish(admin, branch.database)
        return self.registry.get(branch.id)

    def _database_at(self, branch: Branch, at: datetime) -> str:
        """Name the database of the main server that held a branch at a moment."""
        if branch.created_at is None or branch.created_at <= at:
            if branch.home is not None:
                raise RestoreRefused(
                    f"The past of {branch.name} is not kept: only the main server is archived.",
                    hint=f"Choose a moment before {branch.name} was made, or another branch.",
                )
            return branch.database
        parent = self.registry.read().find(branch.parent_id or "")
        if parent is None:
            raise RestoreRefused(f"{branch.name} was not there at {at.isoformat()}.")
        return self._database_at(parent, at)

    async def _discard(self, branch: Branch) -> None:
        """Remove what is left of a branch, and the branch itself from the list."""
        if branch.kind == "cluster" and branch.home is not None:
            await self._servers.remove(branch.home)
        elif self._servers.is_there(branch.home):
            async with self._servers.running(branch.home) as admin:
                await end_left_overs(admin)
                await drop_database(admin, branch.database)
        with self.registry.change() as contents:
            contents.remove(branch)

    def _ready(self, name_or_id: str) -> Branch:
        branch = self.registry.get(name_or_id)
        if branch.state != "ready":
            raise BranchRefused(
                f"{branch.name} is not whole.", hint=f"Run `viral branch delete {branch.name}`."
            )
        return branch


async def delete_expired(branches: LocalBranches, *, now: datetime) -> list[Branch]:
    """Delete the branches whose time is over; what may not be deleted stays in the list."""
    deleted: list[Branch] = []
    await branches.repair()
    # Youngest first: a child is younger than its parent.
    for branch in reversed(branches.registry.read().branches):
        if branch.is_expired(now):
            with suppress(BranchRefused, NotFound):
                await branches.delete(branch, expired_at=now)
                deleted.append(branch)
    return deleted


def _obtained(descriptor: int) -> bool:
    with suppress(BlockingIOError):
        flock(descriptor, LOCK_EX | LOCK_NB)
        return True
    return False
