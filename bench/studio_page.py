"""Measures how Studio opens a large table: bench/studio_page.py [--rows N] [--rounds N].

Two databases of one server hold the same tenants; `api_usage` has a million rows in one, 100 in
the other. Studio's own application opens the table's first page in both in turn, and pages deep
in the large one. The ratio of the medians is printed; 1 is returned when it is above 1.5.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import re
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import asyncpg
import httpx
from installation import fresh_installation

from viral.database.engine import Database
from viral.database.urls import parse_url
from viral.features.tenants import create_tenant
from viral.features.users.members import add_member, ensure_operator
from viral.features.users.sessions import make_sign_in_link
from viral.postgres.bootstrap import DATABASE
from viral.settings import Settings
from viral.web.studio.application import create_studio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from viral.postgres.server import Server

MOST_RATIO = 1.5
SMALL, SMALL_ROWS = "small", 100
PAGE, WARM_UP = 50, 5
ADDRESS = "http://127.0.0.1:5555"
PATH = "/tables/api_usage"
# Ids as the product makes them: the milliseconds first.
ROWS = """
INSERT INTO api_usage (tenant_id, id, requested_at, request_id, endpoint, method, status_code,
                       response_time_ms)
SELECT $1, (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0')
            || '7' || substr(md5(n::text), 1, 3) || 'a' || substr(md5(n::text), 4, 15))::uuid,
       moment, md5(n::text), '/api/v1/concepts', 'GET', 200 + n % 5, n % 400
FROM generate_series(1, $2::integer) AS n,
     LATERAL (SELECT date_trunc('month', now()) + n * interval '1 second' AS moment) AS at
"""


async def main() -> int:
    """Print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    async with fresh_installation() as server, AsyncExitStack() as stack:
        tenant_id = await fill(server, options.rows)
        large = await stack.enter_async_context(opened(server, DATABASE, tenant_id))
        small = await stack.enter_async_context(opened(server, SMALL, tenant_id))
        return await measure(large, small, options.rounds)


async def fill(server: Server, rows: int) -> UUID:
    """Make a tenant, copy the database, and put rows of usage into both."""
    secrets = server.secrets
    system = Database(
        parse_url(server.url("viral_system", DATABASE)), context_key=lambda: secrets.context_key
    )
    async with system.session_without_tenant() as session:
        tenant_id = await create_tenant(session, slug="bench", tier="AGENCY", secrets=secrets)
    await system.close()
    await _execute(server, "postgres", f"CREATE DATABASE {SMALL} TEMPLATE {DATABASE}")
    for database, count in ((DATABASE, rows), (SMALL, SMALL_ROWS)):
        print(f"Writing {count:,} rows of usage ...", file=sys.stderr)
        await _execute(server, database, "SELECT viral.make_partitions()")
        await _execute(server, database, ROWS, tenant_id, count)
        await _execute(server, database, "VACUUM ANALYZE")
    return tenant_id


async def _execute(server: Server, database: str, statement: str, *values: object) -> None:
    admin = server.socket_url("viral_admin")
    connection = await asyncpg.connect(
        host=admin.host,
        port=admin.port,
        user=admin.user,
        password=admin.password,
        database=database,
    )
    try:
        await connection.execute(statement, *values)
    finally:
        await connection.close()


@asynccontextmanager
async def opened(
    server: Server, database: str, tenant_id: UUID
) -> AsyncIterator[httpx.AsyncClient]:
    """Open Studio on a database, with the operator signed in."""
    settings = Settings(
        home=server.home,
        database_url=server.url("viral_app", database),
        direct_url=server.url("viral_migrator", database),
    )
    application = create_studio(settings)
    transport = httpx.ASGITransport(application, client=("127.0.0.1", 50_000))  # type: ignore[arg-type]  # httpx has its own words for ASGI
    async with (
        application.lifespan(),
        httpx.AsyncClient(transport=transport, base_url=ADDRESS) as client,
    ):
        async with application.state.runtime.system.session_without_tenant() as session:
            operator = await ensure_operator(session)
            await add_member(session, tenant_id=tenant_id, user_id=operator.id, role="ADMIN")
            link = await make_sign_in_link(
                session, tenant_id=tenant_id, user_id=operator.id, now=datetime.now(UTC)
            )
        door = await client.get("/sign-in", params={"token": link})
        token = re.findall(r'name="_csrf_token" value="([^"]+)"', door.text)[0]
        await client.post("/sign-in", data={"_csrf_token": token, "token": link})
        yield client


async def measure(large: httpx.AsyncClient, small: httpx.AsyncClient, rounds: int) -> int:
    """Open both tables in turn; return whether the large one takes too long."""
    deep = await _deep_path(large)
    times: dict[str, list[float]] = {"large": [], "small": [], "deep": []}
    for number in range(rounds + WARM_UP):
        for name, client, path in (
            ("large", large, PATH),
            ("small", small, PATH),
            ("deep", large, deep),
        ):
            begun = perf_counter()
            answer = await client.get(path)
            took_ms = (perf_counter() - begun) * 1000
            assert answer.is_success, answer.text
            assert answer.text.count("data-key=") == PAGE, "the page is full"
            # The first few fill caches.
            if number >= WARM_UP:
                times[name].append(took_ms)
    middle = {name: median(each) for name, each in times.items()}
    for name, took_ms in middle.items():
        print(f"{name:>6}  {took_ms:7.1f} ms  ({rounds} pages)")
    ratio = middle["large"] / middle["small"]
    print(f"First page of the large table: {ratio:.2f} times the small one's, of {MOST_RATIO}.")
    return int(ratio > MOST_RATIO)


async def _deep_path(client: httpx.AsyncClient) -> str:
    """Walk twenty pages into the table."""
    path = PATH
    for _ in range(20):
        found = re.search(r'href="([^"]+)" rel="next"', (await client.get(path)).text)
        assert found, "a large table has a next page"
        path = html.unescape(found[1])
    return path


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
