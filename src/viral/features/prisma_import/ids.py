"""Ids: a UUID is kept, any other text becomes one that is the same at every run."""

from __future__ import annotations

from uuid import UUID, uuid5

_NAMESPACE = UUID("5f0c1a52-6a5e-5a3e-9d53-0d7a6a1f6c1b")


def target_id(table: str, text: str) -> UUID:
    """Return the id of a source row in this installation."""
    try:
        given = UUID(text)
    except ValueError:
        return derived_id(table, text)
    # Other spellings of a UUID are other texts in the source, so they must stay other ids.
    return given if str(given) == text else derived_id(table, text)


def derived_id(table: str, *parts: str) -> UUID:
    """Return the id of a row that the source does not have as such (UUID version 5)."""
    return uuid5(_NAMESPACE, "\0".join((table, *parts)))
