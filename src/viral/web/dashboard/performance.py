"""GET /performance: results in by form, by paste and by file, and what posts reach over time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Annotated, Final, Literal
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromQuery, URLEncodedBody
from litestar.response import Redirect
from sqlalchemy.ext.asyncio import AsyncSession

from viral.errors import BadFile
from viral.features.generations.concepts import find_concept, newest_concepts
from viral.features.performance.files import REQUIRED, Reject, ResultRow
from viral.features.performance.imports import import_results
from viral.features.performance.weeks import posts_by_week
from viral.features.reflexion.judged import JudgedResult, judged_results
from viral.features.reflexion.status import count_results
from viral.features.tenants import own_tenant
from viral.features.users.sessions import Identity
from viral.runtime import Runtime
from viral.schema.content import Concept
from viral.schema.vocabulary import CATEGORIES, PLATFORMS, platform_of
from viral.web.cursors import Place, cursor_at, place_of
from viral.web.dashboard.figures import Figure, csv_answer
from viral.web.dashboard.flashes import send_back
from viral.web.dashboard.learning import import_note
from viral.web.dashboard.rendering import platform_name, render, sentence
from viral.web.dashboard.switcher import page_of, send_page
from viral.web.dashboard.views import Choice
from viral.web.dashboard.weeks import first_monday, week_figures
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.forms import Form
from viral.web.requests import WebRequest
from viral.web.site import Site
from viral.web.uploads import read_content, take_in

PAGE = "/performance"
PURPOSE = "results cursor"
ROWS_SHOWN = 25
CONCEPTS_OFFERED = 40
PREVIEW_SHOWN = 20
LONGEST_PASTE = 200_000
PERIODS = (13, 26, 52)
# What a table of results may tell beside what it must.
COLUMNS = (
    *REQUIRED,
    "concept_id",
    "title",
    "category",
    "likes",
    "comments",
    "shares",
    "followers",
    "observed_on",
)
# Fields of the form that are folded away.
FOLDED = frozenset({"shares", "followers", "observed_on", "title", "category"})


class EntryForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One result, as a person typed it."""

    concept: str = ""
    platform: str = ""
    id: str = ""
    published_at: str = ""
    views: str = ""
    likes: str = ""
    comments: str = ""
    shares: str = ""
    followers: str = ""
    observed_on: str = ""
    title: str = ""
    category: str = ""


class PasteForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rows of a spreadsheet, to be looked at or to be stored."""

    rows: Annotated[str, msgspec.Meta(max_length=LONGEST_PASTE)]
    step: Literal["preview", "store"] = "preview"


@dataclass(frozen=True, slots=True)
class Preview:
    """What was understood of pasted rows; nothing is stored yet, `new` of them would be."""

    rows: tuple[ResultRow, ...] = ()
    new: int = 0
    known: int = 0
    early: int = 0
    rejects: tuple[Reject, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the address asks for."""

    weeks: int = PERIODS[1]
    platform: str | None = None
    category: str | None = None
    concept: UUID | None = None

    @property
    def is_filtered(self) -> bool:
        return self.platform is not None or self.category is not None

    @property
    def query(self) -> dict[str, str]:
        asked = {"platform": self.platform, "category": self.category}
        return {
            "weeks": str(self.weeks),
            **{name: value for name, value in asked.items() if value is not None},
        }


