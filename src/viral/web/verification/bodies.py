"""Bodies that a route takes, made from its types; and the places in them where an id fits."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import TypeAlias
from urllib.parse import urlencode

import msgspec
from litestar.enums import RequestEncodingType
from msgspec import inspect

from viral.schema.base import uuid7
from viral.schema.vocabulary import PLATFORMS
from viral.web.verification.visitor import NO_BODY, Body
from viral.web.verification.ways import Way

# The names of fields, and the number of an item in a list.
Place = tuple[str | int, ...]

# A note to a field whose ids are given by others: what is sent there is kept as the sender's own.
NAMED_ELSEWHERE = "named_elsewhere"
_BOUNDARY = "viral-verification"
_Object: TypeAlias = inspect.StructType | inspect.DataclassType | inspect.TypedDictType
_List: TypeAlias = inspect.ListType | inspect.SetType | inspect.FrozenSetType | inspect.VarTupleType

_SAMPLES: dict[type[inspect.Type], Callable[[], object]] = {
    inspect.FloatType: lambda: 1.0,
    inspect.BoolType: lambda: False,
    inspect.UUIDType: lambda: str(uuid7()),
    inspect.DateTimeType: lambda: datetime.now(UTC).isoformat(),
    inspect.DateType: lambda: datetime.now(UTC).date().isoformat(),
    inspect.DictType: dict,
    inspect.AnyType: dict,
    # What JSON has no word for is a file.
    inspect.CustomType: lambda: b"id,platform,published_at,views\n",
    inspect.BytesType: lambda: b"id,platform,published_at,views\n",
}


def sample_body(way: Way, place: Place = ()) -> object:
    """Make a body with what a route needs, and with the field at a place."""
    return _sample(inspect.type_info(way.body), "", place)


def places_of_ids(way: Way) -> Iterator[Place]:
    """Find where the body of a route takes an id: by its type, or by its name."""
    if way.has_body:
        yield from _places(inspect.type_info(way.body), "", ())


def put(body: object, place: Place, value: object) -> object:
    """Return a body with another value at a place that it has."""
    changed = deepcopy(body)
    spot = changed
    for step in place[:-1]:
        spot = spot[step]  # type: ignore[index]  # a body is what JSON has: lists and objects
    spot[place[-1]] = value  # type: ignore[index]  # the same
    return changed


def add(body: object, name: str, value: object) -> object:
    """Return a body in which every object has one field more."""
    if isinstance(body, Mapping):
        return {key: add(each, name, value) for key, each in body.items()} | {name: value}
    if isinstance(body, list):
        return [add(each, name, value) for each in body]
    return body


def takes(way: Way, name: str) -> bool:
    """Tell whether a route takes a field of that name."""
    return way.has_body and name in _names(inspect.type_info(way.body))


def encode(way: Way, body: object) -> Body:
    """Write a body as the route takes it."""
    if not way.has_body:
        return NO_BODY
    if way.encoding is RequestEncodingType.JSON:
        return Body(msgspec.json.encode(body), "application/json")
    fields = body if isinstance(body, Mapping) else {}
    if way.encoding is RequestEncodingType.MULTI_PART:
        content = "".join(_part(str(name), value) for name, value in fields.items())
        return Body(
            f"{content}--{_BOUNDARY}--\r\n".encode(), f"multipart/form-data; boundary={_BOUNDARY}"
        )
    return Body(urlencode(fields).encode(), "application/x-www-form-urlencoded")


def _part(name: str, value: object) -> str:
    is_file = isinstance(value, bytes)
    text = value.decode() if isinstance(value, bytes) else str(value)
    disposition = f'form-data; name="{name}"' + ('; filename="verify.csv"' if is_file else "")
    return f"--{_BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n{text}\r\n"


def _sample(info: inspect.Type, name: str, place: Place) -> object:
    step, rest = (place[0], place[1:]) if place else (None, ())
    info = _plain(info)
    if isinstance(info, _Object):
        return {
            field.encode_name: _sample(
                field.type, field.encode_name, rest if field.encode_name == step else ()
            )
            for field in info.fields
            if field.required or field.encode_name == step
        }
    if isinstance(info, _List):
        return [_sample(info.item_type, name, rest)]
    return _scalar(info, name)


def _scalar(info: inspect.Type, name: str) -> object:
    if isinstance(info, inspect.StrType):
        return _text(info, name)
    if isinstance(info, inspect.IntType):
        return 1 if info.ge is None else info.ge
    if isinstance(info, inspect.LiteralType):
        return info.values[0]
    if isinstance(info, inspect.EnumType):
        return next(iter(info.cls)).value
    return next((make() for kind, make in _SAMPLES.items() if isinstance(info, kind)), None)


def _text(info: inspect.StrType, name: str) -> str:
    word = f"verify-{secrets.token_hex(4)}"
    if name == "platform":
        return PLATFORMS[0]
    if name.endswith("_at"):
        # A result of today is kept, but nothing is learnt from it.
        return datetime.now(UTC).isoformat()
    if name.endswith("_on"):
        return datetime.now(UTC).date().isoformat()
    if "email" in name:
        return f"{word}@verify.invalid"
    if name.endswith("url"):
        return f"https://{word}.verify.invalid/"
    return word.ljust(info.min_length or 0, "x")


def _places(info: inspect.Type, name: str, place: Place) -> Iterator[Place]:
    if isinstance(info, inspect.Metadata) and (info.extra or {}).get(NAMED_ELSEWHERE):
        return
    info = _plain(info)
    if isinstance(info, _Object):
        for field in info.fields:
            yield from _places(field.type, field.encode_name, (*place, field.encode_name))
    elif isinstance(info, _List):
        yield from _places(info.item_type, name, (*place, 0))
    elif isinstance(info, inspect.UUIDType) or (
        isinstance(info, inspect.StrType) and (name == "id" or name.endswith(("_id", "_ids")))
    ):
        yield place


def _names(info: inspect.Type) -> set[str]:
    info = _plain(info)
    if isinstance(info, _List):
        return _names(info.item_type)
    if not isinstance(info, _Object):
        return set()
    own = {field.encode_name for field in info.fields}
    return own.union(*(_names(field.type) for field in info.fields))


def _plain(info: inspect.Type) -> inspect.Type:
    """Look through what may be left out, and through notes to a type."""
    if isinstance(info, inspect.Metadata):
        return _plain(info.type)
    if isinstance(info, inspect.UnionType):
        return _plain(next(each for each in info.types if not isinstance(each, inspect.NoneType)))
    return info
