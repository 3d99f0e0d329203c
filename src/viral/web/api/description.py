"""The API's description (OpenAPI 3.1): what a route cannot say of itself, said of all of them.

Errors, rights, headers and tags follow from a route's method, path and guards.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any, TypeAlias

import msgspec
from litestar import Litestar, Response, Router, get
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, OpenAPI, SecurityScheme

from viral.web.api.examples import BODIES, PARAMETERS
from viral.web.door import OPEN, admins_only, operators_only, people_only
from viral.web.idempotency import HEADER, LONGEST_KEY, REPLAYED
from viral.web.problems import PROBLEM_TYPE, Fault, Problem, problem_of
from viral.web.requests import Connection, WebRequest
from viral.web.site import Site

Json: TypeAlias = dict[str, Any]

PREFIX = "/api/v1/"
REFERENCE = "#/components/schemas/{name}"
_RETRY_AFTER = {
    "description": "Seconds to wait before the next attempt.",
    "schema": {"type": "integer", "minimum": 1},
}
_ETAG = {"description": "A digest of the answer.", "schema": {"type": "string"}}
_NOT_MODIFIED = {
    "description": "It is what If-None-Match names; there is no body.",
    "headers": {"ETag": _ETAG},
}
_KEY = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "A request sent again with the same key within a day is answered as the first"
    " was, and done once.",
    "schema": {"type": "string", "pattern": f"^[!-~]{{1,{LONGEST_KEY}}}$"},
}
_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of what is to be changed, as GET of this address gave it.",
    "schema": {"type": "string"},
}
# Each with when it happens, and an example.
_PROBLEMS = {
    "BadRequest": (
        "The request cannot be read.",
        Fault(400, "bad_request", "The request cannot be read."),
    ),
    "NotSignedIn": (
        "Nobody is signed in, or the key is unknown, revoked or expired.",
        Fault(401, "not_signed_in", "You are not signed in.", "Send a key."),
    ),
    "QuotaExceeded": (
        "The plan's concepts for this month are used.",
        Fault(402, "quota_exceeded", "The quota has 2 concepts left until 1 December."),
    ),
    "NotAllowed": (
        "The role, or the key's scopes, do not allow it.",
        Fault(403, "not_allowed", "Only an admin of this tenant may do this."),
    ),
    "NotFound": (
        "There is no such thing, or it is another tenant's.",
        Fault(404, "not_found", "There is no job 01a208cc-3f56-73a2-8acb-6ad5007193a5."),
    ),
    "Conflict": (
        "It is not in a state for this; or the first request with this Idempotency-Key runs on.",
        Fault(409, "job_ended", "The job is completed."),
    ),
    "PreconditionFailed": (
        "If-Match names another version, or there is no version to compare.",
        Fault(
            412,
            "precondition_failed",
            "This has changed since you read it.",
            "Read it again, and send the change with the ETag of that answer.",
        ),
    ),
    "TooLarge": (
        "The body is larger than is taken.",
        Fault(413, "too_large", "That is larger than 50 MB, the most that is taken."),
    ),
    "BadInput": (
        "A value cannot be used; `errors` names the fields.",
        Fault(422, "bad_input", "Some values cannot be used: count: Expected `int`, got `str`."),
    ),
    "RateLimited": (
        "Too many requests in too short a time.",
        Fault(429, "rate_limited", "That was too often in too short a time.", "Wait 3 s."),
    ),
    "VendorFailed": (
        "A service outside does not answer, or refuses.",
        Fault(502, "vendor_unreachable", "No answer in time.", "Try again soon."),
    ),
    "Unavailable": (
        "The database is not reached.",
        Fault(503, "server_unreachable", "No answer at the address.", "Try again soon."),
    ),
}
_WAITING = ("Conflict", "RateLimited")
_ALWAYS = ("BadRequest", "NotSignedIn", "NotAllowed", "RateLimited", "Unavailable")
# What follows from no guard and no method.
_MORE = {
    "generate_concepts": ("QuotaExceeded",),
    "open_checkout": ("NotFound", "VendorFailed"),
    "open_portal": ("NotFound", "VendorFailed"),
    "change_role": ("Conflict",),
    "remove_member": ("Conflict",),
    "select_variant": ("Conflict",),
    "undo_shared_effect": ("NotFound",),
}
# What is no JSON.
_FILES = {"export_concepts": ("text/csv", "application/x-ndjson")}


def describe(site: Site, routes: Sequence[HTTPRouteHandler], *, is_open: bool) -> OpenAPIConfig:
    """Describe the API as JSON alone: the pages that Litestar offers load code from elsewhere.

    `is_open` is whether strangers see it, at /schema; whoever may use the API finds it there.
    """
    return _Config(
        title="Viral Dashboard",
        version=version("viral-dashboard"),
        use_handler_docstrings=True,
        render_plugins=[JsonRenderPlugin()],
        openapi_router=Router(
            "/schema",
            route_handlers=[],
            opt=OPEN,
            guards=[] if is_open else [_refuse_strangers],
            include_in_schema=False,
        ),
        components=Components(
            security_schemes={
                "session": SecurityScheme(
                    type="apiKey", name=site.session_cookie, security_scheme_in="cookie"
                ),
                "key": SecurityScheme(type="http", scheme="bearer"),
            }
        ),
        security=[{"session": []}, {"key": []}],
        routes=routes,
    )


@get("/openapi.json", include_in_schema=False)
async def get_description(request: WebRequest) -> Response[bytes]:
    """Give the description to whoever may use the API; it is the same for all of them."""
    content = msgspec.json.encode(description_of(request.app))
    return Response(content, media_type="application/json")


def description_of(application: Litestar) -> Json:
    """Write the description of an application, once."""
    if "description" not in application.state:
        application.state.description = application.openapi_schema.to_schema()
    found: Json = application.state.description
    return found


def _refuse_strangers(_: Connection, __: BaseRouteHandler) -> None:
    raise HTTPException(status_code=404)


class _Config(OpenAPIConfig):
    """Litestar's, with a document that is completed when it is written."""

    def __init__(self, *, routes: Sequence[HTTPRouteHandler], **given: Any) -> None:  # noqa: ANN401 - Litestar's own
        super().__init__(**given)
        self._routes = {str(each.operation_id): each for each in routes}

    def to_openapi_schema(self) -> OpenAPI:
        """Return the document that Litestar fills."""
        document = _Document(**vars(super().to_openapi_schema()))
        document.routes = self._routes
        return document


