"""How two schemas differ, wherever each of them is: models, migrations, a database, nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from viral.database.catalog import Catalog, Difference, differences, summary
from viral.database.develop import lead
from viral.database.drift import (
    catalog_of_history,
    catalog_of_models,
    without_bookkeeping,
)
from viral.database.migrate import MIGRATIONS
from viral.database.scripts import render_script
from viral.database.shadow import catalog_at, shadow_database
from viral.database.urls import parse_url
from viral.errors import BadInput
from viral.schema.tables import SCHEMA, Schema

if TYPE_CHECKING:
    from pathlib import Path

    from viral.database.urls import ServerUrl

SOURCES = ("models", "migrations", "database", "empty")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs on the way from one schema to another, and the script that leads there."""

    differences: list[Difference]
    script: str | None = None


async def compare_schemas(
    url: ServerUrl,
    *,
    start: str,
    end: str,
    with_script: bool = False,
    schema: Schema = SCHEMA,
    history: Path = MIGRATIONS,
) -> Comparison:
    """Compare two of models, migrations, database, empty, or a URL; bookkeeping aside."""
    actual = await _catalog_of(start, url, schema, history)
    wanted = await _catalog_of(end, url, schema, history)
    found = differences(wanted, actual)
    script = None
    if with_script:
        # A database to try it on: the start, built from its own catalogue.
        async with shadow_database(url) as shadow:
            await lead(shadow, actual)
            steps = await lead(shadow, wanted)
        script = render_script(f"From {_shown(start)} to {_shown(end)}.", steps)
    return Comparison(summary(found), script)


async def _catalog_of(source: str, url: ServerUrl, schema: Schema, history: Path) -> Catalog:
    match source:
        case "models":
            found = await catalog_of_models(url, schema)
        case "migrations":
            found = await catalog_of_history(url, history=history)
        case "empty":
            found = await catalog_of_history(url, history=history, revision="base")
        case "database":
            found = await catalog_at(url)
        case _ if "://" in source:
            found = await catalog_at(parse_url(source, name="URL"))
        case _:
            raise BadInput(
                f"{source!r} is no schema.", hint=f"Name one of {', '.join(SOURCES)}, or a URL."
            )
    return without_bookkeeping(found)


def _shown(source: str) -> str:
    return str(parse_url(source)) if "://" in source else source