@dataclass(frozen=True, slots=True)
class PerformancePage:
    """Everything that the page shows; `entry` and `pasted` keep what a person typed."""

    learned: int
    waiting: int
    figures: tuple[Figure, ...]
    results: tuple[JudgedResult, ...]
    last: Place | None
    concepts: tuple[Choice, ...]
    wanted: Wanted
    entry: EntryForm
    faults: tuple[Reject, ...] = ()
    pasted: str = ""
    preview: Preview | None = None
    is_first: bool = True
    older_url: str | None = None
    platforms: tuple[Choice, ...] = field(
        default=tuple(Choice(each, platform_name(each)) for each in PLATFORMS)
    )
    categories: tuple[Choice, ...] = field(
        default=tuple(Choice(each, sentence(each)) for each in (*CATEGORIES, "other"))
    )
    periods: tuple[Choice, ...] = field(
        default=tuple(Choice(str(each), f"{each} weeks") for each in PERIODS)
    )
    columns: tuple[str, ...] = COLUMNS

    @property
    def fault_of(self) -> dict[str, str]:
        """Give what is wrong with each field of the form."""
        return {each.column: each.reason for each in self.faults}

    @property
    def has_fault_inside(self) -> bool:
        """Tell whether a field that is folded away is at fault."""
        return not self.fault_of.keys().isdisjoint(FOLDED)


