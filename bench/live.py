"""Measures how soon open pages hear of a change: bench/live.py [--tenants N] [--streams N].

A real web process, a stream for each open page, and another process that changes one tenant after
the other. From the end of the commit until all streams of that tenant have the event; the median
and the 95th percentile are printed, and a line when a stream heard of another tenant.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median, quantiles
from time import perf_counter
from typing import TYPE_CHECKING

import httpx
from installation import fresh_installation

from viral.database.engine import Database
from viral.database.urls import parse_url
from viral.features.jobs.queue import enqueue
from viral.features.jobs.types import REFLEXION
from viral.features.tenants import create_tenant
from viral.features.users.members import add_member
from viral.features.users.sessions import make_sign_in_link, open_session
from viral.postgres.bootstrap import DATABASE
from viral.schema.tenants import User

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from viral.database.secrets import Secrets
    from viral.postgres.server import Server

ROUNDS = 200
PATIENCE_S = 5.0


@dataclass
class Heard:
    """What the streams of one tenant heard: when, by how many."""

    waiting: int
    at: list[float] = field(default_factory=list)
    is_all: asyncio.Event = field(default_factory=asyncio.Event)


async def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=50)
    parser.add_argument("--streams", type=int, default=4, help="of each tenant, 5 at most")
    options = parser.parse_args()
    async with fresh_installation() as server, AsyncExitStack() as stack:
        system, app = (_database(server, role) for role in ("viral_system", "viral_app"))
        stack.push_async_callback(system.close)
        stack.push_async_callback(app.close)
        tokens = await _sign_in(system, app, server.secrets, options.tenants)
        port = await stack.enter_async_context(_web(server))
        await measure(app, tokens, port, options.streams)


def _database(server: Server, role: str) -> Database:
    secrets = server.secrets
    url = parse_url(server.url(role, DATABASE))
    return Database(url, context_key=lambda: secrets.context_key, announces=True)


async def _sign_in(
    system: Database, app: Database, secrets: Secrets, tenants: int
) -> dict[UUID, str]:
    """Make tenants with a person each; the tokens of their sessions."""
    tokens = {}
    for number in range(tenants):
        async with system.session_without_tenant() as session:
            tenant_id = await create_tenant(
                session, slug=f"bench-{number}", tier="AGENCY", secrets=secrets
            )
            user = User(email=f"bench-{number}@example.com")
            session.add(user)
            await session.flush()
            await add_member(session, tenant_id=tenant_id, user_id=user.id, role="ADMIN")
            link = await make_sign_in_link(
                session, tenant_id=tenant_id, user_id=user.id, now=datetime.now(UTC)
            )
        async with app.session_without_tenant() as session:
            tokens[tenant_id] = (await open_session(session, link)).token
    return tokens


@asynccontextmanager
async def _web(server: Server) -> AsyncIterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    environment = {
        **os.environ,
        "VIRAL_HOME": str(server.home),
        "VIRAL_PORT": str(port),
        "DATABASE_URL": server.url("viral_app", DATABASE),
        "DIRECT_URL": server.url("viral_migrator", DATABASE),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "viral", "web", env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with httpx.AsyncClient() as client:
            for _ in range(300):
                try:
                    await client.get(f"http://127.0.0.1:{port}/health")
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
                else:
                    break
        yield port
    finally:
        process.terminate()
        await process.wait()


async def measure(app: Database, tokens: dict[UUID, str], port: int, streams: int) -> None:
    """Change one tenant after the other, and wait for its streams each time."""
    heard = {tenant_id: Heard(streams) for tenant_id in tokens}
    limits = httpx.Limits(max_connections=None)
    async with (
        httpx.AsyncClient(limits=limits, timeout=httpx.Timeout(5, read=60)) as client,
        asyncio.TaskGroup() as all_,
    ):
        readers = [
            all_.create_task(_read(client, port, token, heard[tenant_id]))
            for tenant_id, token in tokens.items()
            for _ in range(streams)
        ]
        # Each begins with `stale`, as nobody listened before the first.
        for each in heard.values():
            await each.is_all.wait()
        took_ms = []
        tenants = list(tokens)
        for number in range(ROUNDS):
            chosen = heard[tenants[number % len(tenants)]]
            others = sum(len(each.at) for each in heard.values() if each is not chosen)
            chosen.at.clear()
            chosen.is_all.clear()
            chosen.waiting = streams
            async with app.tenant_session(tenants[number % len(tenants)]) as session:
                await enqueue(session, REFLEXION, tenant_id=tenants[number % len(tenants)])
            committed = perf_counter()
            async with asyncio.timeout(PATIENCE_S):
                await chosen.is_all.wait()
            took_ms.append((max(chosen.at[:streams]) - committed) * 1000)
            # News are sent 50 ms apart at least: each change is to be the first of its own.
            await asyncio.sleep(0.1)
            if others != sum(len(each.at) for each in heard.values() if each is not chosen):
                print("A stream heard of another tenant.")
        for reader in readers:
            reader.cancel()
    print(
        f"{len(tokens)} tenants, {len(readers)} streams, {ROUNDS} changes: median"
        f" {median(took_ms):.1f} ms, 95th percentile {quantiles(took_ms, n=20)[-1]:.1f} ms"
    )


async def _read(client: httpx.AsyncClient, port: int, token: str, heard: Heard) -> None:
    headers = {"Accept": "text/event-stream", "Cookie": f"viral_session={token}"}
    async with client.stream("GET", f"http://127.0.0.1:{port}/live", headers=headers) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                heard.at.append(perf_counter())
                heard.waiting -= 1
                if heard.waiting == 0:
                    heard.is_all.set()


if __name__ == "__main__":
    asyncio.run(main())
