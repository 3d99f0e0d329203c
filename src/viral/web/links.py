"""Absolute addresses of our own pages, for those who get them outside of a page."""

from __future__ import annotations

from viral.runtime import Runtime
from viral.web.requests import WebRequest


def link_to(request: WebRequest, path: str) -> str:
    """Return the address of a page: where people reach us, else as this request did.

    The door has checked the host that a request names.
    """
    runtime: Runtime = request.app.state.runtime
    return (runtime.settings.public_url or str(request.base_url)).rstrip("/") + path
