"""What is measured, how much of it, and in which order: everybody in turn, round after round."""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from contenders import OURS

from viral.postgres.branches.clone import administering

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contenders import Contender

    from viral.postgres.server import Server

# Of each measure and contender: one figure a round, or, of the pickup, one a job.
Figures: TypeAlias = "defaultdict[str, defaultdict[str, list[float]]]"


class Fair(msgspec.Struct):
    """The answer of `fair`."""

    jobs_before: float
    wait_ms: float


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many jobs each measure takes."""

    single: int = 2_000
    concurrent: int = 4_000
    bulk: int = 20_000
    drain: int = 20_000
    finished: int = 1_000_000
    pickup: int = 150
    fair: int = 50_000
    tenants: int = 1_000


QUICK = Sizes(200, 400, 2_000, 2_000, 20_000, 20, 5_000, 50)
MEASURES = ("single", "concurrent", "bulk", "drain", "finished", "pickup", "fair", "tenants")


@dataclass(slots=True)
class Contest:
    """The rounds of one run and what they gave."""

    server: Server
    contenders: Sequence[Contender]
    sizes: Sizes
    figures: Figures

    async def round(self, number: int, measures: Sequence[str]) -> None:
        """Measure everything once; who comes first changes from round to round."""
        first = number % len(self.contenders)
        for measure in measures:
            for each in [*self.contenders[first:], *self.contenders[:first]]:
                print(f"round {number + 1}: {measure}, {each.name}", file=sys.stderr, flush=True)
                await getattr(self, f"_{measure}")(each)

    def _note(self, measure: str, contender: Contender, *values: float) -> None:
        self.figures[measure][contender.name].extend(values)

    async def _rate(self, measure: str, contender: Contender) -> None:
        await self._settle(contender)
        found = await contender.ask(measure, getattr(self.sizes, measure))
        self._note(measure, contender, msgspec.convert(found, float))

    async def _single(self, contender: Contender) -> None:
        await self._rate("single", contender)

    async def _concurrent(self, contender: Contender) -> None:
        await self._rate("concurrent", contender)

    async def _bulk(self, contender: Contender) -> None:
        await self._rate("bulk", contender)

    async def _drained(self, contender: Contender, *, finished: int = 0) -> float:
        count = int(self.sizes.drain * contender.share)
        await self._settle(contender, finished=finished, waiting=count)
        return msgspec.convert(await contender.ask("drain", count), float)

    async def _drain(self, contender: Contender) -> None:
        self._note("drain", contender, await self._drained(contender))

    async def _finished(self, contender: Contender) -> None:
        """Drain with and without the finished rows, right after each other."""
        empty = await self._drained(contender)
        full = await self._drained(contender, finished=self.sizes.finished)
        self._note("finished", contender, full / empty)

    async def _pickup(self, contender: Contender) -> None:
        await self._settle(contender)
        times = msgspec.convert(await contender.ask("pickup", self.sizes.pickup), list[float])
        self._note("pickup", contender, *times)

    async def _fair(self, contender: Contender) -> None:
        count = int(self.sizes.fair * contender.share)
        await self._settle(contender, waiting=count)
        found = msgspec.convert(await contender.ask("fair", count), Fair)
        self._note("fair_jobs", contender, found.jobs_before)
        self._note("fair_wait", contender, found.wait_ms)

    async def _tenants(self, contender: Contender) -> None:
        """Measure the ring of many tenants, which no other queue has."""
        if contender.name != OURS:
            return
        await self._settle(contender)
        found = await contender.ask("tenants", self.sizes.tenants)
        self._note("tenants", contender, msgspec.convert(found, float))

    async def _settle(self, contender: Contender, *, finished: int = 0, waiting: int = 0) -> None:
        """Leave just these rows, known to the planner and on the disk."""
        await contender.ask("fill", waiting)
        if finished:
            await contender.ask("finished", finished)
        admin = self.server.socket_url("viral_admin", contender.database)
        async with administering(admin) as connection:
            await connection.execute("VACUUM ANALYZE")
            await connection.execute("CHECKPOINT")


def no_figures() -> Figures:
    """Begin with nothing."""
    return defaultdict(lambda: defaultdict(list))
