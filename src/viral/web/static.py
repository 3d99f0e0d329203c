"""Static files of the dashboard, kept for ever by browsers that ask for their current content."""

from __future__ import annotations

from functools import cache

from litestar import Response, get
from litestar.params import FromPath, FromQuery

from viral.errors import NotFound
from viral.web.dashboard.rendering import STATIC_FOLDER, asset
from viral.web.door import OPEN

KEPT = "public, max-age=31536000, immutable"
_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


@get("/static/{name:str}", opt=OPEN, include_in_schema=False, sync_to_thread=False)
def static_file(name: FromPath[str], v: FromQuery[str | None] = None) -> Response[bytes]:
    """Send a file; `v` is the hash of the content that a page was made with."""
    files = _files()
    if name not in files:
        raise NotFound("There is no such file.")
    content, media_type = files[name]
    is_current = asset(name) == f"/static/{name}?v={v}"
    return Response(
        content,
        media_type=media_type,
        headers={"Cache-Control": KEPT if is_current else "no-cache"},
    )


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    """Read the folder once: a name that is not in it leads nowhere."""
    return {
        path.name: (path.read_bytes(), _TYPES[path.suffix])
        for path in sorted(STATIC_FOLDER.iterdir())
        if path.suffix in _TYPES
    }
