"""Branches at Neon: the same commands as here, carried out by its API.

A change whose answer was lost is looked up by the name it was to make, and never sent twice.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from viral.errors import (
    AlreadyExists,
    BadInput,
    BranchRefused,
    NotFound,
    RestoreRefused,
    VendorUnreachable,
)
from viral.postgres.bootstrap import DATABASE
from viral.postgres.branches.provider import Branch, check_name, kept_name, refuse_deletion

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from viral.adapters.neon.api import NeonApi, NeonBranch, NeonDatabase
    from viral.postgres.branches.provider import Advance

_UNFINISHED = frozenset({"init", "resetting"})


class NeonBranches:
    """Keeps the branches of one project at Neon; `open_api` gives its API, for a command each."""

    def __init__(
        self,
        open_api: Callable[[], AbstractAsyncContextManager[NeonApi]],
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._open = open_api
        self._clock = clock

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
        """Make a branch with a compute of its own: without one nobody could connect."""
        check_name(name)
        if at is not None and schema_only:
            raise BadInput(
                "A branch of the past takes its rows along.", hint="Leave out --schema-only."
            )
        step = f"Making {name} at Neon"
        async with self._open() as api:
            known = await api.branches()
            if any(each.name == name for each in known):
                raise AlreadyExists(
                    f"There is a branch {name} already.",
                    hint=f"Choose another name, or run `viral branch delete {name}`.",
                )
            wanted: dict[str, object] = {"name": name}
            if protected:
                wanted["protected"] = True
            if parent is not None:
                wanted["parent_id"] = _found(known, parent).id
            if at is not None:
                wanted["parent_timestamp"] = _written(at)
            if expires_at is not None:
                wanted["expires_at"] = _written(expires_at)
            if schema_only:
                wanted["init_source"] = "schema-only"
            body = {"branch": wanted, "endpoints": [{"type": "read_write"}]}
            advance(step, 0, None)
            try:
                made = await api.change("POST", "branches", body=body, task=f"make {name}")
            except VendorUnreachable as error:
                branch = await _made_all_the_same(api, name, error)
                operations = await api.operations_of(branch.id)
            else:
                branch, operations = made.branch or await _by_name(api, name), made.operations
            await api.settle(operations, advance=advance, step=step)
            return _branch(await api.branch(branch.id))

    async def list(self) -> list[Branch]:
        """List all branches, the default one first."""
        async with self._open() as api:
            return _branches(await api.branches())

    async def get(self, name_or_id: str) -> Branch:
        """Find a branch, or raise NotFound."""
        async with self._open() as api:
            return _branch(_found(await api.branches(), name_or_id))

    async def delete(self, branch: Branch) -> None:
        """Delete a branch; what may not be deleted is refused before Neon is asked."""
        async with self._open() as api:
            known = _branches(await api.branches())
            refuse_deletion(next((each for each in known if each.id == branch.id), branch), known)
            try:
                deleted = await api.change(
                    "DELETE",
                    "branches",
                    branch.id,
                    task=f"delete {branch.name}",
                    is_idempotent=True,
                )
            except NotFound:
                # Somebody was faster, or it was done by a call whose answer was lost.
                return
            await api.settle(deleted.operations, advance=_unseen, step=f"Deleting {branch.name}")

    async def restore(self, branch: Branch, at: datetime, *, advance: Advance) -> Branch:
        """Set a branch back; what keeps its former state gets its children too, as Neon has it.

        The moment is one of the branch itself, or of its parent where it is before the branch.
        """
        step = f"Restoring {branch.name} at Neon"
        async with self._open() as api:
            known = await api.branches()
            current = _found(known, branch.id)
            if current.protected:
                raise BranchRefused(
                    f"{branch.name} is protected.",
                    hint=f"Run `viral branch unprotect {branch.name}`.",
                )
            former = kept_name(current.name, self._clock())
            body = {
                "source_branch_id": _source_at(known, current, at).id,
                "source_timestamp": _written(at),
                "preserve_under_name": former,
            }
            advance(step, 0, None)
            try:
                changed = await api.change(
                    "POST",
                    "branches",
                    branch.id,
                    "restore",
                    body=body,
                    task=f"restore {branch.name}",
                )
            except VendorUnreachable as error:
                kept = await _made_all_the_same(api, former, error)
                operations = await api.operations_of(branch.id)
                operations += await api.operations_of(kept.id)
            else:
                operations = changed.operations
            await api.settle(operations, advance=advance, step=step)
            return _branch(await _by_name(api, former))

    async def connection_string(self, branch: Branch, *, pooled: bool, password: bool) -> str:
        """Give the address for the app, through Neon's pooler or past it."""
        return await self.address(branch, role="viral_app", pooled=pooled, password=password)

    async def address(self, branch: Branch, *, role: str, pooled: bool, password: bool) -> str:
        """Give the address as a role, or as the database's owner where there is no such role.

        The password is the one that Neon knows: a child of a protected branch has its own.
        """
        async with self._open() as api:
            database = _database(await api.databases(branch.id), branch)
            is_there = role in await api.roles(branch.id)
            try:
                uri = await api.connection_uri(
                    branch.id,
                    database=database.name,
                    role=role if is_there else database.owner_name,
                    is_pooled=pooled,
                )
            except NotFound as error:
                raise BranchRefused(
                    f"{branch.name} has no compute to connect to. {error.message}",
                    hint=f"Make a branch of it: `viral branch create NAME --from {branch.name}`.",
                ) from error
        return uri if password else _without_password(uri)

    async def settings(self, branch: Branch, *, password: bool) -> dict[str, str]:
        """Give what makes commands use a branch, by the names of the settings."""
        app = await self.address(branch, role="viral_app", pooled=True, password=password)
        direct = await self.address(branch, role="viral_migrator", pooled=False, password=password)
        return {"DATABASE_URL": app, "DIRECT_URL": direct}

    async def protect(self, branch: Branch, *, is_protected: bool) -> Branch:
        """Protect a branch from deletion and restoring, or no longer; plans limit how many."""
        async with self._open() as api:
            changed = await api.change(
                "PATCH",
                "branches",
                branch.id,
                body={"branch": {"protected": is_protected}},
                task=f"{'protect' if is_protected else 'unprotect'} {branch.name}",
                is_idempotent=True,
            )
            await api.settle(changed.operations, advance=_unseen, step="Changing the protection")
            return _branch(await api.branch(branch.id))


