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
    text = str(entry.parts["definition"])
    return tuple(
        each.name
        for each in catalog.values()
        if each.kind == "table"
        and each.parts["row security"] == "on"
        and re.search(rf"\b{re.escape(str(each.place['bare']))}\b", text)
    )


def depth(title: str, catalog: Catalog, above: frozenset[str] = frozenset()) -> int:
    """Count how many views stand below one; a column may have the name of a view above."""
    text = str(catalog[title].parts["definition"]) if title in catalog else ""
    below = [
        each.title
        for each in catalog.values()
        if each.kind in {"view", "materialized view"}
        and each.title not in above | {title}
        and re.search(rf"\b{re.escape(each.name.rsplit('.', 1)[-1])}\b", text)
    ]
    return max((1 + depth(each, catalog, above | {title}) for each in below), default=0)
