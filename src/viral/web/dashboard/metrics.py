"""Metrics: a tenant's use of the API, and for operators how the installation does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from litestar import Response, get
from litestar.params import FromQuery
from markupsafe import Markup

from viral.features.tenants import own_tenant
from viral.features.usage.measurements import Step, measured
from viral.features.usage.requests import ApiUse, EndpointUse, use_of_api
from viral.features.users.api_keys import key_names
from viral.runtime import Runtime
from viral.web.dashboard.charts import sparkline
from viral.web.dashboard.figures import Figure, csv_answer
from viral.web.dashboard.installation import Standing, standing_of
from viral.web.dashboard.rendering import render
from viral.web.dashboard.switcher import page_of, send_page
from viral.web.dashboard.timelines import Line, figure
from viral.web.dashboard.views import Choice
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.door import operators_only
from viral.web.requests import WebRequest
from viral.web.traffic import Traffic

PAGE: Final = "/metrics"
ENDPOINTS_SHOWN: Final = 10
# The machine's four lines; the names stand at their ends.
_MACHINE: Final = {
    "processor_pct": "processor",
    "memory_pct": "memory",
    "disk_pct": "disk",
    "connections_pct": "sessions",
}
_UNMEASURED: Final = (
    "Nothing measured in this time. The web server and a worker each write a line a minute."
)
_COLUMNS: Final = (
    "since",
    "requests",
    "failed",
    "p50_ms",
    "p95_ms",
    "workers",
    "waiting",
    "running",
    "oldest_s",
    "database_bytes",
)


@dataclass(frozen=True, slots=True)
class Span:
    """How far back a page looks, and in which steps the API and the installation are shown."""

    label: str
    use_step: timedelta
    use_steps: int
    step: timedelta
    steps: int

    def use_since(self, now: datetime) -> datetime:
        """Begin at a whole step, so that the last one is the one that still goes on."""
        return _whole(now, self.use_step) - (self.use_steps - 1) * self.use_step

    def since(self, now: datetime) -> datetime:
        """Begin likewise, in the steps of the installation."""
        return _whole(now, self.step) - (self.steps - 1) * self.step


_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SPANS: Final = {
    "24h": Span("24 hours", _HOUR, 24, timedelta(minutes=15), 96),
    "7d": Span("7 days", _DAY, 7, timedelta(hours=2), 84),
}


@dataclass(frozen=True, slots=True)
class KeyUseRow:
    """What a key asked; a revoked one keeps its name."""

    name: str
    calls: int
    errors: int
    history: Markup


@dataclass(frozen=True, slots=True)
class UsePage:
    """A tenant's use of the API in a span."""

    calls: int
    errors: int
    p95_ms: float | None
    chart: Figure
    endpoints: tuple[EndpointUse, ...]
    keys: tuple[KeyUseRow, ...]

    @property
    def error_share(self) -> float:
        return 100 * self.errors / self.calls if self.calls else 0.0


@dataclass(frozen=True, slots=True)
class SystemPage:
    """How the installation does: now, and over the span."""

    standing: Standing
    charts: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class MetricsPage:
    """What the page shows; `system` is for operators."""

    span: str
    spans: tuple[Choice, ...]
    use: UsePage
    system: SystemPage | None


@get(PAGE, include_in_schema=False)
async def show_metrics(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    session: Transaction,
    span: FromQuery[str] = "24h",
) -> Response[str]:
    """Show the tenant's use of the API, and to operators the installation."""
    now = runtime.clock()
    span = span if span in SPANS else "24h"
    tenant = await own_tenant(session)
    names = await key_names(session)
    use = await read_use(runtime, identity.tenant_id, SPANS[span], now=now)
    shown = MetricsPage(
        span=span,
        spans=tuple(Choice(name, each.label) for name, each in SPANS.items()),
        use=_use(use, SPANS[span], names, now=now),
        system=await _system(request, runtime, SPANS[span], now=now)
        if identity.is_operator
        else None,
    )
    page = await page_of(request, identity, session, tenant, now=now)
    return send_page(request, render("metrics.html", page=page, metrics=shown))


@get("/metrics.csv", guards=[operators_only], include_in_schema=False)
async def metrics_csv(runtime: Wired, span: FromQuery[str] = "24h") -> Response[str]:
    """Send the installation's measurements of a span, unrounded."""
    steps = await _measured(runtime, SPANS.get(span, SPANS["24h"]), now=runtime.clock())
    return csv_answer(
        "metrics",
        (*_COLUMNS, *_MACHINE),
        (
            (
                each.at.isoformat(),
                *(getattr(each, name) for name in _COLUMNS[1:]),
                *(each.machine.get(of) for of in _MACHINE),
            )
            for each in steps
        ),
    )


