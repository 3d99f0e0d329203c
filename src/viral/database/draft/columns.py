"""Columns that change: types, defaults, NOT NULL; and what would be lost."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from viral.database.draft.changes import Change, Mode, Phase
from viral.database.draft.tables import (
    column_clause,
    column_settings,
    identity_clause,
)
from viral.database.scripts import Risk, Waiver

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from viral.database.catalog import Catalog, Entry

_NO_DEFAULT = (Waiver("ban-drop-default", "the models have another default, or none", 0),)
_OWN_VALUES = Waiver("adding-field-with-default", "every row gets a value of its own", 0)
_DERIVED = Waiver("loss-not-counted", "what is generated can be generated again", 0)
_WIDER = Waiver("loss-not-counted", "every value fits the wider type", 0)
_NOT_REWRITTEN = Waiver("changing-column-type", "the rows stay as they are", 0)
_INTEGERS = {"smallint": 16, "integer": 32, "bigint": 64}
_TEXT = re.compile(r"character varying(\((?P<length>\d+)\))?|text")
_NUMERIC = re.compile(r"numeric(\((?P<precision>\d+),(?P<scale>-?\d+)\))?")


def add_column(column: Entry, owner: str) -> Iterator[Change]:
    """Add a column; one that must be filled is filled between two steps."""
    parts = column.parts
    needs_rows = (
        parts["not null"] != "no"
        and not parts.keys() & {"default", "generated", "identity"}
        and parts["type"] not in {"smallserial", "serial", "bigserial"}
    )
    clause = column_clause(column, is_nullable=needs_rows or None)
    table = column.place["table"]
    # Counted before the column is there: later there would be no way back to having none.
    empty = Risk(
        f"rows of {table} that have no {column.place['column']} yet",
        f"SELECT count(*) FROM {table}",
    )
    yield Change(
        f"add {column.name}",
        Phase.COLUMN,
        f"ALTER TABLE {table} ADD COLUMN {clause}",
        owner=owner,
        risks=(empty,) if needs_rows else (),
        waivers=(_OWN_VALUES,) if parts.keys() & {"generated", "identity"} else (),
    )
    for sql in column_settings(column, None):
        yield Change(f"set up {column.name}", Phase.COLUMN, sql, owner=owner)
    if needs_rows:
        yield from set_not_null(column, owner)


def drop_column(column: Entry, owner: str) -> Change:
    """Drop a column, with the count of the values that go."""
    table, name = column.place["table"], column.place["column"]
    risk = Risk(
        f"values of {table}.{name}", f"SELECT count(*) FROM {table} WHERE {name} IS NOT NULL"
    )
    is_derived = "generated" in column.parts
    return Change(
        f"drop {column.name}",
        Phase.DROP_COLUMN,
        f"ALTER TABLE {table} DROP COLUMN {name}",
        owner=owner,
        risks=() if is_derived else (risk,),
        waivers=(
            Waiver("ban-drop-column", "the models do not have this column", 0),
            *((_DERIVED,) if is_derived else ()),
        ),
    )


def alter_column(
    expected: Entry, actual: Entry, owner: str, dependents: Catalog
) -> Iterator[Change]:
    """Yield what makes a column as expected. `dependents` stand in the way of a new type."""
    before, after = actual.parts, expected.parts
    if before.get("generated") != after.get("generated"):
        yield from _regenerate(expected, actual, owner)
        return
    typed = _changes_type(before, after)

    def change(sql: str) -> Change:
        return Change(f"change {expected.name}", Phase.COLUMN, sql, owner=owner)

    head = f"ALTER TABLE {expected.place['table']} ALTER COLUMN {expected.place['column']}"
    if before.get("default") != after.get("default") and ("default" not in after or typed):
        yield replace(change(f"{head} DROP DEFAULT"), waivers=_NO_DEFAULT)
    if typed:
        yield from _change_type(expected, actual, owner, dependents)
    if "default" in after and (before.get("default") != after["default"] or typed):
        yield change(f"{head} SET DEFAULT {after['default']}")
    for sql in _identity_statements(head, before.get("identity"), after.get("identity")):
        yield change(sql)
    if before["not null"] != after["not null"]:
        if after["not null"] == "no":
            yield change(f"{head} DROP NOT NULL")
        else:
            yield from set_not_null(expected, owner)
    for sql in column_settings(expected, actual):
        yield change(sql)


def _changes_type(before: Mapping[str, object], after: Mapping[str, object]) -> bool:
    return any(before.get(part) != after.get(part) for part in ("type", "collation"))


def set_not_null(column: Entry, owner: str) -> Iterator[Change]:
    """Set NOT NULL without a long lock: the check is validated beside writers first."""
    table, name = column.place["table"], column.place["column"]
    check = f'"{column.place["bare"]}_not_null"'
    risk = Risk(
        f"rows of {table} without {name}", f"SELECT count(*) FROM {table} WHERE {name} IS NULL"
    )
    title = f"require {column.name}"
    yield Change(
        f"{title}: of rows to come",
        Phase.BACKFILL,
        f"ALTER TABLE {table} ADD CONSTRAINT {check} CHECK ({name} IS NOT NULL) NOT VALID",
        mode=Mode.ALONE,
        owner=owner,
        risks=(risk,),
    )
    yield Change(
        f"{title}: of all rows",
        Phase.CONSTRAINT,
        f"ALTER TABLE {table} VALIDATE CONSTRAINT {check}",
        mode=Mode.ALONE,
        owner=owner,
    )
    yield Change(
        f"{title}: in its definition",
        Phase.CONSTRAINT,
        f"ALTER TABLE {table} ALTER COLUMN {name} SET NOT NULL;\n"
        f"ALTER TABLE {table} DROP CONSTRAINT {check}",
        mode=Mode.ALONE,
        owner=owner,
    )


def _regenerate(expected: Entry, actual: Entry, owner: str) -> Iterator[Change]:
    table, name = expected.place["table"], expected.place["column"]
    if "generated" not in expected.parts:
        yield Change(
            f"keep {expected.name}",
            Phase.COLUMN,
            f"ALTER TABLE {table} ALTER COLUMN {name} DROP EXPRESSION",
            owner=owner,
            waivers=(Waiver("ban-drop-generated-expression", "the values stay", 0),),
        )
        return
    # A stored expression cannot be changed in place; what depends on the column follows.
    waivers = (
        Waiver("ban-drop-column", "the column is generated again from its row", 0),
        _OWN_VALUES,
        _DERIVED,
    )
    risks = () if "generated" in actual.parts else drop_column(actual, owner).risks
    yield Change(
        f"generate {expected.name}",
        Phase.COLUMN,
        f"ALTER TABLE {table} DROP COLUMN {name}, ADD COLUMN {column_clause(expected)}",
        owner=owner,
        risks=risks,
        waivers=waivers,
    )


def _identity_statements(head: str, before: object, after: object) -> Iterator[str]:
    if before == after:
        return
    if before is not None:
        yield f"{head} DROP IDENTITY"
    if after is not None:
        yield f"{head} ADD {identity_clause(str(after))}"


def _change_type(
    expected: Entry, actual: Entry, owner: str, dependents: Catalog
) -> Iterator[Change]:
    from viral.database.draft.objects import create_object, drop_object  # noqa: PLC0415 - a cycle: a view is made of columns, a column is under views

    table, name = expected.place["table"], expected.place["column"]
    kind = str(expected.parts["type"])
    collation = f" COLLATE {expected.parts['collation']}" if "collation" in expected.parts else ""
    statements = [sql for entry in dependents.values() for sql in drop_object(entry)]
    statements.append(
        f"ALTER TABLE {table} ALTER COLUMN {name} TYPE {kind}{collation} USING {name}::{kind}"
    )
    statements += [sql for entry in dependents.values() for sql in create_object(entry)]
    risk = lost_by_type(expected, actual)
    yield Change(
        f"change the type of {expected.name}",
        Phase.COLUMN,
        ";\n".join(statements),
        owner=owner,
        risks=(risk,) if risk else (),
        waivers=_waivers_of_type(expected, actual),
    )


def lost_by_type(expected: Entry, actual: Entry) -> Risk | None:
    """Count the values that another type would cut, round or refuse; None where all fit."""
    table, name = expected.place["table"], expected.place["column"]
    before, after = str(actual.parts["type"]), str(expected.parts["type"])
    if before == after or _is_wider(before, after):
        return None
    what = f"values of {table}.{name} that {after} cannot hold"
    head = f"SELECT count(*) FROM {table} WHERE"
    if before in _INTEGERS and after in _INTEGERS:
        limit = 2 ** (_INTEGERS[after] - 1)
        return Risk(what, f"{head} {name} NOT BETWEEN {-limit} AND {limit - 1}")
    if _TEXT.fullmatch(before) and (shorter := _TEXT.fullmatch(after)):
        return Risk(what, f"{head} length({name}) > {shorter['length']}")
    if _NUMERIC.fullmatch(before) and (smaller := _NUMERIC.fullmatch(after)):
        scale = int(smaller["scale"])
        limit = 10 ** (int(smaller["precision"]) - scale)
        rounded = f"round({name}, {scale})"
        return Risk(what, f"{head} {name} <> {rounded} OR abs({rounded}) >= {limit}")
    what = f"values of {table}.{name}, from {before} to {after}"
    return Risk(what, f"{head} {name} IS NOT NULL")


def _waivers_of_type(expected: Entry, actual: Entry) -> tuple[Waiver, ...]:
    """Answer the rules that a type breaks by its name alone; a rewritten table is for a person."""
    before, after = str(actual.parts["type"]), str(expected.parts["type"])
    if lost_by_type(expected, actual) is not None:
        return ()
    return (_WIDER,) if _is_rewritten(before, after) else (_WIDER, _NOT_REWRITTEN)


def _is_wider(before: str, after: str) -> bool:
    if before in _INTEGERS and after in _INTEGERS:
        return _INTEGERS[before] <= _INTEGERS[after]
    if before in _INTEGERS and after == "numeric":
        return True
    one, other = _TEXT.fullmatch(before), _TEXT.fullmatch(after)
    if one and other:
        return other["length"] is None or (
            one["length"] is not None and int(one["length"]) <= int(other["length"])
        )
    one, other = _NUMERIC.fullmatch(before), _NUMERIC.fullmatch(after)
    if one and other:
        return other["scale"] is None or (one["scale"] is not None and _has_room(one, other))
    return False


def _has_room(one: re.Match[str], other: re.Match[str]) -> bool:
    more_places = int(other["scale"]) - int(one["scale"])
    return 0 <= more_places <= int(other["precision"]) - int(one["precision"])


def _is_rewritten(before: str, after: str) -> bool:
    """Tell whether PostgreSQL copies the table (manual, notes on ALTER TABLE)."""
    if _TEXT.fullmatch(before) and _TEXT.fullmatch(after):
        return False
    one, other = _NUMERIC.fullmatch(before), _NUMERIC.fullmatch(after)
    return not (one and other and other["scale"] in {None, one["scale"]})
