"""The options of the URL, on a real server."""

from __future__ import annotations

import asyncio
import socket

import pytest
from clusters import Cluster
from factories import TestTenant
from sqlalchemy import text
from tenancy import small, tenants_seen

from viral.database.engine import Database
from viral.database.urls import parse_url
from viral.errors import PoolExhausted, ServerUnreachable


def direct(cluster: Cluster, database: str) -> str:
    return cluster.direct_url("viral_app", database).setting(password=True)


async def test_connection_limit_and_pool_timeout_bound_the_pool(
    cluster: Cluster, database_name: str
) -> None:
    address = direct(cluster, database_name)
    url = parse_url(f"{address}?connection_limit=2&pool_timeout=1")
    app = Database(url, context_key=cluster.secrets.context_key)

    async with app.session_without_tenant(), app.session_without_tenant():
        begun = asyncio.get_running_loop().time()
        with pytest.raises(PoolExhausted, match=r"All 2 connections .* in use for 1 s") as caught:
            async with app.session_without_tenant():
                pass
        waited = asyncio.get_running_loop().time() - begun

    assert waited >= 1
    assert 'Increase pool size: DATABASE_URL="...?connection_limit=' in caught.value.hint
    await app.close()


async def test_a_pool_timeout_of_zero_waits_until_a_connection_is_free(
    cluster: Cluster, database_name: str
) -> None:
    address = direct(cluster, database_name)
    url = parse_url(f"{address}?connection_limit=1&pool_timeout=0&connect_timeout=0")
    app = Database(url, context_key=cluster.secrets.context_key)

    async def ask() -> int:
        async with app.session_without_tenant() as session:
            return int(await session.scalar(text("SELECT 42")) or 0)

    async with app.session_without_tenant():
        asking = asyncio.create_task(ask())
        await asyncio.sleep(0.2)
        assert not asking.done()

    assert 42 == await asking
    await app.close()


async def test_connect_timeout_bounds_the_wait_for_a_silent_server(cluster: Cluster) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = direct(cluster, "viral").replace(
            f":{cluster.admin.port}/", f":{silent.getsockname()[1]}/"
        )
        app = Database(
            parse_url(f"{address}?connect_timeout=1"), context_key=cluster.secrets.context_key
        )

        with pytest.raises(ServerUnreachable, match="no answer in time"):
            async with asyncio.timeout(8), app.session_without_tenant():
                pass

    await app.close()


@pytest.mark.parametrize(
    ("query", "is_cached"),
    [("", True), ("?statement_cache_size=0", False), ("?pgbouncer=true", False)],
)
async def test_statements_are_cached_on_the_server_unless_the_url_forbids_it(
    cluster: Cluster, database_name: str, alice: TestTenant, query: str, *, is_cached: bool
) -> None:
    url = parse_url(direct(cluster, database_name) + query)
    app = Database(small(url), context_key=cluster.secrets.context_key)
    named = text("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%FROM tenants'")

    await tenants_seen(app, alice.id)
    async with app.session_without_tenant() as session:
        count = await session.scalar(named)

    assert is_cached == bool(count)
    await app.close()
