"""What an error text means: the texts of PostgreSQL, the pool, Prisma and this product."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import PrimaryKeyConstraint, UniqueConstraint

from viral.schema.tables import METADATA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Table

_KEY = re.compile(r'unique constraint "(?P<name>[^"]+)"')
_PRISMA_FIELDS = re.compile(r"failed on the (?:fields|constraint): \(?(?P<names>[`\w, ]+)\)?")
_PRISMA_MODEL = re.compile(r"prisma\.(?P<model>\w+)\.|Model `?(?P<named>\w+)`?")
UNIQUE = "A row with this key is there already."


@dataclass(frozen=True, slots=True)
class Explanation:
    """What happened, and what to do, one step a line."""

    what: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _UniqueKey:
    """A key that no two rows share; of a partial one also its condition."""

    name: str
    columns: list[str]
    where: str = ""


# The first pattern that is found in the text decides.
_KNOWN: tuple[tuple[str, Explanation], ...] = (
    (
        r"can't reach (?:the )?database server|P1001|connection refused|nothing listens there",
        Explanation(
            "Nothing answers at the address of DATABASE_URL.",
            (
                "See which part fails: viral doctor --only server",
                "The embedded server: viral up, or viral server start",
                "A server elsewhere: compare DATABASE_URL with it, and its allowed addresses.",
            ),
        ),
    ),
    (
        r"pool timeout|timed out fetching a new connection|P2024|connections to .* are in use",
        Explanation(
            "Every connection of this program's pool was in use for longer than pool_timeout.",
            (
                'Raise the pool: DATABASE_URL="...?connection_limit=20"',
                "Many programs at once: put a pooler in between, viral pooler start",
                "See how many the server has left: viral doctor --only connections",
            ),
        ),
    ),
    (
        r"too many (?:clients|connections)|remaining connection slots|no connection left|53300",
        Explanation(
            "The server gives no more connections.",
            (
                "See who has them: viral doctor --only connections",
                "Lower connection_limit in DATABASE_URL, or: viral pooler start",
            ),
        ),
    ),
    (
        r"password authentication failed|P1000|28P01|password of \S+ is wrong",
        Explanation(
            "The password in the URL is not the role's.",
            (
                "The installation's own: viral db url --show",
                "After a change of the passwords replace the lines in .env.local.",
            ),
        ),
    ),
    (
        r"VT001|without a tenant",
        Explanation(
            "A tenant's rows were asked for, and no tenant was named.",
            (
                "On the command line: add --tenant NAME.",
                "In code: async with database.tenant_session(tenant_id).",
            ),
        ),
    ),
    (
        r"VT002",
        Explanation(
            "The tenant's token is not one of this database.",
            ("Look at the keys: viral doctor --only context_keys",),
        ),
    ),
    (
        r"violates row-level security",
        Explanation(
            "A row of another tenant was to be written.",
            ("Write it in a session of its own tenant.",),
        ),
    ),
    (
        r"violates foreign key constraint|P2003",
        Explanation(
            "A row names another that is not there, or that another row still names.",
            ("Write what is named first; the tenant belongs to the key.",),
        ),
    ),
    (
        r"prepared statement .* (?:does not exist|already exists)",
        Explanation(
            "A pooler stands before the server, and the URL does not say so.",
            ("Add pgbouncer=true to DATABASE_URL.", "Set DIRECT_URL to the server itself."),
        ),
    ),
)


def explain(text: str) -> Explanation | None:
    """Explain an error text, or return None for one that is not known here."""
    if found := _KEY.search(text):
        return _of_key(found["name"])
    if "P2002" in text or re.search(r"unique constraint (?:violation|failed)", text, re.IGNORECASE):
        return _of_prisma(text)
    for pattern, explanation in _KNOWN:
        if re.search(pattern, text, re.IGNORECASE):
            return explanation
    return None


def _of_key(name: str) -> Explanation:
    for table in METADATA.sorted_tables:
        for key in _unique_keys(table):
            if key.name == name:
                return _upsert(table, key)
    return Explanation(f"{UNIQUE} The key {name} is none of the product's.", _GENERAL)


def _of_prisma(text: str) -> Explanation:
    model = _PRISMA_MODEL.search(text)
    named = _PRISMA_FIELDS.search(text)
    fields = re.findall(r"\w+", named["names"]) if named else []
    columns = [re.sub(r"(?<!^)(?=[A-Z])", "_", field).lower() for field in fields]
    table_name = "" if model is None else model["model"] or model["named"] or ""
    for table in METADATA.sorted_tables:
        is_meant = table.name.replace("_", "").rstrip("s") == table_name.lower().rstrip("s")
        for key in _unique_keys(table):
            if columns == key.columns and (is_meant or not table_name):
                return _upsert(table, key)
    return Explanation(UNIQUE, _GENERAL)


_GENERAL = (
    "Instead of create: upsert. In SQL: INSERT ... ON CONFLICT (KEY) DO UPDATE SET ...",
    "Or look first whether the row is there. The server's own message names the key.",
)


def _upsert(table: Table, unique: _UniqueKey) -> Explanation:
    columns, key = unique.columns, ", ".join(unique.columns)
    fields = [re.sub(r"_([a-z])", lambda found: found[1].upper(), each) for each in columns]
    where = fields[0] if len(fields) == 1 else f"{'_'.join(fields)}: {{ {', '.join(fields)} }}"
    conflict = f"ON CONFLICT ({key}){unique.where} DO UPDATE SET ..."
    write = f"INSERT INTO {table.name} (...) VALUES (...) {conflict}"  # noqa: S608 - to be read by people
    tenant = " --tenant NAME" if "tenant_id" in table.columns else ""
    look = f"SELECT * FROM {table.name} WHERE {columns[-1]} = ..."  # noqa: S608 - to be read by people
    return Explanation(
        f"The table {table.name} has a row with the same {key} already.",
        (
            f"SQL: {write}",
            f"Prisma, in place of create: upsert({{ where: {{ {where} }}, create, update }})",
            f'See the row: viral db execute "{look}"{tenant}',
        ),
    )


def _unique_keys(table: Table) -> Iterator[_UniqueKey]:
    for constraint in table.constraints:
        if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint):
            yield _UniqueKey(str(constraint.name), [each.name for each in constraint.columns])
    for index in table.indexes:
        if index.unique:
            where = index.dialect_options["postgresql"]["where"]
            condition = "" if where is None else f" WHERE {where}"
            yield _UniqueKey(str(index.name), [each.name for each in index.columns], condition)