async def read_use(runtime: Runtime, tenant_id: UUID, span: Span, *, now: datetime) -> ApiUse:
    """Read a tenant's use of the API, from a replica where there is one."""
    since = span.use_since(now)
    return await runtime.reading.read(
        tenant_id, partial(use_of_api, since=since, step=span.use_step, until=now)
    )


def _use(use: ApiUse, span: Span, names: Mapping[UUID, str], *, now: datetime) -> UsePage:
    moments = [use.since + place * use.step for place in range(len(use.calls))]
    lines = [Line("calls", tuple(use.calls)), Line("errors", tuple(use.errors))]
    each_step = "day" if span.use_step == _DAY else "hour"
    keys = sorted(use.keys.items(), key=lambda each: -sum(each[1].calls))
    return UsePage(
        calls=sum(use.calls),
        errors=sum(use.errors),
        p95_ms=use.p95_ms,
        chart=figure(
            "use",
            f"How often is the API asked each {each_step}?",
            "Errors were refused or failed: answers from 400 on. The last step goes on.",
            moments=moments if sum(use.calls) else [],
            lines=lines if sum(use.calls) else [],
            unit="",
            now=now,
        ),
        endpoints=use.endpoints[:ENDPOINTS_SHOWN],
        keys=tuple(
            KeyUseRow(
                name="Browsers" if key is None else names.get(key, "A key that is gone"),
                calls=sum(each.calls),
                errors=each.errors,
                history=sparkline(each.calls),
            )
            for key, each in keys
        ),
    )


async def _system(
    request: WebRequest, runtime: Runtime, span: Span, *, now: datetime
) -> SystemPage:
    traffic: Traffic = request.app.state.traffic
    steps = await _measured(runtime, span, now=now)
    standing = await standing_of(runtime, steps, started_at=traffic.started_at, now=now)
    return SystemPage(standing, _charts(steps, span, now=now))


async def _measured(runtime: Runtime, span: Span, *, now: datetime) -> list[Step]:
    async with runtime.system.session_without_tenant() as session:
        return await measured(session, since=span.since(now), step=span.step, until=now)


def _charts(steps: Sequence[Step], span: Span, *, now: datetime) -> tuple[Figure, ...]:
    draw = partial(figure, moments=[each.at for each in steps], now=now, empty=_UNMEASURED)
    machine = [
        Line(label, tuple(each.machine.get(name) for each in steps))
        for name, label in _MACHINE.items()
    ]
    return (
        draw(
            "answers",
            "How fast are requests answered?",
            "Half of all requests took p50 at most, 95 of 100 took p95.",
            lines=[
                Line("p95", tuple(each.p95_ms for each in steps)),
                Line("p50", tuple(each.p50_ms for each in steps)),
            ],
            unit="ms",
        ),
        draw(
            "requests",
            "How much is asked each minute, and how much fails?",
            "Pages and the API together; failed are answers from 500 on.",
            lines=_each_minute(steps, span, now=now),
            unit="a minute",
            digits=1,
        ),
        *_of_queue(steps, draw),
        draw(
            "machine",
            "How full is the machine?",
            "Where the worker runs: processor, memory and disk; sessions of all the server takes.",
            lines=machine,
            unit="%",
        ),
    )


def _each_minute(steps: Sequence[Step], span: Span, *, now: datetime) -> list[Line]:
    # The last step still goes on, and the first minute of one counts whole.
    minutes = [max(1.0, min(span.step, now - each.at) / _MINUTE) for each in steps]
    pairs = list(zip(steps, minutes, strict=True))
    return [
        Line("asked", tuple(each.requests / long for each, long in pairs)),
        Line("failed", tuple(each.failed / long for each, long in pairs)),
    ]


def _of_queue(steps: Sequence[Step], draw: Callable[..., Figure]) -> tuple[Figure, ...]:
    return (
        draw(
            "waits",
            "How long does the oldest job wait?",
            "The longest wait of a job that was due, in each step.",
            lines=[Line("oldest", tuple(each.oldest_s for each in steps))],
            unit="s",
        ),
        draw(
            "depth",
            "How full is the queue?",
            "Jobs of all tenants, in the mean of each step.",
            lines=[
                Line("waiting", tuple(each.waiting for each in steps)),
                Line("running", tuple(each.running for each in steps)),
            ],
            unit="jobs",
            digits=1,
        ),
    )


def _whole(moment: datetime, step: timedelta) -> datetime:
    """Cut a moment to a whole step of its day."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (moment - midnight) // step * step


ROUTES: Final = (show_metrics, metrics_csv)