class _Document(OpenAPI):
    routes: Mapping[str, HTTPRouteHandler]

    def to_schema(self) -> Json:
        """Write the document, completed."""
        written = super().to_schema()
        components = written["components"]
        _, problems = msgspec.json.schema_components([Problem], ref_template=REFERENCE)
        components["schemas"] = dict(sorted({**components["schemas"], **problems}.items()))
        for name, text in _said_of_objects(self.routes.values()):
            for each, schema in components["schemas"].items():
                # Of two objects with one name Litestar and msgspec shorten the module differently.
                if name == each or name.endswith(f"_{each}"):
                    schema["description"] = text
        components["responses"] = {name: _response(name) for name in _PROBLEMS}
        written["tags"] = list(_tags(self.routes.values()))
        for path, operations in written["paths"].items():
            for method, operation in operations.items():
                route = self.routes.get(operation["operationId"])
                if route is not None:
                    _complete(operation, path, method, route)
        return written


def _complete(operation: Json, path: str, method: str, route: HTTPRouteHandler) -> None:
    operation["tags"] = [path.removeprefix(PREFIX).partition("/")[0]]
    operation["summary"] = operation["description"].partition("\n")[0]
    operation["security"] = _security(method, route.guards or ())
    for each in operation.get("parameters", ()):
        each["description"] = PARAMETERS[each["name"]]
    if example := _example_of(operation):
        operation["requestBody"]["content"]["application/json"]["example"] = example
    parameters = [_KEY] if method == "post" else []
    parameters += [_MATCH] if "is_versioned" in route.opt else []
    if parameters:
        operation["parameters"] = [*operation.get("parameters", ()), *parameters]
    answers = operation["responses"]
    if operation["operationId"] in _FILES:
        content = {
            kind: {"schema": {"type": "string"}} for kind in _FILES[operation["operationId"]]
        }
        answers["200"]["content"] = content
    # Litestar's guess of errors, in a form of its own.
    answers.pop("400", None)
    if method == "get":
        answers["200"]["headers"] = {"ETag": _ETAG}
        answers["304"] = _NOT_MODIFIED
    if method == "post":
        done = next(each for status, each in answers.items() if status < "3")
        done["headers"] = {
            REPLAYED: {"description": "It was answered before.", "schema": {"const": "true"}}
        }
    for name in _problems_of(operation, path, method):
        answers[str(_PROBLEMS[name][1].status)] = {"$ref": f"#/components/responses/{name}"}
    operation["responses"] = dict(sorted(answers.items()))


def _problems_of(operation: Json, path: str, method: str) -> Iterator[str]:
    yield from _ALWAYS
    yield from _MORE.get(operation["operationId"], ())
    if "{" in path:
        yield "NotFound"
    if operation.get("parameters"):
        yield "BadInput"
    if method == "post":
        yield "Conflict"
    if method in {"put", "patch", "delete"}:
        yield "PreconditionFailed"
    if "requestBody" in operation:
        yield "BadInput"
        yield "TooLarge"


def _security(method: str, guards: Collection[object]) -> list[Json]:
    """Name who may: the scopes that a key needs, and the role of a person."""
    needed = ["read" if method == "get" else "write"]
    if people_only in guards:
        return [{"session": []}]
    if operators_only in guards:
        # `viral.enter_by_key` makes nobody an operator.
        return [{"session": ["operator"]}]
    if admins_only in guards:
        return [{"session": ["ADMIN"]}, {"key": [*needed, "admin"]}]
    return [{"session": []}, {"key": needed}]


def _example_of(operation: Json) -> object:
    """Return a body that the operation takes."""
    content = operation.get("requestBody", {}).get("content", {})
    return BODIES[operation["operationId"]] if "application/json" in content else None


def _said_of_objects(routes: Collection[HTTPRouteHandler]) -> Iterator[tuple[str, str]]:
    """Yield the objects that routes take and give, each with its docstring."""
    signatures = [each.parsed_fn_signature for each in routes]
    kinds = [each.return_type.annotation for each in signatures]
    kinds += [
        each.parameters["data"].annotation for each in signatures if "data" in each.parameters
    ]
    kinds += [spec.data_container for each in routes for spec in (each.responses or {}).values()]
    _, parts = msgspec.json.schema_components(
        [each for each in kinds if each is not None],
        ref_template=REFERENCE,
        schema_hook=lambda _: {"type": "string"},
    )
    for name, schema in parts.items():
        if "description" in schema:
            yield name.replace(".", "_"), inspect.cleandoc(schema["description"])


def _response(name: str) -> Json:
    when, fault = _PROBLEMS[name]
    example = msgspec.to_builtins(problem_of(fault, "5b7d1f0e9a3c2846"))
    content = {PROBLEM_TYPE: {"schema": {"$ref": REFERENCE.format(name="Problem")}}}
    content[PROBLEM_TYPE]["example"] = example
    headers = {"headers": {"Retry-After": _RETRY_AFTER}} if name in _WAITING else {}
    return {"description": when, **headers, "content": content}


def _tags(routes: Collection[HTTPRouteHandler]) -> Iterator[Json]:
    """Describe each resource as the module of its routes does."""
    said: dict[str, str] = {}
    for route in routes:
        module = inspect.getmodule(route.fn)
        text = ((module and module.__doc__) or "").partition(": ")[2].partition("\n")[0]
        for path in route.paths:
            said.setdefault(path.strip("/").partition("/")[0], text)
    for name in sorted(said):
        yield {"name": name, "description": said[name]}
