"""The application behind a real port, and the Python client that talks to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from clusters import free_port
from litestar import Litestar


@asynccontextmanager
async def served(application: Litestar) -> AsyncIterator[str]:
    """Serve an application that lives on a port of this machine; its address."""
    port = free_port()
    config = uvicorn.Config(application, port=port, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving
