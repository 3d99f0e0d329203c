"""10,000 operations of several clients at random: what each was told is what happened."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
from clusters import Cluster
from factories import TestTenant
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import execute, fetch

from viral.schema.base import uuid7
from worker.history import Change, changes, watch

SEED = 20_261_123
OPERATIONS = 10_000
QUOTA = 25
if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

OVERDRAWN = "SELECT count(*) FROM quota_seen WHERE used NOT BETWEEN 0 AND of"
BALANCED = (
    "SELECT t.used_quota = (SELECT sum(l.amount) FROM quota_ledger AS l"
    " WHERE l.tenant_id = t.id) FROM tenants AS t"
)
TAKEN_TWICE = (
    "SELECT id FROM job_queue AS j WHERE j.status = 'pending' AND 1 < ("
    "SELECT count(*) FROM job_reservations AS r"
    " WHERE j.id = ANY (r.jobs) AND j.scheduled_for <= r.made_at)"
)
_AS_TENANT = "WITH c AS MATERIALIZED (SELECT set_config('app.tenant', $1, true))"
_EXCHANGE = (
    "SELECT * FROM viral.exchange_jobs($1, $2, $3, $4, $5, $6, 'default', $7,"
    " '00000000-0000-0000-0000-000000000000', NULL, NULL, NULL, true, '{}')"
)
_RESERVE = (
    "SELECT * FROM viral.reserve_jobs($1, 'default', $2, '00000000-0000-0000-0000-000000000000',"
    " true, '{}')"
)
_QUOTA_SEEN = """
CREATE TABLE public.quota_seen (used integer, of integer);
CREATE FUNCTION public.see_quota() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ''
AS $$
BEGIN
  INSERT INTO public.quota_seen VALUES (NEW.used_quota, NEW.monthly_quota);
  RETURN NULL;
