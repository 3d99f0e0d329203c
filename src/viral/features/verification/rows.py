"""Rows that a table's keys and checks accept, made from the catalogue; values are SQL literals."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from viral.schema.base import uuid7

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from viral.features.verification.relations import Column, Reference, Relation

Row = dict[str, str]

_GAP = (
    '{"concept_title": "verify", "platform": "tiktok", "predicted_virality": 50, "low": 40,'
    ' "high": 60, "actual_virality_score": 70, "direction": "under-predicted"}'
)
# A job that waits for ever: no worker takes it. Reasons and gaps are of a form that pages can show.
_FIXED: dict[str, Row] = {
    "public.job_queue": {"scheduled_for": "'9999-01-01 00:00:00+00'"},
    "public.predictions": {"reasons": "'[]'"},
    "public.concept_variants": {"label": "'A'"},
    "public.self_critiques": {"performance_gap": f"'{_GAP}'"},
}
_BY_TYPE = {
    "boolean": "true",
    "bytea": "sha256('{word}')",
    "date": "current_date",
    "inet": "'192.0.2.1'",
    "interval": "'1 day'",
    "json": "'{{}}'",
    "jsonb": "'{{}}'",
    "text": "'{word}'",
    "uuid": "'{id}'",
}
_NUMBERS = ("smallint", "integer", "bigint", "numeric", "double", "real")


def make_row(
    relation: Relation, parents: Mapping[str, Row], *, tenant_id: UUID, own_id: UUID
) -> Row:
    """Make a row with what must be there, its key, its parents, and what is unique over all."""
    row: Row = {}
    fixed = _FIXED.get(relation.name, {})
    for column in relation.columns:
        if column.is_generated:
            continue
        if column.name in fixed:
            row[column.name] = fixed[column.name]
        elif column.name == relation.owner_column:
            row[column.name] = f"'{tenant_id}'"
        elif _is_wanted(relation, column):
            row[column.name] = _value(relation, column, parents, own_id)
    return row


def insert(relation: Relation, row: Row) -> str:
    """Write the INSERT of a row."""
    return f"INSERT INTO {relation.name} ({', '.join(row)}) VALUES ({', '.join(row.values())})"


def sample(type_name: str, identity: UUID) -> str:
    """Write a literal of a type."""
    word = f"verify-{secrets.token_hex(4)}"
    if type_name.startswith(_NUMBERS):
        return "1"
    if type_name.startswith("timestamp"):
        return "now()"
    pattern = _BY_TYPE.get(type_name.partition("(")[0], "'{word}'")
    return pattern.format(word=word, id=identity)


def _reference_of(relation: Relation, column: str) -> Reference | None:
    """Return the foreign key that a column is part of; one that holds the tenant before others."""
    found = [
        each
        for each in relation.references
        if column in each.columns and each.target != relation.name
    ]
    return max(found, key=lambda each: len(each.columns), default=None)


def _value(relation: Relation, column: Column, parents: Mapping[str, Row], own_id: UUID) -> str:
    reference = _reference_of(relation, column.name)
    if reference is not None:
        place = reference.columns.index(column.name)
        parent = parents.get(reference.target, {})
        return parent.get(reference.target_columns[place], "NULL")
    if column.words:
        return f"'{column.words[0]}'"
    return sample(column.type, own_id if column.name == "id" else uuid7())


def _is_wanted(relation: Relation, column: Column) -> bool:
    return (
        column.is_required
        or column.name in relation.primary_key
        or _reference_of(relation, column.name) is not None
        or any(
            column.name in key.columns and relation.owner_column not in key.columns
            for key in relation.keys
        )
    )
