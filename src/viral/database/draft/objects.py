"""The SQL of everything that is no table: functions, views, triggers, types and the like."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viral.database.draft.changes import literal, texts
from viral.database.draft.security import create_policy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from viral.database.catalog import Entry

_ENABLED = {
    "yes": "ENABLE",
    "no": "DISABLE",
    "replica": "ENABLE REPLICA",
    "always": "ENABLE ALWAYS",
}
_ATTRIBUTE = re.compile(r'"[^"]*"|\S+')
# PostgreSQL lets everybody use what is made of these kinds.
OPEN_TO_PUBLIC = {"function": "FUNCTION", "procedure": "PROCEDURE", "type": "TYPE"}


def create_object(entry: Entry) -> Iterator[str]:  # noqa: C901, PLR0912 - one case a kind
    """Yield the SQL that makes an object; nothing where it cannot be written from its parts."""
    name, parts = entry.name, entry.parts
    match entry.kind:
        case "schema":
            yield f"CREATE SCHEMA {name}"
        case "extension":
            yield f"CREATE EXTENSION {name} WITH SCHEMA {parts['schema']}"
        case "function" | "procedure":
            yield str(parts["definition"])
        case "view" | "materialized view":
            yield _view(entry)
            yield from _column_defaults(entry)
        case "trigger" | "rule":
            yield str(parts["definition"]).rstrip(";")
            yield from _firing(entry, "yes")
        case "event trigger":
            yield _event_trigger(entry)
            if parts["enabled"] != "yes":
                yield f"ALTER EVENT TRIGGER {name} {_ENABLED[str(parts['enabled'])]}"
        case "sequence":
            yield _sequence("CREATE", entry)
        case "type":
            yield from _type(entry)
        case "statistics":
            yield str(parts["definition"])
            if "target" in parts:
                yield f"ALTER STATISTICS {name} SET STATISTICS {parts['target']}"
        case "publication":
            yield _publication(entry)
        case "policy":
            yield create_policy(entry)


def drop_object(entry: Entry) -> Iterator[str]:
    """Yield the SQL that removes an object; nothing where that is not for a migration."""
    match entry.kind:
        case "trigger" | "rule" | "policy":
            word = entry.kind.upper()
            yield f"DROP {word} {entry.place['name']} ON {entry.place['table']}"
        case (
            "schema"
            | "extension"
            | "function"
            | "procedure"
            | "aggregate"
            | "view"
            | "sequence"
            | "materialized view"
            | "event trigger"
            | "type"
            | "statistics"
            | "publication"
            | "foreign table"
            | "foreign server"
            | "subscription"
            | "collation"
            | "text search configuration"
        ):
            yield f"DROP {entry.kind.upper()} {entry.name}"
        case "foreign-data wrapper":
            yield f"DROP FOREIGN DATA WRAPPER {entry.name}"


def change_object(expected: Entry, actual: Entry) -> Iterator[str]:  # noqa: C901 - one case a kind
    """Yield the SQL that changes an object; put another in its place where that must be."""
    before, after = actual.parts, expected.parts
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    match expected.kind:
        case "function" | "procedure" if _signature(before) == _signature(after):
            yield str(after["definition"])
        case "trigger" | "rule" if changed == {"enabled"}:
            yield from _firing(expected, str(before["enabled"]))
        case "event trigger" if changed == {"enabled"}:
            yield f"ALTER EVENT TRIGGER {expected.name} {_ENABLED[str(after['enabled'])]}"
        case "view" if changed == {"options"}:
            yield from _view_options(expected, actual)
        case "materialized view" if changed == {"populated"}:
            yield f"REFRESH MATERIALIZED VIEW {expected.name}"
        case "sequence" if "persistence" not in changed:
            yield _sequence("ALTER", expected)
        case "type" if expected.parts["kind"] == actual.parts["kind"]:
            yield from _change_type(expected, actual)
        case "extension" if changed == {"version"}:
            yield f"ALTER EXTENSION {expected.name} UPDATE TO {literal(after['version'])}"
        case "statistics" if changed == {"target"}:
            yield f"ALTER STATISTICS {expected.name} SET STATISTICS {after.get('target', -1)}"
        case _:
            made = list(create_object(expected))
            if made:
                yield from drop_object(actual)
                yield from made


def _signature(parts: Mapping[str, object]) -> str:
    # The first lines of pg_get_functiondef: the arguments, and what is returned.
    return "\n".join(str(parts["definition"]).splitlines()[:2])


def _view(entry: Entry) -> str:
    options = texts(entry.parts, "options")
    with_options = f" WITH ({', '.join(options)})" if options else ""
    definition = str(entry.parts["definition"]).strip().removesuffix(";")
    empty = "\nWITH NO DATA" if entry.parts.get("populated") == "no" else ""
    return f"CREATE {entry.kind.upper()} {entry.name}{with_options} AS\n{definition}{empty}"


def _column_defaults(entry: Entry) -> Iterator[str]:
    for each in texts(entry.parts, "column defaults"):
        column, default = each.split(": ", 1)
        yield f'ALTER VIEW {entry.name} ALTER COLUMN "{column}" SET DEFAULT {default}'


def _view_options(expected: Entry, actual: Entry) -> Iterator[str]:
    before, after = texts(actual.parts, "options"), texts(expected.parts, "options")
    gone = {each.split("=")[0] for each in before} - {each.split("=")[0] for each in after}
    if gone:
        yield f"ALTER VIEW {expected.name} RESET ({', '.join(sorted(gone))})"
    if added := [each for each in after if each not in before]:
        yield f"ALTER VIEW {expected.name} SET ({', '.join(added)})"


def _firing(entry: Entry, before: str) -> Iterator[str]:
    if entry.parts["enabled"] != before:
        verb = f"{_ENABLED[str(entry.parts['enabled'])]} {entry.kind.upper()}"
        yield f"ALTER TABLE {entry.place['table']} {verb} {entry.place['name']}"


def _event_trigger(entry: Entry) -> str:
    parts = entry.parts
    tags = ", ".join(literal(tag) for tag in texts(parts, "tags"))
    condition = f" WHEN TAG IN ({tags})" if tags else ""
    return (
        f"CREATE EVENT TRIGGER {entry.name} ON {parts['event']}{condition}"
        f" EXECUTE FUNCTION {parts['function']}()"
    )


def _sequence(verb: str, entry: Entry) -> str:
    parts = entry.parts
    unlogged = "UNLOGGED " if verb == "CREATE" and "persistence" in parts else ""
    cycle = "CYCLE" if "cycle" in parts else "NO CYCLE"
    return (
        f"{verb} {unlogged}SEQUENCE {entry.name} AS {parts['type']} START {parts['start']}"
        f" INCREMENT {parts['increment']} MINVALUE {parts['minimum']} MAXVALUE {parts['maximum']}"
        f" CACHE {parts['cache']} {cycle}"
    )


def sequence_owner(entry: Entry) -> str:
    """Say which column a sequence goes with."""
    return f"ALTER SEQUENCE {entry.name} OWNED BY {entry.parts.get('owned by', 'NONE')}"


def _publication(entry: Entry) -> str:
    parts = entry.parts
    targets = [f"TABLE {each}" for each in texts(parts, "tables")]
    targets += [f"TABLES IN SCHEMA {each}" for each in texts(parts, "schemas")]
    if parts["all tables"]:
        targets = ["ALL TABLES"]
    target = f" FOR {', '.join(targets)}" if targets else ""
    options = [f"publish = {literal(parts['sends'])}"]
    if parts.get("through the root"):
        options.append("publish_via_partition_root = true")
    if "generated columns" in parts:
        options.append(f"publish_generated_columns = {parts['generated columns']}")
    return f"CREATE PUBLICATION {entry.name}{target} WITH ({', '.join(options)})"


def _type(entry: Entry) -> Iterator[str]:
    name, parts = entry.name, entry.parts
    match parts["kind"]:
        case "enum":
            labels = ", ".join(literal(label) for label in texts(parts, "labels"))
            yield f"CREATE TYPE {name} AS ENUM ({labels})"
        case "domain":
            words = [f"CREATE DOMAIN {name} AS {parts['base']}"]
            if "collation" in parts:
                words.append(f"COLLATE {parts['collation']}")
            if "default" in parts:
                words.append(f"DEFAULT {parts['default']}")
            if "not null" in parts:
                words.append("NOT NULL")
            words += [f"CONSTRAINT {each}" for each in texts(parts, "constraints")]
            yield " ".join(words)
        case "range":
            options = [f"SUBTYPE = {parts['subtype']}"]
            # A function is named without its arguments here.
            options += [each.partition("(")[0] for each in texts(parts, "range")]
            yield f"CREATE TYPE {name} AS RANGE ({', '.join(options)})"
        case "composite":
            yield f"CREATE TYPE {name} AS ({', '.join(texts(parts, 'attributes'))})"


def _change_type(expected: Entry, actual: Entry) -> Iterator[str]:
    name, before, after = expected.name, actual.parts, expected.parts
    match after["kind"]:
        case "enum":
            yield from _change_labels(name, texts(before, "labels"), texts(after, "labels"))
        case "domain" if before["base"] == after["base"]:
            yield from _change_domain(name, before, after)
        case "composite":
            yield from _change_attributes(
                name, texts(before, "attributes"), texts(after, "attributes")
            )


def _change_labels(name: str, before: list[str], after: list[str]) -> Iterator[str]:
    if [label for label in after if label in before] != before:
        return
    first = f" BEFORE {literal(before[0])}" if before else ""
    for position, label in enumerate(after):
        if label in before:
            continue
        place = f" AFTER {literal(after[position - 1])}" if position else first
        yield f"ALTER TYPE {name} ADD VALUE IF NOT EXISTS {literal(label)}{place}"


def _change_attributes(name: str, before: list[str], after: list[str]) -> Iterator[str]:
    kept = [each for each in before if each in after]
    if after[: len(kept)] != kept:
        return
    for each in before:
        if each not in kept:
            yield f"ALTER TYPE {name} DROP ATTRIBUTE {_ATTRIBUTE.findall(each)[0]}"
    yield from (f"ALTER TYPE {name} ADD ATTRIBUTE {each}" for each in after[len(kept) :])


def _change_domain(
    name: str, before: Mapping[str, object], after: Mapping[str, object]
) -> Iterator[str]:
    if before.get("default") != after.get("default"):
        set_default = f"SET DEFAULT {after['default']}" if "default" in after else "DROP DEFAULT"
        yield f"ALTER DOMAIN {name} {set_default}"
    if before.get("not null") != after.get("not null"):
        yield f"ALTER DOMAIN {name} {'SET' if 'not null' in after else 'DROP'} NOT NULL"
    old, new = texts(before, "constraints"), texts(after, "constraints")
    for each in old:
        if each not in new:
            yield f"ALTER DOMAIN {name} DROP CONSTRAINT {each.split(' CHECK')[0]}"
    yield from (f"ALTER DOMAIN {name} ADD CONSTRAINT {each}" for each in new if each not in old)
