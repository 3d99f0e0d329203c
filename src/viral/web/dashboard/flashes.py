"""Notes about the last action: kept in a sealed cookie until the next page shows them."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from litestar import Response
from litestar.response import Redirect

from viral.web.dashboard.views import Flash
from viral.web.requests import WebRequest
from viral.web.site import Site

LIFETIME_S = 60
# Browsers keep cookies of up to 4 KB.
LONGEST_MESSAGE_BYTES = 1500


def send_back(request: WebRequest, flash: Flash, page: str = "") -> Redirect:
    """Send a person back to the page that their form stands on, where the note is shown.

    It is home, unless the form's route names another as `page` of its `opt`, or the caller does.
    """
    back = page or request.route_handler.opt.get("page", "/")
    response = Redirect(back, status_code=303)
    site: Site = request.app.state.site
    message = flash.message.encode()
    if len(message) > LONGEST_MESSAGE_BYTES:
        cut = message[:LONGEST_MESSAGE_BYTES].decode(errors="ignore")
        flash = replace(flash, message=f"{cut} …")
    _set(response, site, site.seals.seal("flash", _owner(request), msgspec.json.encode(flash)))
    return response


def take_flashes(request: WebRequest) -> tuple[Flash, ...]:
    """Read the notes that wait for this person; what was altered or meant for others is none.

    A page that looks again by itself (static/live.js) leaves them to the next one that is opened.
    """
    if _looks_again(request):
        return ()
    site: Site = request.app.state.site
    sealed = request.cookies.get(site.flash_cookie)
    content = site.seals.open("flash", _owner(request), sealed) if sealed else None
    return () if content is None else (msgspec.json.decode(content, type=Flash),)


def forget_flashes(request: WebRequest, response: Response[str]) -> None:
    """Delete notes that a page has shown."""
    site: Site = request.app.state.site
    if site.flash_cookie in request.cookies and not _looks_again(request):
        _set(response, site, "")


def _looks_again(request: WebRequest) -> bool:
    return "x-live" in request.headers


def _owner(request: WebRequest) -> str:
    return request.auth or ""


def _set(response: Response[str] | Redirect, site: Site, value: str) -> None:
    response.set_cookie(
        site.flash_cookie,
        value,
        max_age=LIFETIME_S if value else 0,
        secure=site.is_secure,
        httponly=True,
        samesite="lax",
    )
