"""Static files of the dashboard, kept for ever by browsers that ask for their current content."""

from __future__ import annotations

import gzip
from functools import cache

from litestar import Response, get
from litestar.params import FromPath, FromQuery

from viral.errors import NotFound
from viral.web.compression import takes_gzip
from viral.web.dashboard.rendering import STATIC_FOLDER, asset
from viral.web.door import OPEN
from viral.web.requests import WebRequest

KEPT = "public, max-age=31536000, immutable"
_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


@get("/static/{name:str}", opt=OPEN, include_in_schema=False, sync_to_thread=False)
def static_file(
    request: WebRequest, name: FromPath[str], v: FromQuery[str | None] = None
) -> Response[bytes]:
    """Send a file; `v` is the hash of the content that a page was made with.

    It is compressed for whoever takes that.
    """
    files = _files()
    if name not in files:
        raise NotFound("There is no such file.")
    content, compressed, media_type = files[name]
    is_current = asset(name) == f"/static/{name}?v={v}"
    headers = {"Cache-Control": KEPT if is_current else "no-cache", "Vary": "Accept-Encoding"}
    if takes_gzip(request.headers.get("accept-encoding", "")):
        content, headers["Content-Encoding"] = compressed, "gzip"
    return Response(content, media_type=media_type, headers=headers)


@cache
def _files() -> dict[str, tuple[bytes, bytes, str]]:
    """Read the folder once, plain and compressed: a name that is not in it leads nowhere."""
    return {
        path.name: (
            path.read_bytes(),
            gzip.compress(path.read_bytes(), mtime=0),
            _TYPES[path.suffix],
        )
        for path in sorted(STATIC_FOLDER.iterdir())
        if path.suffix in _TYPES
    }
