"""Starlette and asyncpg, as bare as it goes: JSON of the database is spliced into the answer."""

from __future__ import annotations

import hashlib
import hmac
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

PEPPER = bytes.fromhex(os.environ["BENCH_PEPPER"])
# The statement of ours, with its limit as $1.
PAGE = os.environ["BENCH_PAGE"]
LIMIT = 20
KEY = """
SELECT tenant_id::text FROM api_keys
WHERE key_hmac = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""


async def generations(request: Request) -> Response:
    """List the newest generations of the key's tenant."""
    key = request.headers.get("authorization", "").removeprefix("Bearer ")
    digest = hmac.new(PEPPER, b"api key " + key.encode(), hashlib.sha256).digest()
    pool: asyncpg.Pool[asyncpg.Record] = request.app.state.pool
    async with pool.acquire() as connection, connection.transaction():
        tenant_id = await connection.fetchval(KEY, digest)
        if tenant_id is None:
            return Response(b'{"detail":"unknown key"}', 401, media_type="application/json")
        await connection.execute("SELECT set_config('app.tenant', $1, true)", tenant_id)
        rows = await connection.fetch(PAGE, LIMIT + 1)
    cursor = "null"
    if len(rows) > LIMIT:
        last = rows[LIMIT - 1]
        cursor = f'"{last[0].isoformat()}_{last[1]}"'
    documents = ",".join([each[2] for each in rows[:LIMIT]])
    body = f'{{"generations":[{documents}],"next_cursor":{cursor}}}'
    return Response(body, media_type="application/json")


@asynccontextmanager
async def _with_pool(application: Starlette) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["BENCH_URL"], min_size=10, max_size=10) as pool:
        application.state.pool = pool
        yield


if __name__ == "__main__":
    uvicorn.run(
        Starlette(routes=[Route("/api/v1/generations", generations)], lifespan=_with_pool),
        host="127.0.0.1",
        port=int(os.environ["BENCH_PORT"]),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )
