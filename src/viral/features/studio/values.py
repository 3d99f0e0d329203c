"""Values as text and back: what a cell shows, what a form sends, what an export holds.

The text of a value is exact: read back it is the same value, so that an edit can say which value
it was made from.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from sqlalchemy import BigInteger, Numeric

from viral.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from viral.features.studio.shapes import Field, Kind

LONGEST_SHOWN = 500
_WORDS = {"true": True, "false": False}


def as_text(value: object) -> str | None:
    """Write a value; None stays None."""
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.astimezone(UTC).isoformat(sep=" ")
        case dict() | list():
            return msgspec.json.encode(value).decode()
    return str(value)


def pretty(document: object) -> str:
    """Write a JSON document for people."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def parse(field: Field, text: str | None) -> object:
    """Read what a person typed for a column; BadInput says what would fit."""
    if text is None:
        if not field.is_nullable:
            raise BadInput(f"{field.name} cannot be null.")
        return None
    if field.kind == "text":
        if "\0" in text:
            raise BadInput(f"{field.name} holds a character that PostgreSQL does not store.")
        return text
    if field.kind == "words":
        if text not in field.words:
            raise BadInput(f"{field.name} is one of {', '.join(field.words)}.")
        return text
    try:
        return _READERS[field.kind](field, text.strip())
    except (ValueError, InvalidOperation, OverflowError) as error:
        raise BadInput(f"{field.name} is not {_EXAMPLES[field.kind]}.") from error


def _integer(field: Field, text: str) -> int:
    value = int(text)
    # PostgreSQL manual 8.1.1.
    most = 2**63 if isinstance(field.column.type, BigInteger) else 2**31
    if not -most <= value < most:
        raise BadInput(f"{field.name} is between {-most:,} and {most - 1:,}.")
    return value


def _numeric(field: Field, text: str) -> Decimal:
    value = Decimal(text)
    kind = field.column.type
    assert isinstance(kind, Numeric)
    if not value.is_finite():
        raise ValueError(text)
    if kind.precision is not None and value.adjusted() >= kind.precision - (kind.scale or 0):
        raise BadInput(f"{field.name} has too many digits: {field.type_name}.")
    return value


def _time(_field: Field, text: str) -> datetime:
    value = datetime.fromisoformat(text)
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _document(field: Field, text: str) -> object:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise BadInput(f"{field.name} is not JSON: {error}.") from error
    is_fitting = {
        "object": isinstance(value, dict),
        "list": isinstance(value, list),
        "texts": isinstance(value, list) and all(isinstance(each, str) for each in value),
    }
    if field.document is not None and not is_fitting[field.document]:
        raise BadInput(f"{field.name} is {_DOCUMENTS[field.document]}.")
    if "\\u0000" in text:
        raise BadInput(f"{field.name} holds a character that PostgreSQL does not store.")
    return value


_DOCUMENTS = {
    "object": 'a JSON object: {"name": "value"}',
    "list": 'a JSON list: [1, "two"]',
    "texts": 'a JSON list of texts: ["one", "two"]',
}
_EXAMPLES: dict[Kind, str] = {
    "uuid": "a UUID",
    "integer": "a whole number",
    "float": "a number",
    "numeric": "a decimal number",
    "bool": "true or false",
    "time": "a moment, such as 2026-11-24 18:30 (UTC)",
    "date": "a day, such as 2026-11-24",
    "json": "JSON",
}
_READERS: dict[Kind, Callable[[Field, str], object]] = {
    "uuid": lambda _field, text: UUID(text),
    "integer": _integer,
    "float": lambda _field, text: float(text),
    "numeric": _numeric,
    "bool": lambda _field, text: _known(text),
    "time": _time,
    "date": lambda _field, text: date.fromisoformat(text),
    "json": _document,
}


def _known(text: str) -> bool:
    if text.lower() not in _WORDS:
        raise ValueError(text)
    return _WORDS[text.lower()]
