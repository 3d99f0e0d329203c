"""Where trends come from, for operators: sources are added, switched and asked, files imported."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from litestar import post
from litestar.datastructures import UploadFile
from litestar.params import FromPath, MultipartBody, URLEncodedBody
from litestar.response import Redirect

from viral.errors import BadInput
from viral.features.jobs.schedules import run_schedule
from viral.features.trends import import_trends
from viral.features.trends.files import LARGEST_FILE_BYTES, parse_trends
from viral.features.trends.kinds import kinds
from viral.features.trends.sources import (
    SCHEDULE,
    TRENDS_FETCH,
    NewSource,
    add_source,
    disable_source,
    enable_source,
    list_sources,
)
from viral.schema.content import TrendSource
from viral.web.dashboard.flashes import send_back
from viral.web.dashboard.rendering import count
from viral.web.dashboard.views import Choice, Flash
from viral.web.dependencies import Wired
from viral.web.door import operators_only
from viral.web.forms import Form
from viral.web.requests import WebRequest

PAGE: Final = "/trends"
_BACK: Final = {"page": PAGE}
_LABELS: Final = {
    "csv": "File of the server",
    "feed": "RSS or Atom feed",
    "gnews": "GNews",
    "google-trends": "Google Trends",
    "reddit": "Reddit",
    "youtube": "YouTube",
}
# A file of the server is for whoever sits at its command line.
_OF_THE_WEB: Final = tuple(kind for kind in kinds().values() if kind.name != "csv")


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A source: when it was asked, when it is asked next, and why it failed."""

    name: str
    kind: str
    url: str
    is_enabled: bool
    failures: int
    asked_at: datetime | None
    next_at: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True)
class SourcesCard:
    """What operators see of sources, and the kinds that they may add."""

    rows: tuple[SourceRow, ...]
    kinds: tuple[Choice, ...]
    may_fetch: bool


class SourceForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A source; of address, section and region a kind takes what it needs."""

    name: str
    kind: str
    url: str = ""
    section: str = ""
    region: str = ""
    category: str = ""


class TrendsForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of trends."""

    file: UploadFile


def sources_card(sources: Sequence[TrendSource]) -> SourcesCard:
    """Show the sources as their operator needs them."""
    return SourcesCard(
        rows=tuple(_row(each) for each in sources),
        kinds=tuple(Choice(each.name, _label(each.name)) for each in _OF_THE_WEB),
        may_fetch=any(each.is_enabled for each in sources),
    )


@post("/trends/sources", guards=[operators_only], opt=_BACK, include_in_schema=False)
async def make_source(
    request: WebRequest, runtime: Wired, data: URLEncodedBody[SourceForm]
) -> Redirect:
    """Add a source, enabled; the first one starts the schedule that asks it."""
    if data.kind not in {each.name for each in _OF_THE_WEB}:
        raise BadInput(
            f"A source of the kind {data.kind[:50]!r} cannot be added here.",
            hint="On the server: `viral trends sources add`.",
        )
    wanted = NewSource(
        name=data.name.strip(),
        kind=data.kind,
        url=data.url.strip() or None,
        section=data.section.strip() or None,
        region=data.region.strip() or None,
        category=data.category or None,
    )
    async with runtime.system.session_without_tenant() as session:
        await add_source(session, wanted)
    return send_back(request, Flash("success", f"{wanted.name} is asked from the next round on."))


@post(
    "/trends/sources/{name:str}/enable", guards=[operators_only], opt=_BACK, include_in_schema=False
)
async def switch_source_on(
    request: WebRequest,
    runtime: Wired,
    name: FromPath[str],
    data: URLEncodedBody[Form],  # noqa: ARG001 - its shape is checked
) -> Redirect:
    """Let a source be asked again."""
    async with runtime.system.session_without_tenant() as session:
        await enable_source(session, name)
    return send_back(request, Flash("success", f"{name} is asked from the next round on."))


@post(
    "/trends/sources/{name:str}/disable",
    guards=[operators_only],
    opt=_BACK,
    include_in_schema=False,
)
async def switch_source_off(
    request: WebRequest,
    runtime: Wired,
    name: FromPath[str],
    data: URLEncodedBody[Form],  # noqa: ARG001 - its shape is checked
) -> Redirect:
    """Let a source be asked no more."""
    async with runtime.system.session_without_tenant() as session:
        await disable_source(session, name)
    return send_back(request, Flash("success", f"{name} is asked no more; its trends stay."))


@post("/trends/fetch", guards=[operators_only], opt=_BACK, include_in_schema=False)
async def fetch_now(
    request: WebRequest,
    runtime: Wired,
    data: URLEncodedBody[Form],  # noqa: ARG001 - its shape is checked
) -> Redirect:
    """Have the sources that are due asked, as a job of the workers."""
    async with runtime.system.session_without_tenant() as session:
        if not any(each.is_enabled for each in await list_sources(session)):
            raise BadInput("No source of trends is enabled.", hint="Add or enable one first.")
        job_id = await run_schedule(session, SCHEDULE.name, TRENDS_FETCH)
    said = (
        "Sources that are due are asked" if job_id else "A round waits already: sources are asked"
    )
    return send_back(request, Flash("info", f"{said} within seconds, by a worker."))


@post(
    "/trends/imports",
    guards=[operators_only],
    opt=_BACK,
    include_in_schema=False,
    # The parts of a form are larger than the file in it.
    request_max_body_size=LARGEST_FILE_BYTES + 10_000,
)
async def import_file(
    request: WebRequest, runtime: Wired, data: MultipartBody[TrendsForm]
) -> Redirect:
    """Store the trends of a CSV, JSON or feed file for all tenants; what cannot be used is told."""
    content = await data.file.read()
    source = Path(data.file.filename).stem[:60] or "file"
    found = await asyncio.to_thread(parse_trends, content, name="The file", source=source)
    async with runtime.system.session_without_tenant() as session:
        stored = await import_trends(session, found.rows, now=runtime.clock())
    said = f"{count(stored, 'trend')} stored."
    if not found.rejects:
        return send_back(request, Flash("success", said))
    first = found.rejects[0]
    said += f" {count(len(found.rejects), 'entry', 'entries')} left out, such as number"
    said += f" {first.number}: {first.reason}."
    return send_back(request, Flash("info", said, code="rows_left_out"))


def _row(source: TrendSource) -> SourceRow:
    return SourceRow(
        name=source.name,
        kind=_label(source.kind),
        url=source.url or "",
        is_enabled=source.is_enabled,
        failures=source.failures,
        asked_at=source.fetched_at,
        next_at=source.next_fetch_at if source.is_enabled else None,
        error=source.last_error,
    )


def _label(kind: str) -> str:
    """Name a kind as people do; one that came later stands as it is."""
    return _LABELS.get(kind, kind)


ROUTES: Final = (make_source, switch_source_on, switch_source_off, fetch_now, import_file)
