"""A migrated server of a bench's own, in a folder that goes with it."""

from __future__ import annotations

import logging
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from viral.database import migrate
from viral.database.secrets import Secrets
from viral.database.urls import parse_url
from viral.postgres.backup.restore import remove_server
from viral.postgres.bootstrap import DATABASE, bootstrap
from viral.postgres.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def fresh_installation() -> AsyncIterator[Server]:
    """Start a server with roles and tables; logs are warnings, and nothing is left behind."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory(prefix="viral-bench-") as folder:
        home = Path(folder) / "home"
        server = Server(home=home, secrets=Secrets.load_or_create(home))
        try:
            await server.start()
            await bootstrap(server.socket_url("viral_admin"), server.secrets)
            await migrate.deploy(parse_url(server.url("viral_migrator", DATABASE)))
            yield server
        finally:
            await server.stop()
            await remove_server(server)
