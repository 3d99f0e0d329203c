"""A streaming replica of the tests' server, and ways to disturb it.

PYTEST_DONT_REWRITE: it is imported by name before pytest takes it as a plugin.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress

import asyncpg
import pytest
from clusters import Cluster

from viral.database.engine import Database
from viral.database.urls import parse_url
from viral.postgres.account import server_account
from viral.postgres.processes import server_processes, wait_for_end
from viral.postgres.replica import remove_replica, start_replica
from viral.postgres.server import Server

ARRIVAL_S = 15


@pytest.fixture(scope="module")
async def replica(cluster: Cluster) -> AsyncIterator[Server]:
    """Give a replica that follows; a test that ends it starts it again."""
    server = Server(home=cluster.home / "replica", secrets=cluster.secrets)
    await start_replica(cluster.server, server)
    try:
        yield server
    finally:
        await remove_replica(cluster.server, server)


async def ask(server: Server, sql: str) -> object:
    """Ask as the superuser."""
    url = server.socket_url("viral_admin")
    connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
        host=url.host, port=url.port, user=url.user, password=url.password, database="postgres"
    )
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def arrives(cluster: Cluster, replica: Server) -> bool:
    """Commit on the primary; say whether it arrives on the replica, with all before it."""
    await ask(cluster.server, "SELECT pg_current_xact_id()")
    wanted = await ask(cluster.server, "SELECT pg_current_wal_flush_lsn()")
    with suppress(TimeoutError):
        async with asyncio.timeout(ARRIVAL_S):
            while not await ask(replica, f"SELECT pg_last_wal_replay_lsn() - '0/0' >= {wanted}"):
                await asyncio.sleep(0.02)
            return True
    return False


async def on_replica(cluster: Cluster, replica: Server, role: str, name: str) -> Database:
    """Open a database on the replica once it has arrived there."""
    assert await arrives(cluster, replica)
    return Database(parse_url(replica.url(role, name)), context_key=cluster.secrets.context_key)


async def send(replica: Server, number: signal.Signals) -> None:
    """Send a signal to all processes of the replica; a deadly one has worked on return."""
    account = server_account()
    found = await server_processes(replica.data_dir, account=account)
    for pid in found.all:
        os.kill(pid, number)
    if number == signal.SIGKILL:
        assert await wait_for_end(found.all, account=account, timeout_s=10)