END
$$;
CREATE TRIGGER see AFTER UPDATE ON public.tenants FOR EACH ROW EXECUTE FUNCTION public.see_quota()
"""
# How a status may change, and by how much the attempts with it; None: they begin anew.
EDGES: dict[tuple[str | None, str], set[int | None]] = {
    (None, "pending"): {0},
    # Promoted, or of a reservation and tried again.
    ("pending", "pending"): {0, 1},
    ("pending", "running"): {1},
    ("pending", "canceled"): {0},
    # Of a reservation: not marked between its claim and its end.
    ("pending", "completed"): {1},
    ("pending", "failed"): {1},
    ("running", "completed"): {0},
    ("running", "failed"): {0},
    ("running", "canceled"): {0},
    # Tried again, or given back without an attempt.
    ("running", "pending"): {0, -1},
    ("failed", "pending"): {None},
    ("canceled", "pending"): {None},
}


@dataclass
class World:
    """What is known to all clients, and what they were told."""

    rng: Random
    left: int = OPERATIONS
    done: Counter[str] = field(default_factory=Counter)
    jobs: list[UUID] = field(default_factory=list)
    claimed: Counter[tuple[UUID, UUID | None, int]] = field(default_factory=Counter)
    reserved: Counter[tuple[UUID, UUID | None, int]] = field(default_factory=Counter)
    completed: Counter[UUID] = field(default_factory=Counter)
    taken_late: int = 0
    canceled: Counter[UUID] = field(default_factory=Counter)
    retried: Counter[UUID] = field(default_factory=Counter)

    async def go_on(self, acts: list[Callable[[], Awaitable[None]]]) -> None:
        """Do one act after another, until all clients together have done enough."""
        while self.left > 0:
            self.left -= 1
            act = self.rng.choice(acts)
            try:
                await act()
            except (asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError):
                # Taken back whole by the server: nothing of it may have happened.
                self.done["given up"] += 1
            else:
                self.done[act.__name__] += 1

    def some_jobs(self, most: int) -> list[UUID]:
        return self.rng.sample(self.jobs[-60:], min(most, len(self.jobs[-60:])))


@dataclass
class Claimer:
    """A worker: what it believes to hold, and what it was told."""

    world: World
    connection: Connection
    id: UUID = field(default_factory=uuid7)
    held: dict[UUID, int] = field(default_factory=dict)

    def doings(self) -> list[Callable[[], Awaitable[None]]]:
        acts = [self.claim, self.reserve, self.end, self.end_late, self.begin, self.release]
        return [*acts, self.end, self.beat, self.reap]

    async def claim(self) -> None:
        for row in await self._exchange([], self.world.rng.randint(1, 6)):
            if row["id"] is not None:
                self.held[row["id"]] = row["attempt"]
                self.world.claimed[row["id"], self.id, row["attempt"]] += 1

    async def reserve(self) -> None:
        wanted = self.world.rng.randint(1, 6)
        for row in await self.connection.fetch(_RESERVE, self.id, wanted):
            if row["id"] is not None:
                self.held[row["id"]] = row["attempt"]
                self.world.reserved[row["id"], self.id, row["attempt"]] += 1

    async def begin(self) -> None:
        await self.connection.execute(
            "SELECT viral.begin_jobs($1, 'default', $2, '20 ms')", self.id, list(self.held)
        )

    async def end(self) -> None:
        outcomes = ("completed", "completed", "failed", "again")
        ended = [(*each, self.world.rng.choice(outcomes)) for each in self._some(3)]
        refused = {row["id"] for row in await self._exchange(ended, 0) if row["attempt"] == 0}
        for job, _, outcome in ended:
            if outcome == "completed" and job not in refused:
                self.world.completed[job] += 1
            # Now and then it says again what it said before.
            if self.world.rng.random() < 0.8:
                del self.held[job]

    async def end_late(self) -> None:
        """Hand in what an attempt before this one came to."""
        late = [(job, attempt - 1, "completed") for job, attempt in self._some(3) if attempt > 1]
        refused = {row["id"] for row in await self._exchange(late, 0) if row["attempt"] == 0}
        self.world.taken_late += len({job for job, _, _ in late} - refused)

    async def release(self) -> None:
        some = self._some(2)
        await self.connection.execute(
            "SELECT viral.release_jobs($1, $2, $3)", self.id, *_columns(some, 2)
        )
        for job, _ in some:
            del self.held[job]

    async def beat(self) -> None:
        await self.connection.execute("SELECT viral.heartbeat($1)", self.id)

    async def reap(self) -> None:
        # Whoever did not beat for a moment is dead, as far as anybody can tell.
        await self.connection.execute("SELECT viral.reap_jobs($1, '50 ms')", self.id)
        await self.connection.execute("SELECT viral.promote_jobs()")

    def _some(self, most: int) -> list[tuple[UUID, int]]:
        return self.world.rng.sample(sorted(self.held.items()), min(most, len(self.held)))

    async def _exchange(
        self, ended: list[tuple[UUID, int, str]], wanted: int
    ) -> list[asyncpg.Record]:
        jobs, tries, outcomes = _columns(ended, 3)
        return await self.connection.fetch(
            _EXCHANGE,
            self.id,
            jobs,
            tries,
            ["{}" if outcome == "completed" else None for outcome in outcomes],
            [None if outcome == "completed" else "no" for outcome in outcomes],
            [0.0 if outcome == "again" else None for outcome in outcomes],
            wanted,
        )


def _columns(
    rows: list[tuple[UUID, int]] | list[tuple[UUID, int, str]], count: int
) -> list[list[Any]]:
    return [[row[number] for row in rows] for number in range(count)]


@dataclass
class Client:
    """A tenant's connection."""

    world: World
    connection: Connection
    context: str
    reservations: list[tuple[UUID, int]] = field(default_factory=list)

    def doings(self) -> list[Callable[[], Awaitable[None]]]:
        return [self.enqueue, self.cancel, self.retry, self.take, self.refund]

    async def enqueue(self) -> None:
        ids = [uuid7() for _ in range(self.world.rng.randint(1, 4))]
        priority = self.world.rng.randint(1, 9)
        await self.connection.execute(
            "SELECT viral.enqueue_jobs($1, $2, 'plain', 'default', $3, $4, 3, NULL, '0', NULL,"
            " false)",
            self.context,
            ids,
            f"[{','.join(['{}'] * len(ids))}]",
            priority,
        )
        self.world.jobs += ids

    async def cancel(self) -> None:
        self.world.canceled.update(await self._call("cancel_jobs($2)", self.world.some_jobs(2)))

    async def retry(self) -> None:
        self.world.retried.update(await self._call("retry_jobs($2)", self.world.some_jobs(6)))

    async def take(self) -> None:
        reservation, count = uuid7(), self.world.rng.randint(1, 4)
        (left,) = await self._call("take_quota($2, $3, NULL)", reservation, count)
        if left is not None:
            self.reservations.append((reservation, count))

    async def refund(self) -> None:
        if not self.reservations:
            return
        reservation, count = self.world.rng.choice(self.reservations)
        await self._call("refund_quota($2, $3, $4)", uuid7(), reservation, count)

    async def _call(self, function: str, *arguments: object) -> list[Any]:
        rows = await self.connection.fetch(
            f"{_AS_TENANT} SELECT viral.{function} FROM c", self.context, *arguments
        )
        return [row[0] for row in rows]


