"""Every way into the application, read from its routes: whatever is added is attacked as well."""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType
from uuid import UUID

from litestar import Litestar
from litestar.enums import RequestEncodingType
from litestar.handlers import HTTPRouteHandler
from litestar.params import BodyKwarg, QueryParameter
from litestar.routes import HTTPRoute

# Where strangers may come in, each with its reason. Every other way has to refuse them.
PUBLIC = frozenset(
    {
        "GET /",  # the door
        "GET /invitation",  # where a link leads
        "GET /health",  # asked by supervisors; says up or down
        "GET /schema",  # describes the API; holds no data
        "GET /schema/openapi.json",
        "GET /schema/{path:str}",
        "GET /sign-in",  # where a link leads
        "GET /static/{name:str}",  # style and script of the door
        "POST /invitation",  # the link's secret is the proof
        "POST /sign-in",
        "POST /sign-in/password",
        "POST /sign-out",  # harmless without a session
        "POST /webhooks/clerk",  # the sender's signature is the proof
        "POST /webhooks/stripe",
    }
)
METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
_ASKED_BY_BROWSERS = {"HEAD", "OPTIONS"}


@dataclass(frozen=True, slots=True)
class Way:
    """One method of one path: its parameters, its body; a query's names, and which are ids."""

    method: str
    path: str
    parameters: tuple[tuple[str, type], ...] = ()
    query: tuple[tuple[str, bool], ...] = ()
    body: type = NoneType
    encoding: RequestEncodingType = RequestEncodingType.JSON
    is_http: bool = True

    @property
    def name(self) -> str:
        """The way as people write it; it never holds an id."""
        return f"{self.method} {self.path}"

    @property
    def is_safe(self) -> bool:
        return self.method == "GET"

    @property
    def is_public(self) -> bool:
        return self.name in PUBLIC

    @property
    def has_body(self) -> bool:
        return self.body is not NoneType

    def address(self, identity: UUID, word: str = "") -> str:
        """Fill in the parameters: an id where one belongs, elsewhere a word or else the id."""
        address = self.path
        for name, kind in self.parameters:
            value = str(identity) if kind is UUID or not word else word
            address = "/".join(
                value if part.startswith(f"{{{name}:") else part for part in address.split("/")
            )
        return address


def ways_of(application: Litestar) -> dict[str, Way]:
    """List every way into an application, by name."""
    found: dict[str, Way] = {}
    for route in application.routes:
        if not isinstance(route, HTTPRoute):
            way = Way(type(route).__name__, route.path, is_http=False)
            found[way.name] = way
            continue
        parameters = tuple((each.name, each.type) for each in route.path_parameters.values())
        for handler in route.route_handlers:
            for method in sorted(handler.http_methods - _ASKED_BY_BROWSERS):
                way = _way(str(method), route.path, parameters, handler)
                found[way.name] = way
    return found


def _way(
    method: str, path: str, parameters: tuple[tuple[str, type], ...], handler: HTTPRouteHandler
) -> Way:
    fields = handler.parsed_fn_signature.parameters
    names = {name for name, _ in parameters} | {"data"}
    query = tuple(
        (name, UUID in {field.annotation, *field.args})
        for name, field in fields.items()
        if isinstance(field.kwarg_definition, QueryParameter) and name not in names
    )
    data = handler.parsed_data_field
    if data is None:
        return Way(method, path, parameters, query)
    kind = data.kwarg_definition
    encoding = RequestEncodingType.JSON
    if isinstance(kind, BodyKwarg):
        encoding = RequestEncodingType(kind.media_type)
    return Way(method, path, parameters, query, data.annotation, encoding)
