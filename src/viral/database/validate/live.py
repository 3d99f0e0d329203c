"""The lint of a live database: one query per rule, read from PostgreSQL's catalogue."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from viral.database.faults import connecting
from viral.database.validate.access import CIPHERTEXTS, HASHES
from viral.database.validate.findings import Finding
from viral.errors import ServerRefused

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from viral.database.urls import ServerUrl

_SCRIPT = (
    (files("viral.database.validate") / "live.sql")
    .read_text("utf-8")
    .replace("{hashes}", HASHES)
    .replace("{ciphertexts}", CIPHERTEXTS)
)
_RULE = re.compile(r"^-- rule (\S+)\n-- fix: (.+)\n((?:.+\n)+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class LiveRule:
    """A query that returns what breaks the rule: rows of object and detail."""

    name: str
    hint: str
    query: str


def live_rules() -> list[LiveRule]:
    """Read the rules in their order."""
    return [LiveRule(*found.groups()) for found in _RULE.finditer(_SCRIPT)]


async def validate_database(url: ServerUrl) -> list[Finding]:
    """List what breaks a rule in a database; nothing is written."""
    engine = create_async_engine(url.sqlalchemy, connect_args=url.connect_args, poolclass=NullPool)
    try:
        async with AsyncExitStack() as stack:
            with connecting(url):
                connection = await stack.enter_async_context(engine.connect())
            await connection.exec_driver_sql("SET TRANSACTION READ ONLY")
            return await lint_catalog(connection)
    finally:
        await engine.dispose()


async def lint_catalog(connection: AsyncConnection) -> list[Finding]:
    """Run all rules as one statement of the open transaction."""
    query = "SELECT to_regnamespace('viral') IS NOT NULL"
    if not (await connection.exec_driver_sql(query)).scalar_one():
        raise ServerRefused(
            "The database is not prepared: it has no schema viral.",
            hint="Set it up with `viral server bootstrap --admin-url URL`.",
        )
    # With an empty path PostgreSQL prints every name with its schema.
    await connection.exec_driver_sql("SELECT set_config('search_path', '', true)")
    rules = live_rules()
    rows = await connection.exec_driver_sql(_statement(rules))
    return [
        Finding(rules[row.place].name, row.object, row.detail, rules[row.place].hint)
        for row in rows
    ]


def _statement(rules: list[LiveRule]) -> str:
    head = _SCRIPT.partition("-- rule ")[0]
    queries = [
        f"SELECT {place} AS place, object::text, detail::text"  # noqa: S608 - our own file
        f" FROM ({rule.query.strip().removesuffix(';')}) AS rule_{place}"
        for place, rule in enumerate(rules)
    ]
    return f"{head}\n{' UNION ALL '.join(queries)} ORDER BY place, object, detail"
