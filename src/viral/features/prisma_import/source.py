"""The database to import from: checked for its shape, read in one snapshot, never written."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import msgspec

from viral.database.driver import driver_connection
from viral.database.faults import connecting
from viral.database.urls import parse_url
from viral.errors import BadInput, ServerUnreachable
from viral.features.prisma_import.fields import SourceRow, Unusable
from viral.features.prisma_import.shape import COLUMNS, NOT_OURS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    import asyncpg

    from viral.database.urls import ServerUrl

BATCH = 500
MISSING_SHOWN = 8
# Keys stand in plain text in two columns; one that was written down elsewhere is made unusable.
_KEY = re.compile(r"vd_[A-Za-z0-9_-]{16,}")
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_SHAPE = """
SELECT c.relname, coalesce(array_agg(a.attname) FILTER (WHERE a.attname IS NOT NULL), '{}')
FROM pg_catalog.pg_class AS c
LEFT JOIN pg_catalog.pg_attribute AS a
  ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v', 'f')
GROUP BY c.relname
"""


class PrismaSource:
    """One snapshot of the source; `name` tells where it is, without the password."""

    def __init__(self, url: ServerUrl, connection: asyncpg.Connection) -> None:
        self.name = str(url)
        self.extra_tables: list[str] = []
        self.extra_columns: list[str] = []
        self._url = url
        self._connection = connection

    async def check(self) -> None:
        """Refuse a database of another shape; note what is there beyond the sixteen tables."""
        found = {table: set(columns) for table, columns in await self._connection.fetch(_SHAPE)}
        missing = [f"the table {table}" for table in COLUMNS if table not in found]
        missing += [
            f"{table}.{column}"
            for table, columns in COLUMNS.items()
            for column in columns
            if table in found and column not in found[table]
        ]
        if missing:
            raise BadInput(
                f"{self.name} is no Viral Dashboard database made by Prisma: it lacks"
                f" {_listed(missing)}.",
                hint="Check the URL; the schema is `public` unless it ends with ?schema=NAME.",
            )
        self.extra_tables = sorted(set(found) - set(COLUMNS) - NOT_OURS)
        self.extra_columns = sorted(
            f"{table}.{column}"
            for table, columns in COLUMNS.items()
            for column in found[table] - set(columns)
        )

    async def count(self, table: str) -> int:
        """Count the rows of a table."""
        with _reading(self._url):
            count = await self._connection.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608 - a name of ours
        return int(count)

    async def batches(self, query: str, *, order: str) -> AsyncIterator[list[tuple[str, str]]]:
        """Yield id and JSON of the rows of a query, in order, some hundred at a time."""
        statement = f"SELECT t.id::text, row_to_json(t)::text FROM ({query}) AS t ORDER BY {order}"  # noqa: S608 - a query of ours
        with _reading(self._url):
            cursor = await self._connection.cursor(statement)
        while True:
            with _reading(self._url):
                records = await cursor.fetch(BATCH)
            if not records:
                return
            yield [(row_id or "", text) for row_id, text in records]


def read_row(table: str, row_id: str, text: str) -> SourceRow:
    """Read a row's JSON; a key in plain text stays in the column `apiKey` alone."""
    # The plain search is many times as fast, and nearly always the answer.
    if "\\u0000" in text and _NUL.search(text):
        raise Unusable("*", "holds the character NUL")
    try:
        values = msgspec.json.decode(text, type=dict[str, object])
        key = values.get("apiKey")
        if _KEY.search(text):
            values = msgspec.json.decode(_KEY.sub("vd_removed", text), type=dict[str, object])
    except msgspec.DecodeError:
        raise Unusable("*", "cannot be read as JSON") from None
    if "apiKey" in values:
        values["apiKey"] = key
        values["apiKeyHash"] = None
    return SourceRow(values, table, row_id)


@asynccontextmanager
async def open_source(text: str) -> AsyncIterator[PrismaSource]:
    """Connect, and hold one read-only snapshot for the length of the block."""
    parts = urlsplit(text)
    options = parse_qs(parts.query)
    schema = options.pop("schema", ["public"])[0]
    # The product's own tables are in `public`; here a person may name where Prisma put them.
    bare = urlunsplit(parts._replace(query=urlencode(options, doseq=True)))
    url = parse_url(bare, name="SOURCE_URL")
    async with AsyncExitStack() as stack:
        with _reading(url):
            connection = await stack.enter_async_context(driver_connection(url))
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            await connection.execute("SET LOCAL TIME ZONE 'UTC'; SET LOCAL statement_timeout = 0")
            await connection.execute(
                "SELECT set_config('search_path', quote_ident($1), true)", schema
            )
            source = PrismaSource(url, connection)
            await source.check()
        yield source


@contextmanager
def _reading(url: ServerUrl) -> Iterator[None]:
    """Turn what goes wrong with the source's server into our errors."""
    try:
        with connecting(url):
            yield
    except ServerUnreachable as error:
        hint = "Check SOURCE_URL and that its server runs; what is in stays, run it again."
        raise ServerUnreachable(error.message, hint=hint) from error


def _listed(words: Sequence[str]) -> str:
    rest = len(words) - MISSING_SHOWN
    return ", ".join(words[:MISSING_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
