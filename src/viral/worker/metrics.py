"""The queue in Prometheus's words, which a worker serves at http://127.0.0.1:PORT/metrics.

The text is prometheus_client's; the server is asyncio's own, for one page that only programs of
this machine read.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from viral.errors import PortInUse, ServerError
from viral.features.jobs.listing import queue_stats
from viral.features.usage.measurements import WORKERS
from viral.schema.operations import SystemMetric

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from viral.features.jobs.listing import QueueStats
    from viral.runtime import Runtime

HOST = "127.0.0.1"
CACHED_S = 5.0
REQUEST_S = 5.0
# A count of workers that is older than this says nothing about now.
_RECENT = timedelta(minutes=3)
_OPEN = ("pending", "blocked", "running")
_OF = ("tenant", "type")


class Queue(Collector):
    """One look at the queue, as families of metrics. No label holds what a job is about."""

    def __init__(self, stats: Sequence[QueueStats], workers: float | None) -> None:
        self._stats = stats
        self._workers = workers

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the families; what nobody knows is left out."""
        jobs = GaugeMetricFamily("viral_jobs", "Jobs that have not ended.", labels=[*_OF, "status"])
        ended = GaugeMetricFamily(
            "viral_jobs_ended_last_hour",
            "Jobs that ended in the last hour; failures are those with status failed.",
            labels=[*_OF, "status"],
        )
        oldest = GaugeMetricFamily(
            "viral_job_oldest_seconds", "How long the oldest due job waits.", labels=_OF
        )
        run_time = GaugeMetricFamily(
            "viral_job_run_seconds",
            "Run time of jobs that ended in the last hour.",
            labels=[*_OF, "status", "quantile"],
        )
        for each in self._stats:
            of = [each.tenant, each.job_type]
            (jobs if each.status in _OPEN else ended).add_metric([*of, each.status], each.jobs)
            if each.oldest_s is not None:
                oldest.add_metric(of, each.oldest_s)
            for quantile, seconds in (("0.5", each.run_p50_s), ("0.95", each.run_p95_s)):
                if seconds is not None:
                    run_time.add_metric([*of, each.status, quantile], seconds)
        yield from (jobs, ended, oldest, run_time)
        if self._workers is not None:
            yield GaugeMetricFamily(
                "viral_workers", "Workers that were heard of, a minute ago.", value=self._workers
            )


class Page:
    """The page of metrics; the database is asked at most every 5 s, whoever reads it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._reading = asyncio.Lock()
        self._text = b""
        self._good_until = monotonic()

    async def read(self) -> bytes:
        """Return the page; raise ServerError when the database does not answer."""
        async with self._reading:
            if monotonic() >= self._good_until:
                self._text = generate_latest(await self._look())
                self._good_until = monotonic() + CACHED_S
            return self._text

    async def _look(self) -> CollectorRegistry:
        newest = (
            select(SystemMetric.value)
            .where(
                SystemMetric.metric_type == WORKERS,
                SystemMetric.recorded_at > func.now() - _RECENT,
            )
            .order_by(SystemMetric.recorded_at.desc())
            .limit(1)
        )
        async with self._runtime.system.session_without_tenant() as session:
            queue = Queue(await queue_stats(session), await session.scalar(newest))
        registry = CollectorRegistry()
        registry.register(queue)
        return registry


@asynccontextmanager
async def serving_metrics(runtime: Runtime, port: int | None) -> AsyncIterator[int | None]:
    """Serve the page until the block ends; yields the port, which is a free one for 0."""
    if port is None:
        yield None
        return
    answer = partial(_answer, Page(runtime))
    try:
        server = await asyncio.start_server(answer, HOST, port)
    except OSError as error:
        raise PortInUse(
            f"The metrics cannot be served at port {port}: {os.strerror(error.errno or 0)}.",
            hint="Choose another one: viral worker --metrics-port PORT.",
        ) from error
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _answer(page: Page, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request, and close: HTTP/1.0 (RFC 1945) is enough for a page."""
    try:
        async with asyncio.timeout(REQUEST_S):
            head = await reader.readuntil(b"\r\n\r\n")
            status, text = await _page_for(page, head.decode("latin-1"))
            kind = CONTENT_TYPE_PLAIN_0_0_4 if status.startswith("200") else "text/plain"
            headers = f"HTTP/1.0 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n"
            writer.write(f"{headers}Content-Length: {len(text)}\r\n\r\n".encode() + text)
            await writer.drain()
    except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        # Who asks so slowly, so much or not at all gets no answer.
        pass
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _page_for(page: Page, head: str) -> tuple[str, bytes]:
    request, *lines = head.split("\r\n")
    hosts = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("host:")]
    if any(host.rpartition(":")[0] not in {HOST, "localhost"} for host in hosts):
        # A page in a browser that has made its name lead here (DNS rebinding).
        return "403 Forbidden", b"Ask for it at 127.0.0.1 or localhost.\n"
    if request.split(" ")[:2] != ["GET", "/metrics"]:
        return "404 Not Found", b"There is only GET /metrics.\n"
    try:
        return "200 OK", await page.read()
    except ServerError as error:
        return "503 Service Unavailable", f"{error.message}\n".encode()
