"""GET /health: whether this process can do its work."""

from __future__ import annotations

import msgspec
from litestar import Response, get
from sqlalchemy import text

from viral.errors import ServerError
from viral.web.dependencies import Wired
from viral.web.door import OPEN


class Health(msgspec.Struct, frozen=True):
    """Whether the database answers."""

    status: str


@get("/health", opt=OPEN)
async def health(runtime: Wired) -> Response[Health]:
    """Tell whether the database answers: 200, or 503 while it does not."""
    try:
        async with runtime.app.session_without_tenant() as session:
            await session.execute(text("SELECT 1"))
    except ServerError:
        return Response(Health("unavailable"), status_code=503)
    return Response(Health("ok"))
