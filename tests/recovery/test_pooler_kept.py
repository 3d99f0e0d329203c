"""`viral up` keeps the pooler alive that the app goes through."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from clusters import Cluster
from poolers import pooled, running_pooler
from sqlalchemy import text

from viral.cli.supervisor import _keep_server
from viral.database.engine import Database
from viral.errors import ServerError
from viral.postgres.bootstrap import bootstrap
from viral.settings import Settings


async def test_a_killed_pooler_is_started_again(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with running_pooler(cluster.server) as pooler:
        settings = Settings(
            home=cluster.home,
            pooler_port=pooler.url.port,
            database_url=pooler.lines["DATABASE_URL"],
            direct_url=pooler.lines["DIRECT_URL"],
        )
        stop = asyncio.Event()
        keeping = asyncio.create_task(_keep_server(settings, stop))
        killed = (await pooler.status()).pid
        assert killed is not None

        os.kill(killed, signal.SIGKILL)
        pid = None
        while pid in {None, killed}:
            # Between the kill and the next start the console answers nobody.
            with suppress(ServerError):
                pid = (await pooler.status()).pid
            await asyncio.sleep(0.1)

        stop.set()
        await keeping


async def test_a_server_that_is_prepared_again_keeps_its_pooler(
    cluster: Cluster, database_name: str
) -> None:
    """It logs in by what the server stores of a password, which a new salt would change."""
    async with running_pooler(cluster.server) as pooler:
        await bootstrap(cluster.admin, cluster.secrets)
        app = Database(
            pooled(cluster, pooler, database_name), context_key=cluster.secrets.context_key
        )
        async with app.session_without_tenant() as session:
            assert "viral_app" == await session.scalar(text("SELECT current_user"))
        await app.close()
