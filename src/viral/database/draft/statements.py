"""The SQL of one object that is no column, constraint or index, and the phase it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.database.draft import security, tables
from viral.database.draft.changes import Phase, literal
from viral.database.draft.objects import change_object, sequence_owner

if TYPE_CHECKING:
    from viral.database.catalog import Entry

_PHASES = {
    "schema": (Phase.SCHEMA, Phase.DROP_SCHEMA),
    "extension": (Phase.SCHEMA, Phase.DROP_SCHEMA),
    "type": (Phase.TYPE, Phase.DROP_TYPE),
    "collation": (Phase.TYPE, Phase.DROP_TYPE),
    "sequence": (Phase.SEQUENCE, Phase.DROP_SEQUENCE),
    "function": (Phase.FUNCTION, Phase.DROP_FUNCTION),
    "procedure": (Phase.FUNCTION, Phase.DROP_FUNCTION),
    "view": (Phase.VIEW, Phase.DROP_VIEW),
    "materialized view": (Phase.VIEW, Phase.DROP_VIEW),
    "statistics": (Phase.VIEW, Phase.DROP_VIEW),
    "policy": (Phase.POLICY, Phase.DROP_POLICY),
    "trigger": (Phase.TRIGGER, Phase.DROP_TRIGGER),
    "rule": (Phase.TRIGGER, Phase.DROP_TRIGGER),
    "event trigger": (Phase.TRIGGER, Phase.DROP_TRIGGER),
    "publication": (Phase.TRIGGER, Phase.DROP_TRIGGER),
}
_LATE = (Phase.TRIGGER, Phase.DROP_TRIGGER)


def phases_of(kind: str) -> tuple[Phase, Phase]:
    """Say when objects of a kind are made or changed, and when they are dropped."""
    return _PHASES.get(kind, _LATE)


def said_of(entry: Entry, *, give: bool) -> tuple[Phase, list[str]] | None:
    """Write what is said of an object, or taken back: privileges, comments; None for objects."""
    match entry.kind:
        case "grant":
            return Phase.GRANT, list((security.grant if give else security.revoke)(entry))
        case "default privileges":
            return Phase.GRANT, list(security.default_privileges(entry, give=give))
        case "owner's rights":
            return Phase.GRANT, [security.owner_rights(entry, give=not give)]
        # A migration does not know what the database is called.
        case "comment" if not str(entry.place["target"]).startswith("DATABASE "):
            text = literal(entry.parts["text"]) if give else "NULL"
            return Phase.COMMENT, [f"COMMENT ON {entry.place['target']} IS {text}"]
        case "references":
            verb = "DISABLE" if give else "ENABLE"
            return Phase.TRIGGER, [f"ALTER TABLE {entry.place['table']} {verb} TRIGGER ALL"]
        case _:
            return None


def altered(expected: Entry, actual: Entry) -> tuple[Phase, list[str]]:
    """Write what changes an object that is no column, constraint or index."""
    match expected.kind:
        case "table":
            return Phase.COLUMN, list(tables.change_table(expected, actual))
        case "policy":
            return Phase.POLICY, list(security.change_policy(expected, actual))
        case "grant":
            return Phase.GRANT, list(security.change_grant(expected, actual))
        case "sequence":
            statements = list(change_object(expected, actual))
            if expected.parts.get("owned by") != actual.parts.get("owned by"):
                statements.append(sequence_owner(expected))
            return Phase.SEQUENCE, statements
    gone, said = said_of(actual, give=False), said_of(expected, give=True)
    if gone and said:
        return said[0], said[1] if expected.kind == "comment" else gone[1] + said[1]
    return phases_of(expected.kind)[0], list(change_object(expected, actual))


def drop_rule(entry: Entry) -> str:
    """Name the rule that a drop of an object breaks."""
    word = entry.kind.replace("materialized ", "").replace("procedure", "function")
    return f"ban-drop-{word.replace(' ', '-')}"
