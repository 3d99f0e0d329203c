"""The database that commands of the schema work on, as the migrator."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from viral.database.urls import ServerUrl
    from viral.settings import Settings


@dataclass(frozen=True, slots=True)
class Installation:
    """Its settings, and the address of its database: to change the schema, and to copy all."""

    settings: Settings
    url: ServerUrl
    backup_url: ServerUrl


@asynccontextmanager
async def installation() -> AsyncIterator[Installation]:
    """Have the server of this installation for the length of a command."""
    from viral.database.secrets import Secrets
    from viral.servers import migrator_url, running_server, urls_of
    from viral.settings import load_settings

    settings = load_settings()
    async with running_server(settings):
        secrets = Secrets.load_or_create(settings.home)
        url = migrator_url(settings, secrets)
        yield Installation(settings, url, urls_of(settings).for_role("viral_backup", secrets))
