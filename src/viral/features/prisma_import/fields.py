"""The values of a source row, read one by one: what does not fit is refused with its reason."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from math import isfinite
from typing import TYPE_CHECKING

from viral.features.performance.files import LARGEST_COUNT, PLATFORMS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

LARGEST_INTEGER = 2**31 - 1
# What is indexed or compared stays far below the limit of an index entry (2,704 bytes).
LONGEST_WORD = 500
_CAPITAL = re.compile(r"(?<=[a-z0-9])([A-Z])")


class Unusable(Exception):
    """A row is left out; says which column and why, never the value."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(f"{column}: {reason}")
        self.column = column
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Fields:
    """The values of a row, or of a JSON object within one, by name."""

    values: Mapping[str, object]

    def text(self, column: str) -> str:
        """Read a text of any length."""
        value = self.values.get(column)
        if not isinstance(value, str):
            raise Unusable(column, "is no text")
        return value

    def text_or_none(self, column: str) -> str | None:
        """Read a text of any length; an empty one is none."""
        if self.values.get(column) is None:
            return None
        return self.text(column) or None

    def word(self, column: str, *, longest: int = LONGEST_WORD) -> str:
        """Read a text that is compared: neither empty nor long."""
        value = self.text(column).strip()
        if not value:
            raise Unusable(column, "is empty")
        if len(value) > longest:
            raise Unusable(column, f"is longer than {longest} characters")
        return value

    def word_or_none(self, column: str, *, longest: int = LONGEST_WORD) -> str | None:
        """Read a text that is compared; an empty one is none."""
        return None if self.text_or_none(column) is None else self.word(column, longest=longest)

    def choice(self, column: str, allowed: Collection[str]) -> str:
        """Read one of some words."""
        value = self.text(column)
        if value not in allowed:
            raise Unusable(column, f"is none of {', '.join(allowed)}")
        return value

    def platform(self, column: str = "platform") -> tuple[str, str | None]:
        """Read a platform's name in any of its spellings: the platform and the format."""
        return platform_of(column, self.text(column))

    def flag(self, column: str) -> bool:
        """Read a boolean."""
        value = self.values.get(column)
        if not isinstance(value, bool):
            raise Unusable(column, "is neither true nor false")
        return value

    def integer(self, column: str, *, most: int = LARGEST_INTEGER) -> int:
        """Read a whole number."""
        value = self.values.get(column)
        if not isinstance(value, int) or isinstance(value, bool):
            raise Unusable(column, "is no whole number")
        if abs(value) > most:
            raise Unusable(column, f"is larger than {most}")
        return value

    def count(self, column: str, *, most: int = LARGEST_COUNT) -> int:
        """Read a whole number that is not negative."""
        value = self.integer(column, most=most)
        if value < 0:
            raise Unusable(column, "is negative")
        return value

    def count_or_none(self, column: str) -> int | None:
        """Read a count that may be unknown."""
        return None if self.values.get(column) is None else self.count(column)

    def number(self, column: str) -> float:
        """Read a number; JSON writes those that are not finite as text."""
        value = self.values.get(column)
        if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
            raise Unusable(column, "is no finite number")
        return float(value)

    def time(self, column: str) -> datetime:
        """Read a moment; without a zone it is UTC."""
        try:
            moment = datetime.fromisoformat(self.text(column))
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            raise Unusable(column, "is no moment between the years 1 and 9999") from None

    def time_or_none(self, column: str) -> datetime | None:
        """Read a moment that may be unknown."""
        return None if self.values.get(column) is None else self.time(column)

    def document(self, column: str) -> dict[str, object]:
        """Read a JSON object."""
        value = self.values.get(column)
        if not isinstance(value, dict):
            raise Unusable(column, "is no JSON object")
        return value

    def document_or_none(self, column: str) -> dict[str, object] | None:
        """Read a JSON object that may be missing."""
        return None if self.values.get(column) is None else self.document(column)

    def items(self, column: str) -> list[object]:
        """Read a JSON list."""
        value = self.values.get(column)
        if not isinstance(value, list):
            raise Unusable(column, "is no JSON list")
        return value


@dataclass(frozen=True, slots=True)
class SourceRow(Fields):
    """One row of a table, with its id as text."""

    table: str
    id: str


def platform_of(column: str, name: str) -> tuple[str, str | None]:
    """Read a platform's name in any of its spellings: the platform and the format."""
    known = PLATFORMS.get(name.strip().lower().replace("_", "-"))
    if known is None:
        raise Unusable(column, "is no known platform")
    return known


def with_snake_keys(value: object) -> object:
    """Write the keys of a document in snake_case, however deep: documents come in both forms."""
    if isinstance(value, dict):
        return snake_document(value)
    if isinstance(value, list):
        return [with_snake_keys(each) for each in value]
    return value


def snake_document(document: Mapping[str, object]) -> dict[str, object]:
    """Return a copy of a document whose keys are in snake_case."""
    return {
        # Most values are plain: a call for each would take half the time of an import's mapping.
        _snake(key): with_snake_keys(value) if isinstance(value, dict | list) else value
        for key, value in document.items()
    }


@cache
def _snake(key: str) -> str:
    return _CAPITAL.sub(r"_\1", key).lower()