@get(PAGE, include_in_schema=False)
async def show_performance(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    session: Transaction,
    weeks: FromQuery[int] = PERIODS[1],
    platform: FromQuery[str] = "",
    category: FromQuery[str] = "",
    concept: FromQuery[UUID | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Response[str]:
    """Show the forms, the charts and the newest results."""
    site: Site = request.app.state.site
    before = place_of(site, identity.tenant_id, cursor, purpose=PURPOSE)
    wanted = Wanted(
        weeks=min(PERIODS, key=lambda each: abs(each - weeks)),
        platform=platform_of(platform) if platform else None,
        category=category or None,
        concept=concept,
    )
    shown = await runtime.reading.read(
        identity.tenant_id, partial(read_page, wanted=wanted, before=before, now=runtime.clock())
    )
    return await _send(request, runtime, identity, session, replace(shown, is_first=cursor is None))


@post(f"{PAGE}/results", opt={"page": PAGE}, include_in_schema=False)
async def add_result(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    session: Transaction,
    data: URLEncodedBody[EntryForm],
) -> Response[str] | Redirect:
    """Store one result; what cannot be used is said beside its field, and nothing is lost."""
    now = runtime.clock()
    found = await read_content(
        msgspec.json.encode([await _typed(session, data)]),
        suffix=".json",
        name="The form",
        now=now,
    )
    if not found.rejects:
        report = await take_in(session, found, data_source="manual")
        return send_back(request, await import_note(session, report))
    shown = await read_page(session, wanted=Wanted(), before=None, now=now)
    shown = replace(shown, entry=data, faults=tuple(found.rejects))
    return await _send(request, runtime, identity, session, shown, status=422)


@post(f"{PAGE}/rows", opt={"page": PAGE}, include_in_schema=False)
async def take_rows(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    session: Transaction,
    data: URLEncodedBody[PasteForm],
) -> Response[str] | Redirect:
    """Show what is understood of pasted rows, or store them."""
    now = runtime.clock()
    try:
        found = await read_content(
            data.rows.strip().encode(), suffix=".csv", name="The table", now=now
        )
    except BadFile as error:
        preview = Preview(problem=f"{error.message} {error.hint}".strip())
    else:
        if data.step == "store":
            report = await take_in(session, found, data_source="manual")
            return send_back(request, await import_note(session, report))
        async with session.begin_nested() as trial:
            report = await import_results(session, found.rows, data_source="manual")
            await trial.rollback()
        rejects = sorted([*found.rejects, *report.rejects], key=lambda each: each.line)
        refused = {each.line for each in report.rejects}
        preview = Preview(
            rows=tuple(each for each in found.rows if each.line not in refused),
            new=report.stored,
            known=report.known,
            early=report.early,
            rejects=tuple(rejects),
        )
    shown = await read_page(session, wanted=Wanted(), before=None, now=now)
    shown = replace(shown, pasted=data.rows, preview=preview)
    return await _send(request, runtime, identity, session, shown)


@get(f"{PAGE}/weeks.csv", include_in_schema=False)
async def weeks_csv(
    runtime: Wired,
    identity: Person,
    weeks: FromQuery[int] = PERIODS[1],
    platform: FromQuery[str] = "",
    category: FromQuery[str] = "",
) -> Response[str]:
    """Send the data of the charts, unrounded, with every category."""
    found = await runtime.reading.read(
        identity.tenant_id,
        partial(
            posts_by_week,
            since=first_monday(runtime.clock(), weeks=min(max(weeks, 1), PERIODS[-1])),
            platform=platform_of(platform) if platform else None,
            category=category or None,
        ),
    )
    return csv_answer(
        "performance",
        ("by", "name", "week_of", "posts", "median_views", "mean_score"),
        (
            (each.grouping, each.name, each.monday, each.posts, each.views, each.score)
            for each in found
        ),
    )


async def read_page(
    session: AsyncSession,
    *,
    wanted: Wanted,
    before: tuple[datetime, UUID] | None,
    now: datetime,
) -> PerformancePage:
    """Read what the page shows, in six queries however much there is."""
    learned, waiting = await count_results(session)
    weeks = await posts_by_week(
        session,
        since=first_monday(now, weeks=wanted.weeks),
        platform=wanted.platform,
        category=wanted.category,
    )
    results = await judged_results(
        session,
        limit=ROWS_SHOWN + 1,
        platform=wanted.platform,
        category=wanted.category,
        before=before,
    )
    rest, results = results[ROWS_SHOWN:], results[:ROWS_SHOWN]
    return PerformancePage(
        learned=learned,
        waiting=waiting,
        figures=week_figures(weeks, csv_url=f"{PAGE}/weeks.csv?{urlencode(wanted.query)}"),
        results=tuple(results),
        last=Place(results[-1].reported_at, results[-1].id) if rest else None,
        concepts=await _concepts(session, wanted.concept),
        wanted=wanted,
        entry=EntryForm(concept="" if wanted.concept is None else str(wanted.concept)),
    )


async def _send(
    request: WebRequest,
    runtime: Runtime,
    identity: Identity,
    session: AsyncSession,
    shown: PerformancePage,
    *,
    status: int = 200,
) -> Response[str]:
    if shown.last is not None:
        site: Site = request.app.state.site
        older = cursor_at(site, identity.tenant_id, shown.last, purpose=PURPOSE)
        kept = urlencode({**shown.wanted.query, "cursor": older})
        shown = replace(shown, older_url=f"{PAGE}?{kept}#results")
    page = await page_of(request, identity, session, await own_tenant(session), now=runtime.clock())
    html = render("performance.html", page=page, performance=shown)
    return send_page(request, html, status=status)


async def _concepts(session: AsyncSession, chosen: UUID | None) -> tuple[Choice, ...]:
    """Offer the newest concepts, and the one that a link chose."""
    newest = await newest_concepts(session, limit=CONCEPTS_OFFERED)
    if chosen is not None and all(each.id != chosen for each in newest):
        newest.insert(0, await find_concept(session, chosen))
    return tuple(Choice(str(each.id), f"{each.title} ({each.category})") for each in newest)


async def _typed(session: AsyncSession, form: EntryForm) -> dict[str, object]:
    """Give the fields that hold something; a chosen concept says what its video is about."""
    typed: dict[str, object] = {
        name: value
        for name, value in msgspec.structs.asdict(form).items()
        if name not in {"csrf", "concept"} and value.strip()
    }
    if form.concept:
        typed |= {"concept_id": form.concept, **await _known_of(session, form.concept)}
    return typed


async def _known_of(session: AsyncSession, concept_id: str) -> dict[str, object]:
    try:
        concept: Concept = await find_concept(session, UUID(concept_id))
    except ValueError:
        # The reader says what is wrong with it.
        return {}
    return {"title": concept.title, "category": concept.category}


ROUTES: Final = (show_performance, take_rows, add_result, weeks_csv)
