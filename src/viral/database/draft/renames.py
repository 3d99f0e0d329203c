"""Constraints and indexes of which nothing but the name is another: renamed, not built again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viral.database.draft.changes import Change, Phase, table_of
from viral.database.scripts import Waiver

if TYPE_CHECKING:
    from collections.abc import Iterable

    from viral.database.catalog import Difference, Entry

_KINDS = ("constraint", "index")
_NAME = re.compile(r"INDEX (\"[^\"]*\"|\S+) ON ")


def renamed(found: Iterable[Difference]) -> list[tuple[Entry, Entry]]:
    """Pair what goes with what comes in its place."""
    whole = [each for each in found if each.is_whole and each.entry.kind in _KINDS]
    going = [each.actual for each in whole if each.actual is not None]
    pairs = []
    for each in whole:
        if each.expected is None:
            continue
        old = next((entry for entry in going if _said(entry) == _said(each.expected)), None)
        if old is not None:
            going.remove(old)
            pairs.append((old, each.expected))
    return pairs


def rename(old: Entry, new: Entry, owner: str) -> Change:
    """Give the old one the name of the other."""
    title = f"rename {old.name} to {new.place['bare']}"
    if old.kind == "index":
        sql = f'ALTER INDEX {old.name} RENAME TO "{new.place["bare"]}"'
    else:
        names = f"{old.place['name']} TO {new.place['name']}"
        sql = f"ALTER TABLE {table_of(old)} RENAME CONSTRAINT {names}"
    waiver = Waiver("renaming-object", "the models have this name for it", 0)
    return Change(title, Phase.RENAME, sql, owner=owner, locks=table_of(old), waivers=(waiver,))


def _said(entry: Entry) -> tuple[str, str, dict[str, str]]:
    """Say all of an object but its name."""
    parts = {part: _NAME.sub("INDEX ON ", str(value)) for part, value in entry.parts.items()}
    return entry.kind, table_of(entry), parts
