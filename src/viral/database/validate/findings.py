"""A rule that is broken: which, by what, and what to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One object that breaks one rule."""

    rule: str
    object: str
    message: str
    hint: str
