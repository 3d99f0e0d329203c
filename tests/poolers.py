"""A real PgBouncer before the server of this test process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from clusters import Cluster, free_port

from viral.database.urls import ServerUrl, parse_url
from viral.errors import BinariesMissing
from viral.postgres.pooler import POOLED_ROLES, Pooler, find_program
from viral.postgres.server import Server

# Read before the tests' environment is cleaned of the settings of this machine.
IS_REQUIRED = os.environ.get("VIRAL_REQUIRE_POOLER") == "1"
CONNECTIONS = 5
# 127.0.0.1, in a spelling by which the product does not take the pooler for its own: without one,
# the server of DATABASE_URL is one elsewhere to it, too.
LOOPBACK = "127.1"


class PooledServer(Server):
    """A server whose addresses for the app lead through a pooler, once that was started."""

    _pooler_port: int | None = None

    async def start_pooler(self) -> None:
        port = free_port()
        await Pooler(self, port=port).start()
        self._pooler_port = port

    async def stop(self) -> None:
        if self._pooler_port is not None:
            await Pooler(self, port=self._pooler_port).stop()
        await super().stop()

    def url(self, role: str, database: str = "viral") -> str:
        direct = super().url(role, database)
        if self._pooler_port is None or role not in POOLED_ROLES:
            return direct
        pooled = replace(parse_url(direct), host=LOOPBACK, port=self._pooler_port, is_pooled=True)
        return pooled.setting(password=True)


@asynccontextmanager
async def running_pooler(server: Server) -> AsyncIterator[Pooler]:
    """Have a pooler with five connections for a database."""
    if isinstance(server, PooledServer):
        pytest.skip("has a pooler of its own, and TESTS_THROUGH=pooler has put one there")
    try:
        find_program()
    except BinariesMissing as error:
        if IS_REQUIRED:
            pytest.fail("VIRAL_REQUIRE_POOLER=1 asks for the tests with PgBouncer: install it")
        pytest.skip(f"the tests with a real pooler did not run: {error.message}")
    pooler = Pooler(server, port=free_port(), size=CONNECTIONS)
    await pooler.start()
    try:
        yield pooler
    finally:
        await pooler.stop()


def pooled(cluster: Cluster, pooler: Pooler, database: str, role: str = "viral_app") -> ServerUrl:
    """Give the address of a test's database, through the pooler."""
    return replace(cluster.url(role, database), port=pooler.url.port, is_pooled=True)