async def test_ten_thousand_operations_at_once_leave_no_anomaly(
    cluster: Cluster,
    database_name: str,
    alice: TestTenant,
    bob: TestTenant,
    admin: AsyncConnection,
) -> None:
    await watch(cluster, database_name)
    await execute(admin, f"UPDATE tenants SET monthly_quota = {QUOTA}")
    await cluster.execute_as_admin(database_name, _QUOTA_SEEN)
    world = World(Random(SEED))
    async with AsyncExitStack() as stack:

        async def connect(role: str) -> Connection:
            connection = await cluster.connect(role, database_name)
            stack.push_async_callback(connection.close)
            return connection

        clients = [
            Client(world, await connect("viral_app"), cluster.token(tenant.id))
            for tenant in (alice, bob, alice)
        ]
        claimers = [Claimer(world, await connect("viral_worker")) for _ in range(4)]
        for each in claimers:
            await each.beat()
        await asyncio.gather(
            *(world.go_on(each.doings()) for each in clients),
            *(world.go_on(each.doings()) for each in claimers),
        )

    seen = await changes(cluster, database_name)
    assert {(each.was, each.became) for each in seen} == set(EDGES)
    assert anomalies(seen) == []
    assert world.taken_late == 0
    running = Counter(
        (each.job, each.worker, each.attempts) for each in seen if each.became == "running"
    )
    assert world.claimed <= running
    # What was reserved is marked later, or never.
    assert running - world.claimed <= world.reserved
    assert world.completed == Counter(each.job for each in seen if each.became == "completed")
    assert await fetch(admin, TAKEN_TWICE) == []
    assert world.canceled == Counter(each.job for each in seen if each.became == "canceled")
    assert world.retried == Counter(each.job for each in seen if each.was in {"failed", "canceled"})
    assert await fetch(admin, OVERDRAWN) == [(0,)]
    assert await fetch(admin, BALANCED) == [(True,), (True,)]


def anomalies(seen: list[Change]) -> list[Change]:
    """Return the changes that no operation makes of what was before."""
    attempts: defaultdict[UUID, int] = defaultdict(int)
    status: dict[UUID, str] = {}
    found = []
    for each in seen:
        steps = EDGES.get((each.was, each.became), set())
        step = each.attempts - attempts[each.job]
        is_allowed = step in steps or (None in steps and each.attempts == 0)
        is_held = (each.worker is not None) == (each.became == "running")
        if not is_allowed or not is_held or status.get(each.job) != each.was:
            found.append(each)
        attempts[each.job], status[each.job] = each.attempts, each.became
    return found
