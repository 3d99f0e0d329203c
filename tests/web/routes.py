"""All routes of the application, and what of them is open to everybody."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from litestar import Litestar
from litestar.routes import HTTPRoute

# Of vendors, who send no form of ours.
SIGNED = {("POST", "/webhooks/clerk"), ("POST", "/webhooks/stripe")}
# Whoever adds to this list says why strangers may come in.
PUBLIC = {
    ("GET", "/"),  # the door
    ("GET", "/health"),  # asked by supervisors; says up or down
    ("GET", "/invitation"),  # where the link of an invitation leads
    ("GET", "/schema"),  # describes the API; holds no data
    ("GET", "/schema/openapi.json"),
    ("GET", "/schema/{path:str}"),
    ("GET", "/sign-in"),  # where a link leads
    ("GET", "/static/{name:str}"),  # style and script of the door
    ("POST", "/invitation"),  # the link in it is what lets in
    ("POST", "/sign-in"),
    ("POST", "/sign-in/password"),  # attempts are counted
    ("POST", "/sign-out"),  # harmless without a session
    *SIGNED,  # the signature over the body is what lets in
}
SOME_ID = UUID("0199f3a0-0000-7000-8000-000000000000")


def routes_of(application: Litestar) -> Iterator[tuple[str, str]]:
    """Yield method and path of every route."""
    for route in application.routes:
        assert isinstance(route, HTTPRoute), f"{route.path} is no HTTP route: nothing guards it"
        for method in sorted(route.methods - {"OPTIONS", "HEAD"}):
            yield method, route.path


def address_of(path: str, an_id: UUID = SOME_ID) -> str:
    """Fill in the parameters of a path."""
    parts = [
        str(an_id) if part.endswith(":uuid}") else "x" if part.startswith("{") else part
        for part in path.split("/")
    ]
    return "/".join(parts)
