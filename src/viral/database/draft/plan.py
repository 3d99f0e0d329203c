"""The whole draft: differences become changes, in an order that works."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from viral.database.catalog import Catalog, Difference, Entry, differences
from viral.database.draft import columns, constraints, tables
from viral.database.draft.changes import Change, Mode, Phase, owner_of
from viral.database.draft.dependencies import dependents, depth, read_by
from viral.database.draft.fresh import FreshTables
from viral.database.draft.objects import (
    OPEN_TO_PUBLIC,
    create_object,
    drop_object,
    sequence_owner,
)
from viral.database.draft.renames import rename, renamed
from viral.database.draft.statements import altered, drop_rule, phases_of, said_of
from viral.database.scripts import Risk, Waiver

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOCKING = {"table", "column", "constraint", "index", "policy", "trigger", "rule"}
# PostgreSQL prints `name IN ('a', 'b')` of a varying length so, and would read a cast of each word.
_WORDS = re.compile(r"\(ARRAY\[((?:'(?:[^']|'')*'::character varying(?:, )?)+)\]\)::text\[\]")
_FRESH_VIEW = Waiver("require-concurrent-index-creation", "the view is made in this migration", 0)
# Who owns these is said by a statement of its own.
_OWNED = {
    "table": "TABLE",
    "view": "VIEW",
    "materialized view": "MATERIALIZED VIEW",
    "sequence": "SEQUENCE",
    "function": "FUNCTION",
    "procedure": "PROCEDURE",
    "aggregate": "AGGREGATE",
    "type": "TYPE",
    "schema": "SCHEMA",
    "statistics": "STATISTICS",
    "publication": "PUBLICATION",
    "event trigger": "EVENT TRIGGER",
}


@dataclass(frozen=True, slots=True)
class Draft:
    """The changes that lead from one catalogue to another, and what no statement can change."""

    changes: list[Change]
    impossible: list[Difference]


def draft(expected: Catalog, actual: Catalog) -> Draft:
    """Find the SQL that makes `actual` into `expected`, one round of it.

    What a statement takes along (the privileges of a view that is made again) is seen in the
    catalogue after it: draft again until nothing differs.
    """
    planner = _Planner(expected, actual)
    found_differences = differences(expected, actual)
    pairs = renamed(found_differences)
    titles = {entry.title for pair in pairs for entry in pair}
    changes = [rename(old, new, owner_of(old, actual)) for old, new in pairs]
    impossible: list[Difference] = []
    for difference in found_differences:
        if difference.title in titles or planner.comes_along(difference):
            continue
        found = [planner.completed(each, difference) for each in planner.changes(difference)]
        changes += found
        if not found:
            impossible.append(difference)
    return Draft(_with_one_drop(sorted(changes, key=planner.order)), impossible)


def _with_one_drop(changes: list[Change]) -> list[Change]:
    """Drop tables of one owner in one statement: they may depend on each other in a ring."""
    drops = [change for change in changes if change.phase is Phase.DROP_TABLE]
    merged = []
    for owner in dict.fromkeys(change.owner for change in drops):
        found = [change for change in drops if change.owner == owner]
        names = [change.sql.removeprefix("DROP TABLE ") for change in found]
        merged.append(
            replace(
                found[0],
                title=f"drop {', '.join(names)}",
                sql=f"DROP TABLE {', '.join(names)}",
                risks=tuple(risk for change in found for risk in change.risks),
            )
        )
    others = [change for change in changes if change.phase is not Phase.DROP_TABLE]
    return sorted([*others, *merged], key=lambda change: change.phase)


class _Planner:
    """Both catalogues, and what depends on what in them."""

    def __init__(self, expected: Catalog, actual: Catalog) -> None:
        self._expected = expected
        self._actual = actual
        self._fresh = FreshTables(expected, actual)

    def comes_along(self, difference: Difference) -> bool:
        """Tell whether an object comes or goes with its table, column or object."""
        entry = difference.entry
        if difference.expected is None:
            return self._goes_along(entry)
        if difference.actual is not None:
            return entry.kind == "index" and self._is_made_again(entry)
        if self._is_granted_by_default(entry):
            return True
        table = f"table {entry.place.get('table')}"
        is_fresh = table in self._expected and table not in self._actual
        if not is_fresh:
            return False
        if entry.kind == "constraint":
            return self._fresh.comes_along(entry)
        return entry.kind == "column"

    def completed(self, change: Change, difference: Difference) -> Change:
        """Add the table that is locked, and write what PostgreSQL prints so that it reads it."""
        entry, table = difference.entry, f"table {difference.entry.place.get('table')}"
        locks = table.removeprefix("table ") if table in self._actual else None
        return replace(
            change,
            sql=change.sql if change.phase is Phase.FUNCTION else _as_printed(change.sql),
            locks=locks if entry.kind in _LOCKING else None,
        )

    def order(self, change: Change) -> tuple[int, int]:
        """Sort by phase, and what is needed by others of its phase before them."""
        name = change.title.split(" ", 1)[1]
        match change.phase:
            case Phase.TABLE:
                return change.phase, self._fresh.position(name)
            case Phase.VIEW:
                return change.phase, depth(name, self._expected)
            case Phase.DROP_VIEW:
                return change.phase, -depth(name, self._actual)
        return change.phase, 0

    def changes(self, difference: Difference) -> Iterator[Change]:
        """Yield what one difference asks for; nothing when no statement can do it."""
        expected, actual = difference.expected, difference.actual
        if expected is None:
            assert actual is not None
            yield from self._drop(actual)
        elif actual is None:
            yield from self._create(expected)
        else:
            yield from self._alter(expected, actual)

    def _is_granted_by_default(self, entry: Entry) -> bool:
        """Tell whether PostgreSQL itself lets everybody use a fresh function or type."""
        title = str(entry.place.get("object"))
        is_open = entry.kind == "grant" and title.split(" ", 1)[0] in OPEN_TO_PUBLIC
        return is_open and entry.place["role"] == "PUBLIC" and title not in self._actual

    def _goes_along(self, entry: Entry) -> bool:
        gone = self._actual.keys() - self._expected.keys()
        if str(entry.place.get("object")) in gone:
            return True
        table = entry.place.get("table")
        kinds = ("table", "view", "materialized view", "foreign table")
        if entry.kind not in kinds and any(f"{kind} {table}" in gone for kind in kinds):
            # A foreign key goes first: two tables may point at each other.
            return not (entry.kind == "constraint" and entry.place["type"] == "f")
        return False

    def _create(self, entry: Entry) -> Iterator[Change]:
        owner = owner_of(entry, self._expected, self._actual)
        match entry.kind:
            case "table":
                made_with = self._fresh.made_with(entry.name)
                for sql in tables.create_table(entry, self._expected, made_with):
                    yield Change(f"create {entry.name}", Phase.TABLE, sql, owner=owner)
            case "column":
                yield from columns.add_column(entry, owner)
            case "constraint" if self._points_across(entry):
                yield Change(
                    f"add {entry.name}",
                    Phase.REFERENCE_ACROSS,
                    f"ALTER TABLE {entry.place['table']} ADD CONSTRAINT {entry.place['name']}"
                    f" {entry.parts['definition']}",
                    owner=owner,
                )
            case "constraint":
                yield from constraints.add_constraint(entry, owner, self._expected)
            case "index" if self._is_fresh(entry):
                sql = str(entry.parts["definition"]).replace(" ON ONLY ", " ON ", 1)
                is_of_table = f"table {entry.place['table']}" in self._expected
                yield Change(
                    f"build {entry.name}",
                    Phase.INDEX if is_of_table else Phase.VIEW_INDEX,
                    sql,
                    owner=owner,
                    waivers=() if is_of_table else (_FRESH_VIEW,),
                )
            case "index":
                yield from constraints.add_index(entry, owner, self._expected)
            case _:
                yield from self._create_rest(entry, owner)

    def _create_rest(self, entry: Entry, owner: str) -> Iterator[Change]:
        said = said_of(entry, give=True)
        if said is None:
            phase = phases_of(entry.kind)[0]
            said = phase, list(self._make(entry))
        phase, statements = said
        in_sight = read_by(entry, self._expected)
        for sql in statements:
            yield Change(f"create {entry.title}", phase, sql, owner=owner, in_sight=in_sight)
        if entry.kind == "sequence" and "owned by" in entry.parts:
            yield Change(f"tie {entry.title}", Phase.BACKFILL, sequence_owner(entry), owner=owner)

    def _make(self, entry: Entry) -> Iterator[str]:
        yield from create_object(entry)
        yield from self._closed(entry)

    def _closed(self, entry: Entry) -> Iterator[str]:
        """Keep everybody out of what PostgreSQL would open to all."""
        word = OPEN_TO_PUBLIC.get(entry.kind)
        if word and f"grant {entry.title} to PUBLIC" not in self._expected:
            yield f"REVOKE ALL ON {word} {entry.name} FROM PUBLIC"

    def _drop(self, entry: Entry) -> Iterator[Change]:
        owner = owner_of(entry, self._actual)
        match entry.kind:
            case "table":
                yield _drop_table(entry, owner)
            case "column":
                yield columns.drop_column(entry, owner)
            case "constraint":
                yield constraints.drop_constraint(entry, owner)
            case "index":
                yield constraints.drop_index(entry, owner, self._actual)
            case _:
                said = said_of(entry, give=False)
                phase = said[0] if said else phases_of(entry.kind)[1]
                reason = f"the models do not have this {entry.kind}"
                waivers = (Waiver(drop_rule(entry), reason, 0),)
                for sql in said[1] if said else drop_object(entry):
                    yield Change(f"drop {entry.title}", phase, sql, owner=owner, waivers=waivers)

    def _alter(self, expected: Entry, actual: Entry) -> Iterator[Change]:
        if expected.parts.get("owner") != actual.parts.get("owner"):
            yield from self._change_owner(expected, actual)
            return
        owner = owner_of(expected, self._actual, self._expected)
        match expected.kind:
            case "column":
                in_the_way = dependents(actual, self._actual)
                yield from columns.alter_column(expected, actual, owner, in_the_way)
            case "constraint":
                yield from self._change_constraint(expected, actual, owner)
            case "index":
                yield from self._change_index(expected, actual, owner)
            case _:
                yield from self._alter_rest(expected, actual, owner)

    def _alter_rest(self, expected: Entry, actual: Entry, owner: str) -> Iterator[Change]:
        phase, statements = altered(expected, actual)
        if expected.kind in {"function", "procedure"}:
            statements += self._closed(expected)
        waiver = Waiver(drop_rule(expected), "it is made again in the same step", 0)
        for sql in statements:
            yield Change(
                f"change {expected.title}",
                phase,
                sql,
                # A label cannot be used before its transaction ends.
                mode=Mode.ALONE if " ADD VALUE " in sql else Mode.TOGETHER,
                owner=owner,
                in_sight=read_by(expected, self._expected),
                waivers=(waiver,) if sql.startswith("DROP ") else (),
            )
        if any(sql.startswith("DROP ") for sql in statements):
            yield from self._said_again(expected, owner)

    def _said_again(self, entry: Entry, owner: str) -> Iterator[Change]:
        """Repeat the privileges and comments that an object loses when it is made again."""
        for each in self._expected.values():
            is_default = entry.kind in OPEN_TO_PUBLIC and each.place.get("role") == "PUBLIC"
            is_lost = each.place.get("object") == entry.title and each.title in self._actual
            if is_lost and not is_default:
                phase, statements = said_of(each, give=True) or (Phase.COMMENT, [])
                for sql in statements:
                    yield Change(f"create {each.title}", phase, sql, owner=owner)

    def _change_owner(self, expected: Entry, actual: Entry) -> Iterator[Change]:
        if expected.kind in _OWNED:
            sql = (
                f"ALTER {_OWNED[expected.kind]} {expected.name} OWNER TO {expected.parts['owner']}"
            )
            before = str(actual.parts["owner"])
            yield Change(f"change the owner of {expected.title}", Phase.OWNER, sql, owner=before)

    def _change_constraint(self, expected: Entry, actual: Entry, owner: str) -> Iterator[Change]:
        before, after = actual.parts, expected.parts
        same = before["definition"] == after["definition"]
        if same and before["validated"] == "no" and after["validated"] == "yes":
            yield constraints.validate_constraint(expected, owner)
        elif before.get("index is") != after.get("index is"):
            index = str(expected.place["bare"])
            yield from constraints.mark_index(
                expected, actual, f'"{index}"', owner, part="index is"
            )
        else:
            yield from constraints.add_constraint(expected, owner, self._expected, replaces=True)

    def _change_index(self, expected: Entry, actual: Entry, owner: str) -> Iterator[Change]:
        if expected.parts["definition"] == actual.parts["definition"]:
            name = f'"{expected.place["bare"]}"'
            yield from constraints.mark_index(expected, actual, name, owner, part="is")
        else:
            yield from constraints.replace_index(expected, owner, self._expected)

    def _points_across(self, entry: Entry) -> bool:
        """Tell whether a fresh table points at one of another owner."""
        if not self._is_fresh(entry) or entry.place["type"] != "f":
            return False
        parent = str(entry.place["references"])
        title = f"table {parent if '.' in parent else f'public.{parent}'}"
        return self._expected[title].parts["owner"] != owner_of(entry, self._expected)

    def _is_made_again(self, index: Entry) -> bool:
        """Tell whether an index goes with a materialized view whose query is another."""
        title = f"materialized view {index.place['table']}"
        if title not in self._expected or title not in self._actual:
            return False
        before, after = self._actual[title].parts, self._expected[title].parts
        return before["definition"] != after["definition"]

    def _is_fresh(self, entry: Entry) -> bool:
        table = f"table {entry.place['table']}"
        view = f"materialized view {entry.place['table']}"
        return table not in self._actual and (table in self._expected or view in self._expected)


def _as_printed(sql: str) -> str:
    return _WORDS.sub(r"(ARRAY[\1]::character varying[])::text[]", sql)


def _drop_table(table: Entry, owner: str) -> Change:
    risk = Risk(f"rows of {table.name}", f"SELECT count(*) FROM {table.name}")
    return Change(
        f"drop {table.name}",
        Phase.DROP_TABLE,
        f"DROP TABLE {table.name}",
        owner=owner,
        risks=(risk,),
        waivers=(Waiver("ban-drop-table", "the models do not have this table", 0),),
    )
