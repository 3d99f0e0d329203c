"""How two branches differ: their schemas, object by object, and the rows of each table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from viral.database.catalog import differences, summary
from viral.database.drift import BOOKKEEPING, without_bookkeeping
from viral.database.driver import driver_connection
from viral.database.foundation import quoted
from viral.database.shadow import catalog_at

if TYPE_CHECKING:
    from viral.database.catalog import Difference
    from viral.database.urls import ServerUrl
    from viral.postgres.branches.provider import Advance

# Partitions are counted with their table.
_TABLES = """
SELECT n.nspname AS schema, c.relname AS table
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND n.nspname || '.' || c.relname <> ALL ($1)
ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class RowCount:
    """How many rows a table has in each of two branches; None where it has no such table."""

    table: str
    first: int | None
    second: int | None


@dataclass(frozen=True, slots=True)
class BranchDifference:
    """What is not the same; both lists are empty where nothing is."""

    schema: list[Difference]
    rows: list[RowCount]

    def __bool__(self) -> bool:
        return bool(self.schema or self.rows)


async def compare_branches(
    first: ServerUrl, second: ServerUrl, *, advance: Advance
) -> BranchDifference:
    """Compare two databases, as a role that passes row security; rows are counted, not read.

    Each is counted in one snapshot.
    """
    expected = without_bookkeeping(await catalog_at(first))
    actual = without_bookkeeping(await catalog_at(second))
    before, after = await count_rows(first, advance), await count_rows(second, advance)
    counts = (
        RowCount(table, before.get(table), after.get(table))
        for table in sorted(before.keys() | after.keys())
    )
    return BranchDifference(
        summary(differences(expected, actual)),
        [each for each in counts if each.first != each.second],
    )


async def count_rows(url: ServerUrl, advance: Advance) -> dict[str, int]:
    """Count the rows of every table of a database."""
    async with (
        driver_connection(url) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        tables = await connection.fetch(_TABLES, list(BOOKKEEPING))
        counts = {}
        for done, (schema, table) in enumerate(tables):
            advance(f"Counting the rows of {url.database}", done, len(tables))
            counts[f"{schema}.{table}"] = await connection.fetchval(
                f"SELECT count(*) FROM {quoted(schema)}.{quoted(table)}"  # noqa: S608 - quoted
            )
        return counts
