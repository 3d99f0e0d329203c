"""GET /generate: ask for concepts, see how far they are, and get them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery, QueryParameter, URLEncodedBody
from litestar.response import Redirect
from sqlalchemy.ext.asyncio import AsyncSession

from viral.errors import BadInput
from viral.features.generations.orders import (
    WRITING_SHARE,
    Order,
    concepts_of_order,
    find_order,
    order_concepts,
)
from viral.features.generations.quota import check_quota, quota_of
from viral.features.jobs.queue import cancel_jobs, newest_jobs
from viral.features.jobs.types import GENERATION, ConceptsOrder
from viral.features.tenants import own_tenant
from viral.features.trends import find_trend, list_topics
from viral.runtime import Runtime
from viral.schema.operations import Job
from viral.schema.tenants import Tenant
from viral.schema.vocabulary import category_of, platform_of
from viral.web.dashboard.concepts import CATEGORY_CHOICES, PLATFORM_CHOICES, concept_cards
from viral.web.dashboard.flashes import send_back
from viral.web.dashboard.rendering import render
from viral.web.dashboard.switcher import page_of, send_page
from viral.web.dashboard.views import MOST_CONCEPTS_AT_ONCE, Choice, ConceptCard, Flash, Quota
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.forms import Form
from viral.web.requests import WebRequest

PAGE = "/generate"
USUAL_COUNT = 5
# An order that a worker could have begun by now tells that none has.
TAKEN_WITHIN = timedelta(seconds=15)
# So long after its end an order's cards come one by one.
FRESH_FOR = timedelta(seconds=10)
TRENDS_OFFERED = 20
LONGEST_SEED = 9
_JOBS_LOOKED_AT = 20
UNDER_WAY: Final = frozenset({"pending", "blocked", "running"})

State = Literal["waiting", "again", "writing", "scoring", "done", "failed", "canceled"]


class GenerationForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many concepts, and of what."""

    count: int
    category: str = ""
    platform: str = ""
    trend: str = ""
    seed: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the form holds when it is shown."""

    count: int
    category: str = ""
    platform: str = ""


@dataclass(frozen=True, slots=True)
class TrendShown:
    """The trend that all concepts are to be about, which the address names."""

    id: str
    topic: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OrderShown:
    """An order with its concepts: `written` of `candidates`, of which the best `count` are kept."""

    id: str
    state: State
    count: int
    category: str
    platform: str
    made_at: datetime
    written: int
    candidates: int
    is_untaken: bool = False
    is_fresh: bool = False
    failure: str = ""
    note: str = ""
    again_url: str = PAGE
    cards: tuple[ConceptCard, ...] = ()

    @property
    def is_under_way(self) -> bool:
        return self.state in {"waiting", "again", "writing", "scoring"}

    @property
    def share(self) -> float:
        """How much of the work is done; scoring, which ends it, takes the last tenth."""
        return WRITING_SHARE / 100 * self.written / self.candidates if self.is_under_way else 1.0

    @property
    def step(self) -> str:
        """Say what is done at the moment."""
        written = f"{self.written} of {self.candidates}"
        return {
            "waiting": "Waiting for a worker",
            "again": "Waiting to try again",
            "writing": f"Writing candidates, {written}",
            "scoring": f"Scoring {self.candidates} candidates",
        }.get(self.state, "")


@dataclass(frozen=True, slots=True)
class GeneratePage:
    """The form, the order that the address names, and others that are under way."""

    quota: Quota
    wanted: Wanted
    trend: TrendShown | None = None
    trends: tuple[Choice, ...] = ()
    order: OrderShown | None = None
    others: tuple[OrderShown, ...] = ()
    categories: tuple[Choice, ...] = CATEGORY_CHOICES
    platforms: tuple[Choice, ...] = PLATFORM_CHOICES


@get(PAGE, include_in_schema=False)
async def show_generate(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    session: Transaction,
    order: FromQuery[UUID | None] = None,
    trend: FromQuery[UUID | None] = None,
    count: Annotated[int, QueryParameter(ge=1, le=MOST_CONCEPTS_AT_ONCE)] = USUAL_COUNT,
    category: FromQuery[str] = "",
    platform: FromQuery[str] = "",
) -> Response[str]:
    """Show the form, filled in as the address says, and an order with what it brought."""
    now = runtime.clock()
    tenant = await own_tenant(session)
    quota = _quota(tenant, now=now)
    shown_order = None if order is None else await _order_page(session, order, now=now)
    wanted = Wanted(count, category, platform)
    if shown_order is not None:
        wanted = Wanted(shown_order.count, shown_order.category, shown_order.platform)
    shown = GeneratePage(
        quota=quota,
        wanted=replace(wanted, count=min(wanted.count, quota.most_at_once)),
        trend=None if trend is None else await _trend(session, trend),
        trends=await _trends(session),
        order=shown_order,
        others=await _others(session, order, now=now),
    )
    page = await page_of(request, identity, session, tenant, now=now)
    page = replace(page, banners=(*page.banners, *_writer_banner(runtime)))
    return send_page(request, render("generate.html", page=page, generate=shown))


@post("/generations", opt={"page": PAGE}, include_in_schema=False)
async def generate(
    runtime: Wired,
    identity: Person,
    session: Transaction,
    data: URLEncodedBody[GenerationForm],
) -> Redirect:
    """Have concepts written by a worker; what the quota cannot give is refused here already."""
    check_quota(await own_tenant(session), count=data.count, now=runtime.clock())
    trend_id = _id_of(data.trend)
    if trend_id is not None:
        await find_trend(session, trend_id)
    job_id = await order_concepts(
        session,
        ConceptsOrder(
            count=data.count,
            category=category_of(data.category) if data.category else None,
            platform=platform_of(data.platform) if data.platform else None,
            trend_id=trend_id,
            seed=_seed_of(data.seed),
            user_id=identity.user_id,
        ),
    )
    return Redirect(f"{PAGE}?order={job_id}", status_code=303)


@post("/generations/{job_id:uuid}/cancel", opt={"page": PAGE}, include_in_schema=False)
async def cancel_order(
    request: WebRequest,
    session: Transaction,
    job_id: FromPath[UUID],
    data: URLEncodedBody[Form],  # noqa: ARG001 - its shape is checked
) -> Redirect:
    """Cancel an order that has not ended; what it took of the quota comes back."""
    await find_order(session, job_id)
    canceled = await cancel_jobs(session, [job_id])
    said = (
        Flash("success", "The order is canceled, and nothing of it is counted.")
        if canceled
        else Flash("info", "The order had ended already.")
    )
    return send_back(request, said, f"{PAGE}?order={job_id}")


def _id_of(text: str) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError as error:
        raise BadInput("That is no trend.", hint="Choose one from the list.") from error


def _seed_of(text: str) -> int | None:
    if not text.strip():
        return None
    if not (text.strip().isascii() and text.strip().isdigit() and len(text) <= LONGEST_SEED):
        raise BadInput(f"{text[:20]!r} is no seed.", hint="Write a whole number, or nothing.")
    return int(text)


def _writer_banner(runtime: Runtime) -> tuple[str, ...]:
    if runtime.writer.name != runtime.offline_writer.name:
        return ()
    return ("The built-in writer is used. Claude writes once `ANTHROPIC_API_KEY` is set.",)


def _quota(tenant: Tenant, *, now: datetime) -> Quota:
    quota = quota_of(tenant, now=now)
    return Quota(quota.used, quota.allowed, quota.renews_at)


async def _trend(session: AsyncSession, trend_id: UUID) -> TrendShown:
    topic = await find_trend(session, trend_id)
    return TrendShown(str(trend_id), topic.trend.topic, topic.sources)


async def _trends(session: AsyncSession) -> tuple[Choice, ...]:
    topics = await list_topics(session, limit=TRENDS_OFFERED)
    return tuple(Choice(str(each.trend.id), each.trend.topic) for each in topics)


async def _order_page(session: AsyncSession, job_id: UUID, *, now: datetime) -> OrderShown:
    order = await find_order(session, job_id)
    concepts, generation = await concepts_of_order(session, order)
    note = "" if generation is None else str(generation.settings.get("note", ""))
    return replace(_order(order, now=now), cards=concept_cards(concepts, {}), note=note)


async def _others(
    session: AsyncSession, shown: UUID | None, *, now: datetime
) -> tuple[OrderShown, ...]:
    jobs = await newest_jobs(session, limit=_JOBS_LOOKED_AT)
    return tuple(
        _order(Order.of(each), now=now)
        for each in jobs
        if each.job_type == GENERATION.name and each.status in UNDER_WAY and each.id != shown
    )


def _order(order: Order, *, now: datetime) -> OrderShown:
    job, wanted = order.job, order.wanted
    category, platform = wanted.category or "", wanted.platform or ""
    again = f"{PAGE}?count={min(wanted.count, MOST_CONCEPTS_AT_ONCE)}&category={category}"
    again += f"&platform={platform}" + (f"&trend={wanted.trend_id}" if wanted.trend_id else "")
    return OrderShown(
        id=str(job.id),
        state=state_of(job),
        count=wanted.count,
        category=category,
        platform=platform,
        made_at=job.created_at,
        written=order.written,
        candidates=order.candidates,
        is_fresh=job.completed_at is not None and now - job.completed_at < FRESH_FOR,
        is_untaken=job.status == "pending" and now - job.scheduled_for > TAKEN_WITHIN,
        # What is before the colon is the error's code.
        failure=(job.error_message or "").partition(": ")[2],
        again_url=again,
    )


def state_of(job: Job) -> State:
    """Name the step that a generation's job is at."""
    match job.status:
        case "completed":
            return "done"
        case "failed":
            return "failed"
        case "canceled":
            return "canceled"
        case "running":
            return "scoring" if job.progress >= WRITING_SHARE else "writing"
        case _:
            return "again" if job.attempts else "waiting"


ROUTES: Final = (show_generate, generate, cancel_order)
