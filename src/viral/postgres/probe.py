"""Whether the server answers: asked by a real connection, over its own socket."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import asyncpg

from viral.database.faults import DRIVER_ERRORS

if TYPE_CHECKING:
    from datetime import datetime

    from viral.database.secrets import Secrets
    from viral.postgres.installation import Installation

TIMEOUT_S = 5
# Nothing listens there: the server was never started.
UNKNOWN_PORT = 1
FACTS = """
    SELECT current_setting('data_directory') AS data_dir, pg_postmaster_start_time() AS since,
        current_setting('server_version') AS version
"""

State = Literal["ours", "not_ours", "starting", "full", "silent"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a server tells of itself."""

    data_dir: Path
    version: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from the socket; the facts only from our own server."""

    state: State
    facts: Facts | None = None


async def probe(installation: Installation, secrets: Secrets) -> Answer:
    """Ask the server on our socket who it is; a wrong password or other data is not ours."""
    try:
        facts = await _ask(installation, secrets)
    except asyncpg.InvalidAuthorizationSpecificationError:
        return Answer("not_ours")
    except asyncpg.CannotConnectNowError:
        return Answer("starting")
    except asyncpg.TooManyConnectionsError:
        return Answer("full")
    except DRIVER_ERRORS:
        return Answer("silent")
    if facts.data_dir != installation.data_dir:
        return Answer("not_ours")
    return Answer("ours", facts)


async def _ask(installation: Installation, secrets: Secrets) -> Facts:
    connection = await asyncpg.connect(
        host=str(installation.socket_dir),
        port=installation.port or UNKNOWN_PORT,
        user="viral_admin",
        password=secrets.password("viral_admin"),
        database="postgres",
        ssl=False,
        timeout=TIMEOUT_S,
        command_timeout=TIMEOUT_S,
    )
    try:
        row = await connection.fetchrow(FACTS)
        assert row is not None
        return Facts(Path(row["data_dir"]), row["version"].split()[0], row["since"])
    finally:
        await connection.close(timeout=TIMEOUT_S)
