"""Verbs of the API as tools of an agent: what they take, and how one is asked for in process.

A call goes through the whole application as a request of its own. So a tool checks, may, counts
and answers what its route does, and nothing is said twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any, Literal, TypeAlias, get_args
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.params import ParameterKwarg, PathParameter, QueryParameter
from litestar.routes import HTTPRoute
from litestar.types import HTTPRequestEvent, HTTPScope, Message, Receive

from viral.errors import BadInput
from viral.features.users.sessions import Identity
from viral.schema.vocabulary import Scope
from viral.web.api.examples import PARAMETERS
from viral.web.door import request_id
from viral.web.idempotency import HEADER, LONGEST_KEY
from viral.web.recognition import scope_needed, vouch
from viral.web.requests import WebRequest

Schema: TypeAlias = dict[str, object]
Method: TypeAlias = Literal["GET", "POST", "PUT"]

# The operations that a run of the loop needs. What only operators may is not among them.
OFFERED = (
    "list_trends",
    "generate_concepts",
    "order_concepts",
    "list_concepts",
    "get_concept",
    "explain_concept",
    "add_variants",
    "select_variant",
    "add_results",
    "list_results",
    "start_reflexion",
    "get_reflexion",
    "get_report",
    "list_critiques",
    "list_insights",
    "list_adjustments",
    "undo_adjustment",
    "list_jobs",
    "get_job",
)
# An argument that becomes the header, so that a call may be repeated (web/idempotency.py).
KEY = "idempotency_key"
_KEY_SCHEMA: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": LONGEST_KEY,
    "description": "A random text of your own, such as a UUID. Called again with the same one and"
    " the same arguments within a day, the tool answers as it did, and does nothing twice.",
}
# A body that is a list has no names of its own.
ITEMS = "items"
# Who asked, and from where. No cookie, no condition, no length goes along.
_PASSED_ON = frozenset({b"authorization", b"host", b"user-agent", b"x-forwarded-for"})
_METHODS: tuple[Method, ...] = get_args(Method)
_PLACE = re.compile(r"\{(\w+):uuid\}")


@dataclass(frozen=True, slots=True)
class Tool:
    """One route, and where in a request each argument belongs."""

    name: str
    description: str
    method: Method
    path: str
    in_query: frozenset[str]
    schema: Schema

    @property
    def needs(self) -> Scope:
        """The scope that a key needs for it."""
        return scope_needed(self.method)

    @property
    def in_path(self) -> frozenset[str]:
        return frozenset(_PLACE.findall(self.path))

    @property
    def takes(self) -> frozenset[str]:
        properties = self.schema["properties"]
        assert isinstance(properties, dict)
        return frozenset(properties)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a route answered: a status, and JSON."""

    status: int
    body: bytes


def tools_of(application: Litestar) -> dict[str, Tool]:
    """Make the tools from the routes of an application, by name."""
    routes = {
        handler.operation_id: (route.path, handler)
        for route in application.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
    }
    return {name: _tool(name, *routes[name]) for name in OFFERED}


async def ask(
    request: WebRequest, identity: Identity, tool: Tool, arguments: Mapping[str, object]
) -> Asked:
    """Send a request of its own for a tool, as whoever sent this one.

    Raises BadInput for arguments that the tool does not take.
    """
    _refuse_unknown(tool, arguments)
    query = {
        name: _word(value)
        for name, value in arguments.items()
        if name in tool.in_query and value is not None
    }
    rest = {
        name: value
        for name, value in arguments.items()
        if name not in tool.in_query and name not in tool.in_path and name != KEY
    }
    path = _PLACE.sub(lambda place: _id_of(place[1], arguments), tool.path)
    headers = [each for each in request.scope["headers"] if each[0] in _PASSED_ON]
    inner: HTTPScope = {
        **request.scope,
        "method": tool.method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": urlencode(query).encode(),
        "headers": [*headers, (b"content-type", b"application/json"), *_key_in(arguments)],
        "state": vouch(identity, request_id(request.scope)),
    }
    answer = _Answer()
    body = b"" if tool.method == "GET" else msgspec.json.encode(rest.get(ITEMS, rest))
    await request.app(inner, _once(body), answer.take)
    return Asked(answer.status, bytes(answer.body))


def _tool(name: str, path: str, handler: HTTPRouteHandler) -> Tool:
    properties: dict[str, Schema] = {}
    required: list[str] = []
    in_query = set()
    for each, field in handler.parsed_fn_signature.parameters.items():
        kind = field.kwarg_definition
        if isinstance(kind, (PathParameter, QueryParameter)):
            described = {"description": PARAMETERS[each]} if each in PARAMETERS else {}
            properties[each] = {
                **msgspec.json.schema(field.annotation),
                **dict(_bounds(kind)),
                **described,
            }
            if isinstance(kind, QueryParameter):
                in_query.add(each)
            if not field.has_default:
                required.append(each)
    parts: Schema = {}
    if (data := handler.parsed_data_field) is not None:
        # Fields of a body are arguments beside those of the address.
        form, parts = _body_of(data.annotation)
        properties.update(form.get("properties", {}))
        required.extend(form.get("required", []))
    schema: Schema = {"type": "object", "properties": properties, "required": required}
    method: Method = next(each for each in _METHODS if each in handler.http_methods)
    if method == "POST":
        properties[KEY] = _KEY_SCHEMA
    if parts:
        schema["$defs"] = parts
    schema["additionalProperties"] = False
    description = cleandoc(handler.fn.__doc__ or "")
    return Tool(name, description, method, path, frozenset(in_query), schema)


def _body_of(kind: object) -> tuple[dict[str, Any], Schema]:
    """Describe a body as an object, and the parts that it refers to; a list is its one field."""
    (form,), parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    if form.get("type") == "array":
        return {"properties": {ITEMS: form}, "required": [ITEMS]}, parts
    return parts.pop(form["$ref"].rpartition("/")[2]), parts


def _bounds(kind: ParameterKwarg) -> Iterator[tuple[str, object]]:
    for word, bound in (
        ("minimum", kind.ge),
        ("maximum", kind.le),
        ("maxLength", kind.max_length),
    ):
        if bound is not None:
            yield word, bound


def _refuse_unknown(tool: Tool, arguments: Mapping[str, object]) -> None:
    if unknown := sorted(arguments.keys() - tool.takes):
        takes = ", ".join(sorted(tool.takes)) or "no arguments"
        raise BadInput(
            f"{tool.name} does not know: {', '.join(unknown)}.", hint=f"It takes {takes}."
        )


def _id_of(name: str, arguments: Mapping[str, object]) -> str:
    """Give an id for a path; whatever is none could lead to another address."""
    try:
        return str(UUID(str(arguments.get(name))))
    except ValueError as error:
        raise BadInput(f"{name} is no id.", hint="Take it from a list of this server.") from error


def _key_in(arguments: Mapping[str, object]) -> Iterator[tuple[bytes, bytes]]:
    """Make the header of a key; its characters are judged where it is used."""
    key = arguments.get(KEY)
    if key is None:
        return
    if not isinstance(key, str):
        raise BadInput(f"{KEY} is no text.", hint="Take a random one, such as a UUID.")
    yield HEADER.lower().encode(), key.encode("utf-8", "surrogatepass")


def _word(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _once(body: bytes) -> Receive:
    async def receive() -> HTTPRequestEvent:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


class _Answer:
    """What a route sends."""

    def __init__(self) -> None:
        self.status = 500
        self.body = bytearray()

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.body += message["body"]
