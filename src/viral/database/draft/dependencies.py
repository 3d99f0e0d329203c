"""What depends on what, by the names in definitions: views on tables, policies on columns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from viral.database.catalog import Catalog, Entry


def dependents(column: Entry, catalog: Catalog) -> Catalog:
    """List policies and views that name a column: PostgreSQL changes no type under them."""
    word = re.compile(rf"\b{re.escape(str(column.place['bare']))}\b")
    table = re.compile(rf"\b{re.escape(str(column.place['table']).split('.')[-1])}\b")
    found: Catalog = {}
    for title, entry in catalog.items():
        if entry.kind == "policy":
            text = f"{entry.parts.get('using')} {entry.parts.get('with check')}"
            is_near = entry.place["table"] == column.place["table"] or table.search(text)
        elif entry.kind in {"view", "materialized view"}:
            text = str(entry.parts["definition"])
            is_near = table.search(text)
        else:
            continue
        if is_near and word.search(text):
            found[title] = entry
    return found


def read_by(entry: Entry, catalog: Catalog) -> tuple[str, ...]:
    """List the tables under row security that a materialized view is filled from."""
    if entry.kind != "materialized view":
        return ()
    texts = [str(each.parts["definition"]) for each in (entry, *_under(entry, catalog))]
    return tuple(
        each.name
        for each in catalog.values()
        if each.kind == "table"
        and each.parts["row security"] == "on"
        and any(_names(each, text) for text in texts)
    )


def depth(title: str, catalog: Catalog) -> int:
    """Count the views that have to be there before one."""
    return len(_under(catalog[title], catalog)) if title in catalog else 0


def _under(view: Entry, catalog: Catalog) -> list[Entry]:
    """List the views that a view reads, and those that these read."""
    found, texts = [view], [str(view.parts["definition"])]
    for text in texts:
        for each in catalog.values():
            is_view = each.kind in {"view", "materialized view"}
            if is_view and each not in found and _names(each, text):
                found.append(each)
                texts.append(str(each.parts["definition"]))
    return found[1:]


def _names(relation: Entry, text: str) -> bool:
    bare = relation.name.rsplit(".", 1)[-1].strip('"')
    return re.search(rf"\b{re.escape(bare)}\b", text) is not None