async def _made_all_the_same(api: NeonApi, name: str, error: VendorUnreachable) -> NeonBranch:
    """Find what a call without an answer made; raise its error where there is nothing."""
    try:
        return await _by_name(api, name)
    except (NotFound, VendorUnreachable):
        raise VendorUnreachable(
            error.message, hint="Look with `viral branch list` before you try again."
        ) from error


async def _by_name(api: NeonApi, name: str) -> NeonBranch:
    return _found([each for each in await api.branches() if each.name == name], name)


def _found(branches: list[NeonBranch], name_or_id: str) -> NeonBranch:
    for each in branches:
        if name_or_id in {each.name, each.id}:
            return each
    raise NotFound(f"There is no branch {name_or_id!r}.", hint="See them with `viral branch list`.")


def _source_at(known: list[NeonBranch], branch: NeonBranch, at: datetime) -> NeonBranch:
    """Find the branch whose past holds a moment: this one, or the nearest that was there then."""
    source = branch
    while source.created_at is not None and at < source.created_at:
        if source.parent_id is None:
            raise RestoreRefused(
                f"{branch.name} was not there at {at.isoformat()}.", hint="Choose a later moment."
            )
        source = _found(known, source.parent_id)
    return source


def _database(databases: list[NeonDatabase], branch: Branch) -> NeonDatabase:
    """Choose the product's database: `viral`, or the only one."""
    ours = [each for each in databases if each.name == DATABASE] or databases
    if len(ours) != 1:
        names = ", ".join(each.name for each in databases) or "none at all"
        raise BranchRefused(
            f"{branch.name} has the databases {names}: none is {DATABASE}.",
            hint=f"Prepare one: `viral server bootstrap --admin-url URL`, which makes {DATABASE}.",
        )
    return ours[0]


def _branches(known: list[NeonBranch]) -> list[Branch]:
    return sorted(map(_branch, known), key=lambda each: not each.is_default)


def _branch(branch: NeonBranch) -> Branch:
    return Branch(
        id=branch.id,
        name=branch.name,
        parent_id=branch.parent_id,
        kind="neon",
        # Which one it is, `address` finds out: a branch may have several.
        database="",
        created_at=branch.created_at,
        parent_at=branch.parent_timestamp,
        expires_at=branch.expires_at,
        is_default=branch.is_default,
        is_protected=branch.protected,
        state="making" if branch.current_state in _UNFINISHED else "ready",
        size_bytes=branch.logical_size,
    )


def _written(moment: datetime) -> str:
    """Write a moment in ISO 8601, as Neon's examples do."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _without_password(uri: str) -> str:
    parts = urlsplit(uri)
    named, _, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{named.partition(':')[0]}@{place}"))


def _unseen(_step: str, _done: int, _total: int | None) -> None:
    """Take progress where nobody looks."""
