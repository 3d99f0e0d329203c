"""Adopt a database that is as the migrations would make it, but does not know them; start anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.database import migrate
from viral.database.bookkeeping import adopt, ensure_bookkeeping, finish_up, read_memory
from viral.database.catalog import differences, summary
from viral.database.drift import catalog_of_history, listed, without_bookkeeping
from viral.database.history import MIGRATIONS, History, read_history, refuse_broken
from viral.database.owner import deploy_lock, owner_connection, person, refuse_pooler
from viral.database.push import converge
from viral.database.shadow import catalog_at
from viral.errors import AlreadyExists, NotFound, SchemaDrift

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from viral.database.data_loss import RestorePoint
    from viral.database.history import Revision
    from viral.database.steps import Progress
    from viral.database.urls import ServerUrl


async def baseline(
    url: ServerUrl,
    *,
    history: Path = MIGRATIONS,
    revision: str | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> list[str]:
    """Write revisions down as applied after comparing the database with what they make."""
    refuse_pooler(url)
    adopted = _up_to(read_history(history), revision)
    last = adopted[-1]
    async with owner_connection(url) as connection, deploy_lock(connection, on_wait=on_wait):
        await _refuse_known(connection)
        expected = await catalog_of_history(url, history=history, revision=last.id)
        rest = summary(
            differences(without_bookkeeping(expected), without_bookkeeping(await catalog_at(url)))
        )
        if rest:
            raise SchemaDrift(
                f"The database is not as {last.name} makes it:\n{listed(rest)}",
                hint="Name the migration that it stands at with --revision, or bring it there:"
                " `viral migrate diff --from database --to migrations --script`.",
            )
        async with connection.begin():
            await ensure_bookkeeping(connection)
            await adopt(connection, adopted, by=person())
            await finish_up(connection, last.id)
    return [each.id for each in adopted]


async def reset(
    url: ServerUrl,
    *,
    history: Path = MIGRATIONS,
    restore_point: RestorePoint | None = None,
    on_wait: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> tuple[str | None, list[str]]:
    """Drop everything in one transaction, then migrate; the copy made before, what is applied."""
    # Nothing is dropped for migrations that do not work.
    await catalog_of_history(url, history=history)
    empty = await catalog_of_history(url, history=history, revision="base")
    emptied = await converge(
        url,
        without_bookkeeping(empty),
        forgets_history=True,
        accept_data_loss=True,
        restore_point=restore_point,
        copy_name="before-reset",
        on_wait=on_wait,
    )
    return emptied.restore_point, await migrate.deploy(url, history=history, progress=progress)


def _up_to(history: History, revision: str | None) -> tuple[Revision, ...]:
    refuse_broken(list(history.problems))
    known = [each.id for each in history.revisions]
    if not known:
        raise NotFound("There is no migration.", hint="Write one: `viral migrate dev --name init`.")
    if revision is not None and revision not in known:
        raise NotFound(f"There is no migration {revision}.", hint=f"Known: {', '.join(known)}.")
    return history.up_to(revision or known[-1])


async def _refuse_known(connection: AsyncConnection) -> None:
    async with connection.begin():
        memory = await read_memory(connection)
    if memory.current is not None or memory.records:
        raise AlreadyExists(
            f"The database knows its migrations: it is at {memory.current or 'the first of them'}.",
            hint="Use `viral migrate status` and `viral migrate deploy`.",
        )
