"""Whether a database is what its history makes, and what is different if not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.database import migrate
from viral.database.bookkeeping import ensure_bookkeeping
from viral.database.catalog import Difference, differences, summary
from viral.database.migrate import MIGRATIONS
from viral.database.owner import owner_connection
from viral.database.shadow import Shadow, catalog_at, shadow_database
from viral.errors import DraftIncomplete, SchemaDrift
from viral.schema.tables import SCHEMA, Schema

if TYPE_CHECKING:
    from pathlib import Path

    from viral.database.catalog import Catalog
    from viral.database.urls import ServerUrl

SHOWN = 10
# A draft that is not there after so many rounds does not get there.
ROUNDS = 6
# What a database has that no history made: its migrations are not remembered in it.
BOOKKEEPING = ("viral.alembic_version", "viral.migrations")


async def catalog_of_history(
    url: ServerUrl, *, history: Path = MIGRATIONS, revision: str | None = None
) -> Catalog:
    """Replay the history in a shadow database, up to a revision, and read what it makes."""
    async with shadow_database(url) as shadow:
        await replay(shadow, history=history, revision=revision)
        return await shadow.catalog()


async def catalog_of_models(url: ServerUrl, schema: Schema = SCHEMA) -> Catalog:
    """Build the models in a shadow database and read what they make."""
    async with shadow_database(url) as shadow:
        async with owner_connection(shadow.url) as connection, connection.begin():
            await ensure_bookkeeping(connection)
        await shadow.run(schema.statements())
        return await shadow.catalog()


async def replay(shadow: Shadow, *, history: Path, revision: str | None = None) -> None:
    """Apply the history to an empty shadow; "base" is the empty database."""
    if revision == "base":
        async with owner_connection(shadow.url) as connection, connection.begin():
            await ensure_bookkeeping(connection)
        return
    await migrate.deploy(shadow.url, history=history, to=revision)


async def find_drift(url: ServerUrl, *, history: Path = MIGRATIONS) -> list[Difference]:
    """Compare a database with what its applied revisions make of an empty one.

    Its history is whole and no revision is half done: there would be nothing to compare with.
    """
    async with shadow_database(url) as shadow:
        return await drift_beside(shadow, url, history=history)


async def drift_beside(shadow: Shadow, url: ServerUrl, *, history: Path) -> list[Difference]:
    """Compare a database with an empty shadow, which is brought to the database's revision."""
    status = await migrate.status(url, history=history)
    await replay(shadow, history=history, revision=status.current or "base")
    expected, actual = await shadow.catalog(), await catalog_at(url)
    if not status.records:
        expected, actual = without_bookkeeping(expected), without_bookkeeping(actual)
    return summary(differences(expected, actual))


def without_bookkeeping(catalog: Catalog) -> Catalog:
    """Leave out the tables in which migrations are remembered."""
    return {
        title: entry
        for title, entry in catalog.items()
        if entry.place.get("table") not in BOOKKEEPING
        and not any(table in entry.name for table in BOOKKEEPING)
    }


def refuse_drift(found: list[Difference]) -> None:
    """Raise SchemaDrift that names what differs."""
    if found:
        raise SchemaDrift(
            "The database was changed past its migrations:\n" + listed(found),
            hint="Write the change into the models, or see how to take it back:"
            " `viral migrate diff --from database --to migrations --script`.",
        )


def refuse_rest(rest: list[Difference]) -> None:
    """Raise DraftIncomplete for what no drafted statement can change."""
    if rest:
        raise DraftIncomplete(
            "No drafted statement does this:\n" + listed(rest),
            hint="Change the models, or write the migration by hand:"
            " `viral migrate dev --create-only`.",
        )


def listed(found: list[Difference]) -> str:
    """Write differences down, one a line; of many, the first."""
    lines = [f"  {difference}" for difference in found[:SHOWN]]
    if len(found) > SHOWN:
        lines.append(f"  and {len(found) - SHOWN} more")
    return "\n".join(lines)
