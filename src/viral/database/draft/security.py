"""Policies and privileges."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viral.database.draft.changes import texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.database.catalog import Entry

_OPTION = " (may pass on)"


def create_policy(policy: Entry) -> str:
    """Write a policy with all it says."""
    parts = policy.parts
    words = [f"CREATE POLICY {policy.place['name']} ON {policy.place['table']}"]
    words.append(f"AS {str(parts['kind']).upper()} FOR {parts['command']}")
    words.append(f"TO {', '.join(texts(parts, 'roles'))}")
    return " ".join([*words, *_conditions(policy)])


def change_policy(expected: Entry, actual: Entry) -> Iterator[str]:
    """Change a policy in place where PostgreSQL can; else put another in its place."""
    same = all(
        expected.parts.get(name) == actual.parts.get(name) for name in ("kind", "command")
    ) and all(
        (name in expected.parts) == (name in actual.parts) for name in ("using", "with check")
    )
    name, table = expected.place["name"], expected.place["table"]
    if same:
        roles = ", ".join(texts(expected.parts, "roles"))
        words = [f"ALTER POLICY {name} ON {table} TO {roles}", *_conditions(expected)]
        yield " ".join(words)
    else:
        yield f"DROP POLICY {name} ON {table}"
        yield create_policy(expected)


def grant(entry: Entry) -> Iterator[str]:
    """Grant all privileges of an entry."""
    yield from _grants(entry, texts(entry.parts, "privileges"))


def revoke(entry: Entry) -> Iterator[str]:
    """Take all privileges of an entry back."""
    yield _on(entry, "REVOKE ALL{columns} ON {target} FROM {role}")


def change_grant(expected: Entry, actual: Entry) -> Iterator[str]:
    """Take back what is too much, grant what is missing."""
    before, after = texts(actual.parts, "privileges"), texts(expected.parts, "privileges")
    names = {each.removesuffix(_OPTION) for each in after}
    plain = {each: each.removesuffix(_OPTION) for each in before}
    gone = [right for right in plain.values() if right not in names]
    held = [
        right for each, right in plain.items() if right in names and each not in {right, *after}
    ]
    yield from _revokes(expected, "REVOKE", gone)
    yield from _revokes(expected, "REVOKE GRANT OPTION FOR", held)
    kept = {each.removesuffix(_OPTION) for each in before}
    missing = [
        each
        for each in after
        if each not in before and (each.endswith(_OPTION) or each not in kept)
    ]
    yield from _grants(expected, missing)


def owner_rights(entry: Entry, *, give: bool) -> str:
    """Give an owner the rights it lost, or take them."""
    rights = ", ".join(texts(entry.parts, "missing"))
    form = (
        "GRANT {0} ON {{target}} TO {{role}}" if give else "REVOKE {0} ON {{target}} FROM {{role}}"
    )
    return _on(entry, form.format(rights))


def default_privileges(entry: Entry, *, give: bool) -> Iterator[str]:
    """Set or take back what objects made later will be granted."""
    place = entry.place
    where = f" IN SCHEMA {place['schema']}" if place.get("schema") else ""
    head = f"ALTER DEFAULT PRIVILEGES FOR ROLE {place['owner']}{where}"
    for part in ("privileges", "withheld"):
        if not (privileges := texts(entry.parts, part)):
            continue
        gives = give == (part == "privileges")
        verb, preposition = ("GRANT", "TO") if gives else ("REVOKE", "FROM")
        rights = ", ".join(each.removesuffix(_OPTION) for each in privileges)
        option = ""
        if gives and any(each.endswith(_OPTION) for each in privileges):
            option = " WITH GRANT OPTION"
        yield f"{head} {verb} {rights} ON {place['on']} {preposition} {place['role']}{option}"


def _conditions(policy: Entry) -> Iterator[str]:
    if "using" in policy.parts:
        yield f"USING ({_bare(str(policy.parts['using']))})"
    if "with check" in policy.parts:
        yield f"WITH CHECK ({_bare(str(policy.parts['with check']))})"


def _bare(expression: str) -> str:
    # PostgreSQL names the column of a sub-select after its function; without it reads better.
    return re.sub(r"\( ?SELECT (viral\.tenant_id\(\)) AS tenant_id\)", r"(SELECT \1)", expression)


def _grants(entry: Entry, privileges: list[str]) -> Iterator[str]:
    plain = [each for each in privileges if not each.endswith(_OPTION)]
    with_option = [each.removesuffix(_OPTION) for each in privileges if each.endswith(_OPTION)]
    for rights, option in ((plain, ""), (with_option, " WITH GRANT OPTION")):
        if rights:
            listed = ", ".join(f"{right}{{columns}}" for right in rights)
            yield _on(entry, f"GRANT {listed} ON {{target}} TO {{role}}{option}")


def _revokes(entry: Entry, verb: str, rights: list[str]) -> Iterator[str]:
    if rights:
        listed = ", ".join(f"{right}{{columns}}" for right in rights)
        yield _on(entry, f"{verb} {listed} ON {{target}} FROM {{role}}")


def _on(entry: Entry, form: str) -> str:
    place = entry.place
    columns = f" ({place['column']})" if "column" in place else ""
    target = place["on"]
    if target != "DATABASE":
        return form.format(columns=columns, target=target, role=place["role"])
    # A migration does not know what the database is called.
    sql = form.format(columns="", target="DATABASE %I", role=place["role"])
    return f"DO $$ BEGIN EXECUTE format('{sql}', current_database()); END $$"
