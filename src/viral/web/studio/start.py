"""The way in, the list of tables, and the switch between reading and writing."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from litestar import Response, get, post
from litestar.params import URLEncodedBody
from litestar.response import Redirect

from viral.errors import BadInput
from viral.features.studio.shapes import shapes
from viral.web.dashboard.views import SignInPage
from viral.web.dependencies import Wired
from viral.web.door import EITHER
from viral.web.forms import Form
from viral.web.requests import WebRequest
from viral.web.sign_in import door_page
from viral.web.site import Site
from viral.web.studio.gate import mode_cookie, sealed_mode
from viral.web.studio.shell import Framed, show


class ModeForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whether to write, and where the person was."""

    mode: Literal["reading", "writing"]
    back: str = "/tables"


@get("/", opt=EITHER, include_in_schema=False)
async def start(request: WebRequest, runtime: Wired) -> Response[str]:
    """Show the door to those who are not signed in, and the tables to others."""
    if request.user is None:
        return door_page(request, runtime, SignInPage("signed_out"))
    return Redirect("/tables", status_code=303)


@get("/tables", include_in_schema=False)
async def show_tables(request: WebRequest, frame: Framed) -> Response[str]:
    """List all tables, with what each is for and what may be done there."""
    return show(request, "studio/tables.html", frame, shapes={each.name: each for each in shapes()})


@post("/mode", include_in_schema=False, sync_to_thread=False)
def switch_mode(request: WebRequest, data: URLEncodedBody[ModeForm]) -> Redirect:
    """Allow changes for this session, or go back to reading."""
    site: Site = request.app.state.site
    response = Redirect(local_address(data.back), status_code=303)
    is_on = data.mode == "writing"
    response.set_cookie(
        mode_cookie(site),
        sealed_mode(request) if is_on else "",
        max_age=None if is_on else 0,
        httponly=True,
        samesite="strict",
    )
    return response


def local_address(address: str) -> str:
    """Return an address of ours to go back to; BadInput for one that leads elsewhere."""
    parts = urlsplit(address)
    # Browsers read a backslash as a slash, and two slashes as the beginning of a host.
    is_ours = address.startswith("/") and not parts.netloc and "\\" not in address
    if not is_ours or not address.isprintable():
        raise BadInput("This is no address of Studio.")
    return address
