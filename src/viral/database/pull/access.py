"""Owners, row security, policies and privileges as arguments of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.database.draft.changes import texts
from viral.database.pull.definitions import unquoted, without_brackets
from viral.database.pull.source import Call, Text, tuple_of
from viral.schema.security import OWNER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.database.catalog import Entry
    from viral.database.pull.entries import TableEntries
    from viral.database.pull.source import Node

_OPTION = " (may pass on)"
_ORDER = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")
_WRITING = {"ALL", "UPDATE"}


def access_nodes(entries: TableEntries, *, builder: str | None) -> Iterator[Node]:
    """Yield all that a table says of who may touch it."""
    parts = entries.table.parts
    if builder is not None and parts["owner"] != OWNER:
        yield Call("OwnedBy(", [Text(str(parts["owner"]))])
    switches = parts["row security"] == "on", parts["force row security"] == "on"
    if switches != (True, True):
        yield f"RowSecurity(is_enabled={switches[0]}, is_forced={switches[1]})"
    yield from (_policy(policy) for policy in entries.policies if can_say(policy))
    yield from _grants(entries)


def can_say(policy: Entry) -> bool:
    """Tell whether a class can state a policy: it checks what is written when it says so."""
    is_silent = "using" in policy.parts and "with check" not in policy.parts
    return not (is_silent and policy.parts["command"] in _WRITING)


def _policy(policy: Entry) -> Node:
    parts = policy.parts
    items: list[Node] = [Text(str(policy.place["bare"]))]
    items += [Text(role) for role in texts(parts, "roles")]
    using, check = parts.get("using"), parts.get("with check")
    items.append("using=None" if using is None else Text(without_brackets(str(using)), "using="))
    if parts["command"] != "ALL":
        items.append(Text(str(parts["command"]), "command="))
    if check not in {None, using}:
        items.append(Text(without_brackets(str(check)), "check="))
    if parts["kind"] == "restrictive":
        items.append("is_restrictive=True")
    return Call("Policy(", items)


def _grants(entries: TableEntries) -> Iterator[Node]:
    for option in (False, True):
        columns: dict[tuple[str, tuple[str, ...], bool], list[str]] = {}
        for entry in sorted(entries.grants, key=lambda entry: _position(entry, entries)):
            if privileges := _privileges(entry, with_option=option):
                key = str(entry.place["role"]), privileges, "column" in entry.place
                columns.setdefault(key, [])
                if "column" in entry.place:
                    columns[key].append(unquoted(str(entry.place["column"])))
        for (role, privileges, _), names in columns.items():
            items: list[Node] = [Text(role), *(Text(privilege) for privilege in privileges)]
            if names:
                items.append(tuple_of([Text(name) for name in names], "columns="))
            if option:
                items.append("may_pass_on=True")
            yield Call("Grant(", items)


def _privileges(entry: Entry, *, with_option: bool) -> tuple[str, ...]:
    found = texts(entry.parts, "privileges")
    chosen = (each.removesuffix(_OPTION) for each in found if each.endswith(_OPTION) == with_option)
    return tuple(sorted(chosen, key=_ORDER.index))


def _position(entry: Entry, entries: TableEntries) -> int:
    """Put privileges on the table first, then those on columns in their order."""
    if "column" not in entry.place:
        return -1
    return entries.column_names.index(unquoted(str(entry.place["column"])))
