"""GET /live: what changed, told to a tenant's open pages as it happens.

Server-sent events (HTML standard, section 9.2). An event says of which kind something changed, and
which row; the page asks for itself again. One connection of the process hears the news of all
tenants (`database/announcing.py`); each stream is given those of its own.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from secrets import token_hex
from time import monotonic
from uuid import UUID

import asyncpg
import msgspec
import structlog
from litestar import get
from litestar.params import FromQuery
from litestar.response import Stream

from viral.database.announcing import CHANNEL, Piece, pieces_of
from viral.database.driver import driver_connection
from viral.database.faults import DRIVER_ERRORS
from viral.database.urls import ServerUrl
from viral.errors import BadInput, NotSignedIn, RateLimited, ServerError, VendorError
from viral.features.users.sessions import Identity
from viral.web.dependencies import Person
from viral.web.recognition import recognise
from viral.web.requests import WebRequest

log = structlog.get_logger(__name__)

MEDIA_TYPE = "text/event-stream"
HEARTBEAT_S = 15.0
# Between two looks whether the session still stands; news of people make them earlier.
CHECK_S = 30.0
# What a tenant's ring keeps for who comes back, and what a slow reader may be behind.
KEPT = 64
WAITING = 32
MOST_RINGS = 2_000
# A browser opens six connections to a host (HTTP/1.1): one is left for pages.
PER_SESSION = 5
PER_TENANT = 200
FULL_RETRY_S = 5.0
FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 15.0
_OPENING = b"retry: 2000\n\n"
_HEARTBEAT = b":\n\n"


class Ring:
    """The last events of a tenant. Its name stands for an unbroken row of them."""

    def __init__(self) -> None:
        self._name = token_hex(4)
        self._count = 0
        self._events: deque[bytes] = deque(maxlen=KEPT)

    @property
    def position(self) -> str:
        """Where a page stands that shows all that has happened."""
        return f"{self._name}-{self._count}"

    def add(self, piece: Piece) -> bytes:
        """Keep an event under the next number; return it as it is sent."""
        self._count += 1
        said = msgspec.json.encode({"kind": piece.kind, "id": piece.id})
        event = b"id: %s\nevent: news\ndata: %s\n\n" % (self.position.encode(), said)
        self._events.append(event)
        return event

    def stale(self) -> bytes:
        """Say that anything may have happened."""
        return b"id: %s\nevent: stale\ndata: {}\n\n" % self.position.encode()

    def since(self, position: str) -> list[bytes]:
        """Return what came after a position, or `stale` where that is not known."""
        name, _, count = position.partition("-")
        if name != self._name or not count.isdecimal() or int(count) > self._count:
            return [self.stale()]
        missed = self._count - int(count)
        if missed > len(self._events):
            return [self.stale()]
        return list(self._events)[len(self._events) - missed :]


class Reader:
    """One open stream: what waits to be sent, never more than it may be behind."""

    def __init__(self, credential: bytes) -> None:
        self.credential = credential
        self.is_over = False
        # Whether people changed since its session was looked at.
        self.is_in_doubt = False
        self._waiting: deque[bytes] = deque()
        self._is_news = asyncio.Event()

    def tell(self, events: list[bytes], ring: Ring) -> None:
        """Give it events; one that is too far behind is told that anything may have happened."""
        self._waiting.extend(events)
        if len(self._waiting) > WAITING:
            self._waiting.clear()
            self._waiting.append(ring.stale())
        self._is_news.set()

    def end(self) -> None:
        """Let it end."""
        self.is_over = True
        self._is_news.set()

    async def news(self, within_s: float) -> bytes:
        """Wait for events; nothing when none came in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._is_news.wait()
        self._is_news.clear()
        events = b"".join(self._waiting)
        self._waiting.clear()
        return events


