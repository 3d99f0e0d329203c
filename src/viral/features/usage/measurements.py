"""The installation's measurements, as lines over time: requests, the queue, the machine."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import insert, text

from viral.features.usage.spread import bin_of, percentile
from viral.schema.base import uuid7
from viral.schema.operations import SystemMetric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from sqlalchemy.ext.asyncio import AsyncSession

# What a worker writes each minute; shares are in per cent.
WORKERS: Final = "job_workers"
DATABASE: Final = "database_bytes"
MACHINE: Final = ("processor_pct", "memory_pct", "disk_pct", "connections_pct")
# What each web process writes of a minute in which it was asked: by bin of time, and failures.
REQUESTS: Final = "requests"
_FAILED: Final = "failed"

_GAUGES = text("""
SELECT date_bin(:step, recorded_at, :since) AS at, metric_type AS name,
       metadata->>'status' AS status, sum(value) AS total, min(value) AS lowest,
       max(value) AS highest, count(*) AS rows
FROM system_metrics
WHERE metric_type = ANY (CAST(:names AS text[])) AND recorded_at >= :since AND recorded_at <= :until
GROUP BY 1, 2, 3
""")
_REQUESTS = text("""
SELECT date_bin(:step, m.recorded_at, :since) AS at, counted.key, sum(counted.value::bigint) AS of
FROM system_metrics AS m, jsonb_each_text(m.metadata) AS counted
WHERE m.metric_type = :name AND m.recorded_at >= :since AND m.recorded_at <= :until
GROUP BY 1, 2
""")
_SIZE = text("SELECT pg_database_size(current_database())")


@dataclass(frozen=True, slots=True)
class Step:
    """The installation in one step of time; None is what nobody measured.

    `waiting` and `running` are means of the step's minutes, `oldest_s` the longest wait of a due
    job, `workers` the fewest that were heard of.
    """

    at: datetime
    requests: int
    failed: int
    p50_ms: float | None
    p95_ms: float | None
    workers: float | None
    waiting: float | None
    running: float | None
    oldest_s: float | None
    machine: Mapping[str, float]
    database_bytes: float | None


class Minute:
    """Requests of one minute, counted by how long they took; `failed` had a status from 500 on."""

    def __init__(self, at: datetime) -> None:
        self.at = at
        self._counts: Counter[str] = Counter()

    def add(self, *, status: int, took_ms: int) -> None:
        """Count a request."""
        self._counts[str(bin_of(took_ms))] += 1
        if status >= 500:  # noqa: PLR2004 - RFC 9110: from here on the fault is ours
            self._counts[_FAILED] += 1

    @property
    def row(self) -> dict[str, object]:
        """Give it as a row of `system_metrics`."""
        asked = self._counts.total() - self._counts[_FAILED]
        counted = {name: count for name, count in self._counts.items() if count}
        return {
            "id": uuid7(),
            "recorded_at": self.at,
            "metric_type": REQUESTS,
            "value": float(asked),
            "labels": counted,
        }


async def keep_minutes(session: AsyncSession, minutes: Sequence[Minute]) -> None:
    """Write minutes of requests, as the system."""
    await session.execute(insert(SystemMetric).values([each.row for each in minutes]))


async def database_size(session: AsyncSession) -> int:
    """Return the size of the database in bytes."""
    return int((await session.execute(_SIZE)).scalar_one())


async def measured(
    session: AsyncSession, *, since: datetime, step: timedelta, until: datetime
) -> list[Step]:
    """Read the steps from `since` to `until`, as the system; those without a row are left out."""
    span = {"since": since, "until": until, "step": step}
    names = [WORKERS, "jobs", "job_oldest_s", DATABASE, *MACHINE]
    gauges: defaultdict[datetime, list[_Gauge]] = defaultdict(list)
    for row in await session.execute(_GAUGES, span | {"names": names}):
        gauges[row.at].append(
            _Gauge(row.name, row.status, row.total, row.lowest, row.highest, row.rows)
        )
    asked: defaultdict[datetime, Counter[str]] = defaultdict(Counter)
    for row in await session.execute(_REQUESTS, span | {"name": REQUESTS}):
        asked[row.at][row.key] += int(row.of)
    return [_step(at, gauges[at], asked[at]) for at in sorted({*gauges, *asked})]


@dataclass(frozen=True, slots=True)
class _Gauge:
    name: str
    status: str | None
    total: float
    lowest: float
    highest: float
    rows: int


def _step(at: datetime, gauges: Sequence[_Gauge], asked: Mapping[str, int]) -> Step:
    bins = {int(name): count for name, count in asked.items() if name != _FAILED}
    by_name = {each.name: each for each in gauges if each.status is None}
    workers = by_name.get(WORKERS)
    oldest = by_name.get("job_oldest_s")
    size = by_name.get(DATABASE)
    # A minute in which nothing waited has no row of its own, but one that says who looked.
    minutes = workers.rows if workers else 0
    jobs = {each.status: each.total for each in gauges if each.name == "jobs"}
    return Step(
        at=at,
        requests=sum(bins.values()),
        failed=asked.get(_FAILED, 0),
        p50_ms=percentile(bins, 0.5),
        p95_ms=percentile(bins, 0.95),
        workers=workers.lowest if workers else None,
        waiting=jobs.get("pending", 0.0) / minutes if minutes else None,
        running=jobs.get("running", 0.0) / minutes if minutes else None,
        oldest_s=(oldest.highest if oldest else 0.0) if minutes else None,
        machine={
            name: found.total / found.rows for name in MACHINE if (found := by_name.get(name))
        },
        database_bytes=size.highest if size else None,
    )
