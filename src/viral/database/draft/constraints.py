"""Constraints and indexes, in the forms that do not hold up reads and writes."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from viral.database.draft.changes import Change, Mode, Phase, table_of
from viral.database.draft.keys import Key, key_of
from viral.database.draft.tables import can_be_indexed_concurrently
from viral.database.scripts import Risk, Waiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.database.catalog import Catalog, Entry

_CHECK = re.compile(r"CHECK \((?P<condition>.*)\)( NO INHERIT)?", re.DOTALL)
_REFERENCE = re.compile(r"FOREIGN KEY \((?P<own>[^)]*)\) REFERENCES [^(]+\((?P<their>[^)]*)\)")
_INDEX = re.compile(r"CREATE (?P<unique>UNIQUE )?INDEX (?P<name>(\"[^\"]*\"|\S)+) ON (ONLY )?")
# What a statement may say of itself when PostgreSQL offers no gentler form.
_PARTITIONED = "PostgreSQL has no gentler form for a partitioned table"
_NOT_OURS = "only viral_owner can do it outside a transaction"
_EXCLUSION = "PostgreSQL has no gentler form for an exclusion constraint"


def add_constraint(
    constraint: Entry, owner: str, catalog: Catalog, *, replaces: bool = False
) -> Iterator[Change]:
    """Add a constraint to a table that may have rows; with `replaces`, for one of that name."""
    kind = str(constraint.place["type"])
    table = str(constraint.place["table"])
    is_partitioned = "partition by" in catalog[f"table {table}"].parts
    if kind == "c" or (kind == "f" and not is_partitioned):
        yield from _add_unvalidated(constraint, owner, replaces=replaces)
    elif kind in {"p", "u"} and can_be_indexed_concurrently(table, catalog):
        yield from _add_with_index(constraint, owner, replaces=replaces)
    else:
        reason = _EXCLUSION if kind == "x" else _PARTITIONED
        parent = (_qualified(str(constraint.place["references"])),) if kind == "f" else ()
        yield Change(
            f"add {constraint.name}",
            Phase.CONSTRAINT,
            _replaced(constraint, replaces=replaces) + str(constraint.parts["definition"]),
            mode=Mode.ALONE,
            owner=owner,
            risks=_risks(constraint),
            in_sight=(table, *parent) if kind == "f" else (),
            waivers=(
                Waiver("adding-foreign-key-constraint", reason, 0),
                Waiver("disallowed-unique-constraint", reason, 0),
                Waiver("constraint-missing-not-valid", reason, 0),
            ),
        )


def validate_constraint(constraint: Entry, owner: str, *, is_counted: bool = False) -> Change:
    """Check the rows that were there before; a foreign key needs them in sight."""
    table, name = str(constraint.place["table"]), constraint.place["name"]
    is_reference = constraint.place["type"] == "f"
    others = (table, _qualified(str(constraint.place["references"]))) if is_reference else ()
    return Change(
        f"validate {constraint.name}",
        Phase.REFERENCE if is_reference else Phase.CONSTRAINT,
        f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}",
        mode=Mode.ALONE,
        owner=owner,
        risks=() if is_counted else _risks(constraint),
        in_sight=tuple(dict.fromkeys(others)),
    )


def drop_constraint(constraint: Entry, owner: str) -> Change:
    """Drop a constraint; the rows stay."""
    table, name = constraint.place["table"], constraint.place["name"]
    is_reference = constraint.place["type"] == "f"
    return Change(
        f"drop {constraint.name}",
        Phase.DROP_REFERENCE if is_reference else Phase.DROP_CONSTRAINT,
        f"ALTER TABLE {table} DROP CONSTRAINT {name}",
        owner=owner,
    )


def add_index(index: Entry, owner: str, catalog: Catalog) -> Iterator[Change]:
    """Build an index beside reads and writes where PostgreSQL can."""
    definition = str(index.parts["definition"])
    if can_be_indexed_concurrently(str(index.place["table"]), catalog):
        sql = _concurrently(definition)
        yield _outside(f"build {index.name}", sql, owner, _unique_risks(index))
    else:
        yield Change(
            f"build {index.name}",
            Phase.INDEX,
            definition.replace(" ON ONLY ", " ON ", 1),
            owner=owner,
            risks=_unique_risks(index),
            waivers=(Waiver("require-concurrent-index-creation", _why_not(index, catalog), 0),),
        )


def replace_index(index: Entry, owner: str, catalog: Catalog) -> Iterator[Change]:
    """Build the other index under a passing name, then let it take the place in one moment."""
    schema, bare = index.name.rsplit(".", 1)[0], str(index.place["bare"])
    if not can_be_indexed_concurrently(str(index.place["table"]), catalog):
        # The name has to be free before.
        yield replace(drop_index(index, owner, catalog), phase=Phase.INDEX)
        yield from add_index(index, owner, catalog)
        return
    passing = f'"{bare[:58]}_next"'
    yield _outside(
        f"build what follows {index.name}",
        _concurrently(str(index.parts["definition"]), name=passing),
        owner,
        _unique_risks(index),
    )
    yield Change(
        f"put it in the place of {index.name}",
        Phase.INDEX,
        f"DROP INDEX {index.name};\n-- lint: renaming-object: it takes the place of the other\n"
        f'ALTER INDEX {schema}.{passing} RENAME TO "{bare}"',
        mode=Mode.ALONE,
        owner=owner,
        waivers=(
            Waiver(
                "require-concurrent-index-deletion", "its successor is built and takes its name", 0
            ),
        ),
    )


def drop_index(index: Entry, owner: str, catalog: Catalog) -> Change:
    """Drop an index beside reads and writes where PostgreSQL can."""
    title = f"drop {index.name}"
    if can_be_indexed_concurrently(str(index.place["table"]), catalog):
        sql = f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}"
        return Change(title, Phase.DROP_INDEX, sql, mode=Mode.OUTSIDE, owner=owner)
    waiver = Waiver("require-concurrent-index-deletion", _why_not(index, catalog), 0)
    return Change(
        title, Phase.DROP_INDEX, f"DROP INDEX {index.name}", owner=owner, waivers=(waiver,)
    )


def mark_index(
    expected: Entry, actual: Entry, name: str, owner: str, *, part: str
) -> Iterator[Change]:
    """Rebuild an invalid index, or say which index a table is clustered on and replicated by."""
    before, after = str(actual.parts.get(part, "")), str(expected.parts.get(part, ""))
    table, title = expected.place["table"], f"mark {expected.title}"
    statements = []
    if "invalid" in before and "invalid" not in after:
        schema = str(table).rsplit(".", 1)[0]
        sql = f"REINDEX INDEX CONCURRENTLY {schema}.{name}"
        yield Change(title, Phase.INDEX, sql, mode=Mode.OUTSIDE, owner=owner)
    if ("clustered" in before) != ("clustered" in after):
        on = f"CLUSTER ON {name}" if "clustered" in after else "SET WITHOUT CLUSTER"
        statements.append(f"ALTER TABLE {table} {on}")
    if ("replica" in before) != ("replica" in after):
        by = f"USING INDEX {name}" if "replica" in after else "DEFAULT"
        statements.append(f"ALTER TABLE {table} REPLICA IDENTITY {by}")
    for sql in statements:
        yield Change(title, Phase.INDEX, sql, owner=owner)


def _add_unvalidated(constraint: Entry, owner: str, *, replaces: bool) -> Iterator[Change]:
    is_reference = constraint.place["type"] == "f"
    definition = str(constraint.parts["definition"])
    yield Change(
        f"add {constraint.name}",
        Phase.REFERENCE if is_reference else Phase.CONSTRAINT,
        _replaced(constraint, replaces=replaces) + f"{definition} NOT VALID",
        mode=Mode.ALONE,
        owner=owner,
        risks=_risks(constraint),
    )
    if constraint.parts["validated"] == "yes":
        yield validate_constraint(constraint, owner, is_counted=True)


def _add_with_index(constraint: Entry, owner: str, *, replaces: bool) -> Iterator[Change]:
    definition = str(constraint.parts["definition"])
    kind = "PRIMARY KEY" if constraint.place["type"] == "p" else "UNIQUE"
    bare = str(constraint.place["bare"])
    passing = f'"{bare[:58]}_next"'
    deferrable = definition.partition(") DEFERRABLE")
    suffix = f" DEFERRABLE{deferrable[2]}" if deferrable[1] else ""
    yield _outside(
        f"build the index of {constraint.name}",
        _concurrently(str(constraint.parts["index"]), name=passing),
        owner,
        _risks(constraint),
    )
    yield Change(
        f"add {constraint.name}",
        Phase.INDEX,
        _replaced(constraint, replaces=replaces) + f"{kind} USING INDEX {passing}{suffix}",
        mode=Mode.ALONE,
        owner=owner,
    )


def _replaced(constraint: Entry, *, replaces: bool) -> str:
    name = constraint.place["name"]
    drop = f"DROP CONSTRAINT {name}, " if replaces else ""
    return f"ALTER TABLE {constraint.place['table']} {drop}ADD CONSTRAINT {name} "


def _risks(constraint: Entry) -> tuple[Risk, ...]:
    definition, table = str(constraint.parts["definition"]), constraint.place["table"]
    if found := _CHECK.fullmatch(definition):
        condition = " ".join(found["condition"].split())
        return (
            Risk(
                f"rows of {table} that break {constraint.place['name']}",
                f"SELECT count(*) FROM {table} WHERE NOT ({condition})",
            ),
        )
    if constraint.place["type"] in {"p", "u"}:
        return (_duplicates(str(table), key_of(str(constraint.parts["index"]))),)
    if found := _REFERENCE.match(definition):
        return (_orphans(constraint, found["own"].split(", "), found["their"].split(", ")),)
    return ()


def _unique_risks(index: Entry) -> tuple[Risk, ...]:
    if not index.place["unique"]:
        return ()
    return (_duplicates(table_of(index), key_of(str(index.parts["definition"]))),)


def _duplicates(table: str, key: Key) -> Risk:
    conditions = [] if key.are_nulls_equal else [f"{part} IS NOT NULL" for part in key.parts]
    if key.condition:
        conditions.append(" ".join(key.condition.split()))
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    parts = ", ".join(key.parts)
    return Risk(
        f"keys of {table} ({parts}) that stand more than once",
        f"SELECT count(*) FROM (SELECT FROM {table}{where}"
        f" GROUP BY {parts} HAVING count(*) > 1) AS twice",
    )


def _why_not(index: Entry, catalog: Catalog) -> str:
    entry = catalog.get(f"table {table_of(index)}")
    return _PARTITIONED if entry is None or "partition by" in entry.parts else _NOT_OURS


def _orphans(constraint: Entry, own: list[str], their: list[str]) -> Risk:
    table, parent = constraint.place["table"], constraint.place["references"]
    filled = " AND ".join(f"child.{name} IS NOT NULL" for name in own)
    same = " AND ".join(
        f"parent.{theirs} = child.{ours}" for ours, theirs in zip(own, their, strict=True)
    )
    return Risk(
        f"rows of {table} that point nowhere",
        f"SELECT count(*) FROM {table} AS child WHERE {filled}"
        f" AND NOT EXISTS (SELECT FROM {parent} AS parent WHERE {same})",
    )


def _concurrently(definition: str, *, name: str | None = None) -> str:
    found = _INDEX.match(definition)
    assert found is not None
    unique = found["unique"] or ""
    return (
        f"CREATE {unique}INDEX CONCURRENTLY {name or found['name']} ON {definition[found.end() :]}"
    )


def _outside(title: str, sql: str, owner: str, risks: tuple[Risk, ...]) -> Change:
    return Change(title, Phase.INDEX, sql, mode=Mode.OUTSIDE, owner=owner, risks=risks)


def _qualified(name: str) -> str:
    return name if "." in name else f"public.{name}"