class Hub:
    """The streams of one web process, and the connection that hears for all of them."""

    def __init__(self, *, heartbeat_s: float = HEARTBEAT_S, check_s: float = CHECK_S) -> None:
        self.heartbeat_s = heartbeat_s
        self.check_s = check_s
        self._rings: dict[UUID, Ring] = {}
        self._readers: dict[UUID, set[Reader]] = {}
        self._is_wanted = asyncio.Event()
        self._is_listening = False
        self._is_closed = False

    @asynccontextmanager
    async def listening_at(self, url: ServerUrl) -> AsyncIterator[None]:
        """Hear the news for the block, over a direct connection, while anybody reads them."""
        task = asyncio.create_task(self._listen(url))
        try:
            yield
        finally:
            self.close()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def close(self) -> None:
        """End all streams at once: a server waits for them when it stops."""
        self._is_closed = True
        for readers in self._readers.values():
            for reader in readers:
                reader.end()

    def position(self, tenant_id: UUID) -> str:
        """Say where a page stands that is read from now on; nothing while nobody listens."""
        return self._ring(tenant_id).position if self._is_listening else ""

    def refuse_too_many(self, identity: Identity) -> None:
        """Raise RateLimited where one session, or one tenant, has all the streams it may have."""
        readers = self._readers.get(identity.tenant_id, ())
        own = sum(each.credential == identity.credential for each in readers)
        if self._is_closed or own >= PER_SESSION or len(readers) >= PER_TENANT:
            raise RateLimited(retry_after_s=FULL_RETRY_S)

    @contextmanager
    def reading(self, identity: Identity, position: str) -> Iterator[Reader]:
        """Keep a stream for the block, from a position on."""
        reader, tenant_id = Reader(identity.credential), identity.tenant_id
        self._readers.setdefault(tenant_id, set()).add(reader)
        self._is_wanted.set()
        if self._is_listening:
            ring = self._ring(tenant_id)
            reader.tell(ring.since(position), ring)
        try:
            yield reader
        finally:
            self._readers[tenant_id].discard(reader)
            if not self._readers[tenant_id]:
                del self._readers[tenant_id]

    def _ring(self, tenant_id: UUID) -> Ring:
        ring = self._rings.pop(tenant_id, None) or Ring()
        # The one that was asked for last stands last.
        self._rings[tenant_id] = ring
        if len(self._rings) > MOST_RINGS:
            oldest = next((each for each in self._rings if each not in self._readers), tenant_id)
            if oldest != tenant_id:
                del self._rings[oldest]
        return ring

    async def _listen(self, url: ServerUrl) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            await self._is_wanted.wait()
            try:
                async with driver_connection(url) as connection:
                    await connection.add_listener(CHANNEL, self._hear)
                    self._begin()
                    retry_s = FIRST_RETRY_S
                    await self._attend(connection)
            except ServerError as error:
                log.warning("live.server_lost", reason=error.message)
            except DRIVER_ERRORS as error:
                log.warning("live.server_lost", reason=type(error).__name__)
            finally:
                # What happens from here on is missed: no position of before is known any more.
                self._is_listening = False
                self._rings.clear()
            if self._is_wanted.is_set():
                await asyncio.sleep(retry_s * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load
                retry_s = min(2 * retry_s, LONGEST_RETRY_S)

    def _begin(self) -> None:
        self._is_listening = True
        for tenant_id, readers in self._readers.items():
            ring = self._ring(tenant_id)
            for reader in readers:
                reader.tell([ring.stale()], ring)

    async def _attend(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        """Return once the connection broke, or nobody has read for a while."""
        broken = asyncio.Event()
        connection.add_termination_listener(lambda _: broken.set())
        while not broken.is_set():
            was_read = bool(self._readers)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.heartbeat_s):
                    await broken.wait()
            if broken.is_set():
                log.warning("live.server_lost", reason="the connection broke")
            elif not was_read and not self._readers:
                # A server that sleeps when nobody needs it may do so.
                self._is_wanted.clear()
                return
            else:
                # A network that went silent says nothing by itself.
                await connection.execute("SELECT", timeout=self.heartbeat_s)

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        for piece in pieces_of(str(payload)):
            for tenant_id in [piece.tenant_id] if piece.tenant_id else list(self._rings):
                ring = self._rings.get(tenant_id)
                if ring is None:
                    continue
                event = ring.add(piece)
                for reader in self._readers.get(tenant_id, ()):
                    reader.is_in_doubt |= piece.kind == "people"
                    reader.tell([event], ring)


@get("/live", include_in_schema=False, media_type=MEDIA_TYPE)
async def live(
    request: WebRequest, identity: Person, after: FromQuery[str | None] = None
) -> Stream:
    """Tell what changes, from where the page stands; `Last-Event-ID` is newer than `after`."""
    if MEDIA_TYPE not in request.headers.get("accept", ""):
        raise BadInput("This address is a stream of events.", hint=f"Accept {MEDIA_TYPE}.")
    hub: Hub = request.app.state.hub
    hub.refuse_too_many(identity)
    position = request.headers.get("last-event-id") or after or ""
    return Stream(
        _told(request, hub, identity, position),
        media_type=MEDIA_TYPE,
        # A proxy that gathers would keep them (nginx, X-Accel-Buffering).
        headers={"X-Accel-Buffering": "no"},
    )


async def _told(
    request: WebRequest, hub: Hub, identity: Identity, position: str
) -> AsyncIterator[bytes]:
    with hub.reading(identity, position) as reader:
        yield _OPENING
        checked = monotonic()
        while True:
            events = await reader.news(min(hub.heartbeat_s, hub.check_s))
            if reader.is_over:
                return
            if reader.is_in_doubt or monotonic() - checked >= hub.check_s:
                reader.is_in_doubt = False
                if not await _still_stands(request, identity):
                    return
                checked = monotonic()
            yield events or _HEARTBEAT


async def _still_stands(request: WebRequest, identity: Identity) -> bool:
    """Tell whether the session that a stream was opened with still opens this tenant."""
    request.scope["user"] = None
    try:
        await recognise(request, is_required=True)
    except NotSignedIn:
        return False
    except (RateLimited, VendorError, ServerError):
        # No answer is no reason against somebody; they are asked again.
        return True
    found = request.user
    return found is not None and (found.tenant_id, found.user_id) == (
        identity.tenant_id,
        identity.user_id,
    )
