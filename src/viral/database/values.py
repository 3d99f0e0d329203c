"""Values of any type, as they leave PostgreSQL: for people, programs and spreadsheets."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import asyncpg
import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

# PostgreSQL counts days and microseconds from here.
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_INFINITE_DAYS = {2**31 - 1: "infinity", -(2**31): "-infinity"}
_INFINITE_TIME = {2**63 - 1: "infinity", -(2**63): "-infinity"}
_SECOND = 1_000_000
# What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
# The type "char", of which the catalogue is full.
_ONE_BYTE_CHAR = 18


class JsonText(str):
    """The text of a json or jsonb value."""

    __slots__ = ()


async def take_values_whole(connection: asyncpg.Connection) -> None:
    """Have the driver lose nothing: infinity stays infinite, a month is not 30 days."""
    decoders: dict[str, Callable[[tuple[int, ...]], object]] = {
        "date": _date,
        "timestamp": _timestamp,
        "timestamptz": _timestamptz,
        "interval": _interval,
    }
    for name, decoder in decoders.items():
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=tuple, decoder=decoder, format="tuple"
        )
    for name, json_decoder in (("json", _json), ("jsonb", _jsonb)):
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=str.encode, decoder=json_decoder, format="binary"
        )


def plain_value(value: object, type_id: int) -> object:
    """Make text of the one type that the driver gives as raw bytes."""
    if type_id == _ONE_BYTE_CHAR and isinstance(value, bytes):
        return value.rstrip(b"\0").decode("latin-1")
    return value


def as_text(value: object) -> str:
    """Write a value much as psql shows it."""
    match value:
        case None:
            text = "NULL"
        case bool():
            text = str(value).lower()
        case bytes():
            text = "\\x" + value.hex()
        case list():
            text = "{" + ",".join(map(_element, value)) + "}"
        case tuple() | asyncpg.Record():
            text = "(" + ",".join(map(_element, value)) + ")"
        case asyncpg.Range(isempty=True):
            text = "empty"
        case asyncpg.Range():
            brackets = ("[" if value.lower_inc else "(") + ("]" if value.upper_inc else ")")
            text = _range(value.lower, value.upper, brackets)
        case asyncpg.BitString():
            text = value.as_string()
        case _:
            text = str(value)
    return text


def harmless(value: object) -> object:
    """Put a text that a spreadsheet would run behind an apostrophe; all else stays as it is.

    Only for texts that somebody wrote: a number, or a JSON document, is no formula.
    """
    is_run = isinstance(value, str) and value.startswith(_FORMULA)
    return f"'{value}" if is_run and not isinstance(value, JsonText) else value


def as_json(value: object) -> object:
    """Turn a value into what `json_document` writes without a loss."""
    match value:
        case JsonText():
            return msgspec.Raw(value.encode())
        case list():
            return [as_json(each) for each in value]
        case asyncpg.Record():
            return {name: as_json(each) for name, each in value.items()}
    # NaN and infinity are words in JSON.
    is_number = isinstance(value, int | float | Decimal) and math.isfinite(value)
    if value is None or is_number or isinstance(value, datetime):
        return value
    return as_text(value)


def json_document(document: object) -> str:
    """Write values of `as_json`, numbers with every digit."""
    encoded = msgspec.json.Encoder(decimal_format="number").encode(document)
    return msgspec.json.format(encoded, indent=2).decode()


def _element(value: object) -> str:
    """Write an element of an array; NULL and what would be cut at its comma differ from text."""
    text = as_text(value)
    if isinstance(value, str) and (text in {"", "NULL"} or set(text) & set(',{}()"\\ \n')):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return text


def _range(lower: object, upper: object, brackets: str) -> str:
    first, last = ("" if bound is None else as_text(bound) for bound in (lower, upper))
    return f"{brackets[0]}{first},{last}{brackets[1]}"


def _json(content: bytes) -> JsonText:
    return JsonText(content.decode())


def _jsonb(content: bytes) -> JsonText:
    # Its binary form begins with the number of a version.
    return JsonText(content[1:].decode())


def _date(parts: tuple[int, ...]) -> object:
    (days,) = parts
    if days in _INFINITE_DAYS:
        return _INFINITE_DAYS[days]
    return date.fromordinal(_EPOCH.toordinal() + days).isoformat()


def _timestamptz(parts: tuple[int, ...]) -> object:
    (microseconds,) = parts
    if microseconds in _INFINITE_TIME:
        return _INFINITE_TIME[microseconds]
    return _EPOCH + timedelta(microseconds=microseconds)


def _timestamp(parts: tuple[int, ...]) -> object:
    moment = _timestamptz(parts)
    return moment.replace(tzinfo=None) if isinstance(moment, datetime) else moment


def _interval(parts: tuple[int, ...]) -> str:
    months, days, microseconds = parts
    if microseconds in _INFINITE_TIME:
        return _INFINITE_TIME[microseconds]
    words = [f"{months} mon"] if months else []
    words += [f"{days} days"] if days else []
    if microseconds or not words:
        seconds, rest = divmod(abs(microseconds), _SECOND)
        clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        sign = "-" if microseconds < 0 else ""
        words.append(sign + clock + (f".{rest:06}" if rest else ""))
    return " ".join(words)
