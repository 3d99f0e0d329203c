"""A check, what it finds, what it may look at, and how all of them run: each by itself, in time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from sqlalchemy.exc import DBAPIError

from viral.database.driver import driver_connection
from viral.database.faults import DRIVER_ERRORS
from viral.errors import ServerError, ViralError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    import asyncpg

    from viral.database.encryption.keys import KeyRing
    from viral.database.encryption.rotation import Use
    from viral.database.secrets import Secrets
    from viral.database.urls import ServerUrl
    from viral.postgres.backup.target import Target
    from viral.postgres.pooler import Pooler
    from viral.postgres.server import Server
    from viral.settings import Settings

# A check waits no longer than this; a connection a little less, so that it can say why.
LIMIT_S = 5.0
CONNECT_S = 3.0
# So many checks are connected at once: a server that is nearly full shall not be filled.
AT_ONCE = 3

State = Literal["ok", "warning", "error", "skipped"]
Need = Literal["settings", "secrets", "urls", "server", "embedded"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check saw: the cause in a sentence, and the command or the line that mends it."""

    check: str
    state: State
    cause: str
    fix: str | None = None


@dataclass(frozen=True, slots=True)
class Embedded:
    """What belongs to the embedded server, beside the server itself."""

    server: Server
    main: Server
    replica: Server
    pooler: Pooler


@dataclass(frozen=True, slots=True)
class Patient:
    """All that is looked at; what could not be read is None, and `unread` has the reason.

    `keys` opens the field keys without making any; `key_use` counts the values under each.
    `claude` asks Claude whether it takes the key, and is False where none is set.
    """

    clock: Callable[[], datetime]
    settings: Settings | None = None
    secrets: Secrets | None = None
    app: ServerUrl | None = None
    direct: ServerUrl | None = None
    migrator: ServerUrl | None = None
    embedded: Embedded | None = None
    unknown_variables: Sequence[str] = ()
    keys: Callable[[], KeyRing] | None = None
    key_use: Callable[[], Awaitable[Counter[Use]]] | None = None
    target: Callable[[], Target] | None = None
    claude: Callable[[], Awaitable[bool]] | None = None
    unread: Mapping[Need, ViralError] = field(default_factory=dict)

    def lacks(self, need: Need) -> str | None:
        """Say why something cannot be looked at, or None where it can."""
        if need in self.unread:
            return self.unread[need].message
        if need == "embedded":
            return None if self.embedded else "The server is not the embedded one."
        if need == "server":
            return self.lacks("urls")
        found = self.direct if need == "urls" else getattr(self, need)
        return None if found is not None else f"The {need} could not be read."

    def is_broken(self, need: Need) -> bool:
        """Tell whether something is unusable by itself, not for the want of what it is made of."""
        sources: tuple[Need, ...] = ("settings", "secrets")
        found = self.unread.get(need)
        before = sources[: sources.index(need)] if need in sources else sources
        return found is not None and found not in [self.unread.get(each) for each in before]

    @property
    def eye(self) -> ServerUrl:
        """The address that sees the most: the superuser's socket, else the migrator's."""
        assert self.migrator is not None
        if self.embedded is not None:
            return self.embedded.server.socket_url("viral_admin", self.migrator.database)
        return self.migrator


@dataclass(frozen=True, slots=True)
class Check:
    """One look at one thing; without what it needs it is skipped."""

    name: str
    look: Callable[[Patient], Awaitable[list[Finding]]]
    needs: tuple[Need, ...] = ()


def ok(check: str, cause: str) -> list[Finding]:
    """Say that all is well."""
    return [Finding(check, "ok", cause)]


def warning(check: str, cause: str, fix: str) -> list[Finding]:
    """Say that it works, and should be looked after."""
    return [Finding(check, "warning", cause, fix)]


def error(check: str, cause: str, fix: str) -> list[Finding]:
    """Say that it does not work, or is not safe."""
    return [Finding(check, "error", cause, fix)]


def skipped(check: str, cause: str) -> list[Finding]:
    """Say that it could not be looked at."""
    return [Finding(check, "skipped", cause)]


def of_error(check: str, found: ViralError) -> Finding:
    """Say what an error of ours says."""
    return Finding(check, "error", found.message, found.hint or None)


async def examine(
    patient: Patient, checks: Sequence[Check], *, only: str | None = None
) -> list[Finding]:
    """Run the checks, a few at once; the findings stand in the order of the checks."""
    patient = await _with_server(patient)
    turns = asyncio.Semaphore(AT_ONCE)

    async def run(check: Check) -> list[Finding]:
        async with turns:
            return await _in_time(check, patient)

    chosen = [check for check in checks if only in {None, check.name}]
    return [each for found in await asyncio.gather(*map(run, chosen)) for each in found]


async def _with_server(patient: Patient) -> Patient:
    """Knock once: a server that is not there is not asked by each check again."""
    if patient.direct is None:
        return patient
    try:
        async with asyncio.timeout(LIMIT_S), looking_into(patient.eye):
            return patient
    except TimeoutError:
        late = ServerError("The server did not answer in time.")
        return replace(patient, unread={**patient.unread, "server": late})
    except ViralError as refused:
        return replace(patient, unread={**patient.unread, "server": refused})


async def _in_time(check: Check, patient: Patient) -> list[Finding]:
    for need in check.needs:
        if (reason := patient.lacks(need)) is not None:
            if need == check.name and patient.is_broken(need):
                return [of_error(check.name, patient.unread[need])]
            return skipped(check.name, reason)
    try:
        async with asyncio.timeout(LIMIT_S):
            return await check.look(patient)
    except ViralError as found:
        return [of_error(check.name, found)]
    except TimeoutError:
        return skipped(check.name, f"It took longer than {LIMIT_S:g} s and was left.")
    except (*DRIVER_ERRORS, DBAPIError) as broken:
        # The driver's own words: its errors may quote a statement, never a row.
        return skipped(check.name, f"The server refused to be looked at: {_first_line(broken)}.")


def _first_line(error: BaseException) -> str:
    root = error.orig if isinstance(error, DBAPIError) else error
    return (str(root).splitlines() or [type(root).__name__])[0]


@asynccontextmanager
async def looking_into(url: ServerUrl) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Connect for one look; nothing can be changed by it."""
    url = replace(url, connect_timeout_s=min(url.connect_timeout_s, CONNECT_S))
    async with driver_connection(url) as connection:
        try:
            if not url.is_pooled:
                await connection.execute("SET default_transaction_read_only = on")
            yield connection
        finally:
            # Not in words: a server that hangs would not let go.
            connection.terminate()
