"""The order of changes of one phase: what others name comes before them."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from viral.database.draft.changes import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from viral.database.catalog import Catalog, Entry
    from viral.database.draft.changes import Change

# Objects that others of the same phase are made of.
_NEEDED = {"schema", "type", "function", "procedure", "view", "materialized view"}


# Privileges on these are needed where they are used.
_FIRST = {
    "schema": Phase.SCHEMA,
    "type": Phase.TYPE,
    "sequence": Phase.SEQUENCE,
    "function": Phase.FUNCTION,
    "procedure": Phase.FUNCTION,
}


def in_order(changes: Iterable[Change], catalog: Catalog) -> Iterator[Change]:
    """Put a view after the views it reads, a type after those it is made of, and so on."""
    moved = [replace(change, phase=_phase(change, catalog)) for change in changes]
    moved.sort(key=lambda change: change.phase)
    for _, group in groupby(moved, key=lambda change: change.phase):
        yield from _sorted(list(group), catalog)


def _phase(change: Change, catalog: Catalog) -> Phase:
    # A materialized view has indexes of its own.
    if change.phase is Phase.INDEX:
        return Phase.VIEW
    entry = catalog.get(change.title.removeprefix("create "))
    if entry is None or entry.kind != "grant":
        return change.phase
    return _FIRST.get(str(entry.place["object"]).split(" ")[0], change.phase)


def _sorted(changes: list[Change], catalog: Catalog) -> Iterator[Change]:
    waiting: dict[str, str] = {}
    for change in changes:
        waiting[change.title] = f"{waiting.get(change.title, '')} {change.sql}"
    names = {
        title: _name_of(entry)
        for title in waiting
        if (entry := catalog.get(title.removeprefix("create "))) and entry.kind in _NEEDED
    }
    while waiting:
        free = [
            title
            for title, sql in waiting.items()
            if not any(
                name.search(sql)
                for other, name in names.items()
                if other in waiting and other != title
            )
        ]
        # On a circle the order of the names is as good as any.
        for title in free or list(waiting):
            del waiting[title]
            yield from (change for change in changes if change.title == title)


def _name_of(entry: Entry) -> re.Pattern[str]:
    """Find an object's name in SQL: with its schema, or without where that is `public`."""
    name = entry.name.removeprefix("public.").split("(")[0]
    return re.compile(rf'(?<![\w".])(?:public\.)?{re.escape(name)}(?![\w"])')
