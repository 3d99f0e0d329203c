"""Studio's templates and static files: its own, the console's, then those of the dashboard."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

import jinja2
from litestar import Response, get
from litestar.params import FromPath, FromQuery

from viral.errors import NotFound
from viral.web.dashboard import rendering as dashboard
from viral.web.door import OPEN
from viral.web.static import KEPT

_FOLDER: Final = Path(__file__).parent
_PLACES: Final = (_FOLDER, _FOLDER / "console", dashboard.STATIC_FOLDER.parent)
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@cache
def environment() -> jinja2.Environment:
    """Build the environment: the dashboard's, with more templates and other addresses of files."""
    folders = [place / "templates" for place in _PLACES]
    made = dashboard.environment().overlay(loader=jinja2.FileSystemLoader(folders))
    # A copy: an overlay shares the names of what it lies over.
    made.globals = dict(made.globals)
    offered: dict[str, object] = {"asset": asset}
    # pyrefly takes the type of `globals` from Jinja's own few defaults.
    made.globals.update(offered)  # pyrefly: ignore[no-matching-overload]
    return made


def render(template: str, **context: object) -> str:
    """Render a template."""
    return environment().get_template(template).render(context)


def asset(name: str) -> str:
    """Give the address of a static file, with its content's hash: it may be cached for ever."""
    return f"/static/{name}?v={_files()[name][2]}"


@get("/static/{name:str}", opt=OPEN, include_in_schema=False, sync_to_thread=False)
def studio_file(name: FromPath[str], v: FromQuery[str | None] = None) -> Response[bytes]:
    """Send a file; `v` is the hash of the content that a page was made with."""
    files = _files()
    if name not in files:
        raise NotFound("There is no such file.")
    content, media_type, digest = files[name]
    return Response(
        content,
        media_type=media_type,
        headers={"Cache-Control": KEPT if v == digest else "no-cache"},
    )


@cache
def _files() -> dict[str, tuple[bytes, str, str]]:
    """Read the folders once; the first that has a name wins."""
    found: dict[str, tuple[bytes, str, str]] = {}
    for place in _PLACES:
        for path in sorted((place / "static").glob("*")):
            if path.suffix in _TYPES:
                content = path.read_bytes()
                digest = hashlib.sha256(content).hexdigest()[:12]
                found.setdefault(path.name, (content, _TYPES[path.suffix], digest))
    return found
