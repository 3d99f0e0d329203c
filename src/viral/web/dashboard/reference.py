"""The reference of the API: every operation and object, from the description itself."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

from litestar import Litestar, Response, get

from viral.features.tenants import own_tenant
from viral.web.api.description import PREFIX, description_of
from viral.web.dashboard.rendering import render
from viral.web.dashboard.switcher import page_of, send_page
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.requests import WebRequest
from viral.web.tools import OFFERED

PAGE = "/settings/keys/reference"

Json: TypeAlias = dict[str, Any]
# Words of a type, each with whether it names an object of the page.
Kind: TypeAlias = tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter of an operation, or a field of an object."""

    name: str
    kind: Kind
    is_required: bool
    words: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What may come back."""

    status: str
    words: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Operation:
    """One verb of the API, and who may ask for it; keys have a method of the Python client."""

    name: str
    method: str
    path: str
    summary: str
    details: str
    who: str
    is_for_keys: bool
    is_tool: bool
    parameters: tuple[Field, ...]
    body: Kind
    example: str
    done: Answer
    refusals: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Resource:
    """The operations of one resource."""

    name: str
    words: str
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class Object:
    """What operations take and give."""

    name: str
    words: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """The whole page."""

    resources: tuple[Resource, ...]
    objects: tuple[Object, ...]


@get(PAGE, include_in_schema=False)
async def show_reference(
    request: WebRequest, runtime: Wired, identity: Person, session: Transaction
) -> Response[str]:
    """Show what the API takes and answers; it needs nothing from elsewhere."""
    tenant = await own_tenant(session)
    page = await page_of(request, identity, session, tenant, now=runtime.clock())
    html = render("reference.html", page=page, reference=_reference_of(request.app))
    return send_page(request, html)


@lru_cache(maxsize=1)
def _reference_of(application: Litestar) -> Reference:
    return reference(description_of(application))


def reference(document: Json) -> Reference:
    """Read the description of the API."""
    found: dict[str, list[Operation]] = defaultdict(list)
    for path, methods in document["paths"].items():
        if path.startswith(PREFIX):
            for method, described in methods.items():
                found[described["tags"][0]].append(_operation(document, path, method, described))
    resources = tuple(
        Resource(
            name=each["name"].replace("-", " ").replace("api", "API"),
            words=each["description"],
            operations=tuple(found[each["name"]]),
        )
        for each in document["tags"]
    )
    objects = tuple(
        Object(name, schema.get("description", ""), tuple(_fields(schema)))
        for name, schema in document["components"]["schemas"].items()
    )
    return Reference(resources, objects)


def _operation(document: Json, path: str, method: str, described: Json) -> Operation:
    answers = [_answer(document, *each) for each in described["responses"].items()]
    body: Json = next(iter(described.get("requestBody", {}).get("content", {}).values()), {})
    name: str = described["operationId"]
    return Operation(
        name=name,
        method=method.upper(),
        path=path.removeprefix("/api/v1"),
        summary=described["summary"],
        details=described["description"].partition("\n")[2].strip(),
        who=_who(described["security"]),
        is_for_keys=any("key" in each for each in described["security"]),
        is_tool=name in OFFERED,
        parameters=tuple(
            Field(each["name"], _kind(each["schema"]), each["required"], each["description"])
            for each in described.get("parameters", ())
        ),
        body=_kind(body["schema"]) if body else (),
        example=json.dumps(body["example"], indent=2) if "example" in body else "",
        done=answers[0],
        refusals=tuple(answers[1:]),
    )


def _who(security: list[Json]) -> str:
    """Say in words who may; a key of an admin has the scope `admin` only if it was given."""
    by_way = {way: needed for each in security for way, needed in each.items()}
    if "key" in by_way:
        return f"A key that may {' and '.join(by_way['key'])}"
    return "The operator, signed in" if by_way["session"] else "People who are signed in"


def _answer(document: Json, status: str, described: Json) -> Answer:
    if "$ref" in described:
        name = described["$ref"].rpartition("/")[2]
        return Answer(status, document["components"]["responses"][name]["description"], ())
    contents = list(described.get("content", {}).items())
    if contents and contents[0][0] != "application/json":
        return Answer(status, " or ".join(media for media, _ in contents), ())
    return Answer(
        status,
        described["description"] if status > "3" else "",
        _kind(contents[0][1]["schema"]) if contents else (),
    )


def _fields(schema: Json) -> Iterator[Field]:
    for name, each in schema.get("properties", {}).items():
        if not name.startswith("_"):
            yield Field(name, _kind(each), name in schema.get("required", ()))


def _kind(schema: Json) -> Kind:
    """Write a type in words."""
    if "$ref" in schema:
        return ((schema["$ref"].rpartition("/")[2], True),)
    if choices := schema.get("oneOf") or schema.get("anyOf"):
        first, *others = (_kind(each) for each in choices)
        return (*first, *(word for each in others for word in ((" or ", False), *each)))
    if "enum" in schema:
        return ((", ".join("null" if each is None else each for each in schema["enum"]), False),)
    kind = schema.get("type", "anything")
    if kind == "array":
        return (("list of ", False), *_kind(schema.get("items", {})))
    return ((str(schema.get("format", kind)), False),)


ROUTES: Final = (show_reference,)
