"""/api/v1/reflexion: learning from misses, the proof, and undoing."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from sqlalchemy.ext.asyncio import AsyncSession

from viral.features.jobs.queue import ask_for_reflexion
from viral.features.reflexion import status
from viral.features.reflexion.overrides import override_shared
from viral.features.reflexion.replay import replay_platform
from viral.features.reflexion.report import ReflexionReport, reflexion_report
from viral.features.reflexion.undo import undo_adjustment, undo_insight, undo_run
from viral.features.reflexion.why import Why, why_concept
from viral.features.scoring.labels import label_of
from viral.schema.learning import ReflexionInsight, ScoringAdjustment
from viral.schema.vocabulary import Goal, Platform
from viral.web.cursors import cut_page, place_at
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.door import operators_only
from viral.web.requests import WebRequest
from viral.web.site import Site

PURPOSE = "adjustments"
INSIGHTS = "insights"
MOST_ROWS = 200
Limit = Annotated[int, QueryParameter(ge=1, le=MOST_ROWS)]


class AccuracyOut(msgspec.Struct, frozen=True):
    """Mean absolute errors in points, and the share of results inside their 80 % interval."""

    results: int
    with_learning: float
    without_learning: float
    inside_interval: float


class ReflexionStatus(msgspec.Struct, frozen=True):
    """How many results were learnt and how far predictions miss; null while there are too few."""

    learned: int
    waiting: int
    accuracy: AccuracyOut | None


class JobAsked(msgspec.Struct, frozen=True):
    """The job that will do it."""

    id: UUID


class AdjustmentOut(msgspec.Struct, frozen=True):
    """A change of what predictions use, in points."""

    id: UUID
    platform: str
    goal: str
    what: str
    old: float
    new: float
    evidence: str
    applied_at: datetime
    undone_at: datetime | None
    undone_because: str | None
    critique_id: UUID
    insight_id: UUID | None


class AdjustmentsPage(msgspec.Struct, frozen=True):
    """Adjustments, newest first; `next_cursor` leads to older ones and is null at the end."""

    adjustments: list[AdjustmentOut]
    next_cursor: str | None


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """The last adjustment of a page."""

    applied_at: datetime
    size: float
    id: UUID


class InsightOut(msgspec.Struct, frozen=True):
    """A pattern in the tenant's results, with its evidence."""

    id: UUID
    platform: str
    category: str
    pattern: str
    impact: str
    effect: float
    low: float
    high: float
    evidence_count: int
    recommendation: str
    is_applied: bool
    last_seen_at: datetime
    kind: str
    status: str
    z: float | None
    gain: float | None


class InsightsPage(msgspec.Struct, frozen=True):
    """Insights, the strongest first; `next_cursor` leads to weaker ones and is null at the end."""

    insights: list[InsightOut]
    next_cursor: str | None


class Strength(msgspec.Struct, frozen=True, array_like=True):
    """The last insight of a page."""

    size: float
    id: UUID


class SharedEffectIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An effect that all tenants share; a word is given in plain."""

    platform: Platform
    goal: Goal
    family: Annotated[str, msgspec.Meta(max_length=60)]
    key: Annotated[str, msgspec.Meta(max_length=200)]


class ReplayIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The platform to replay."""

    platform: Platform


class ReplayOut(msgspec.Struct, frozen=True):
    """How many results and rows of state were compared, and how many rows differ.

    `missing` results were erased since they were learnt.
    """

    platform: str
    results: int
    missing: int
    rows: int
    differences: int


@get("/reflexion", operation_id="get_reflexion")
async def get_status(runtime: Wired, identity: Person) -> ReflexionStatus:
    """Show how many results were learnt, and the error with learning and without."""
    return await runtime.reading.read(identity.tenant_id, _status)


@post("/reflexion/runs", operation_id="start_reflexion", status_code=202)
async def start_run(session: Transaction) -> JobAsked:
    """Ask for learning from the results that wait; a job that waits already is given again."""
    return JobAsked(await ask_for_reflexion(session))


@get("/reflexion/adjustments", operation_id="list_adjustments")
async def get_adjustments(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    limit: Limit = 50,
    cursor: FromQuery[str | None] = None,
    platform: FromQuery[Platform | None] = None,
    undone: FromQuery[bool | None] = None,
) -> AdjustmentsPage:
    """List adjustments, newest first and the largest of a run first, a page at a time."""
    site: Site = request.app.state.site
    after = place_at(site, identity.tenant_id, cursor, Standing, purpose=PURPOSE)
    found = await runtime.reading.read(
        identity.tenant_id,
        partial(
            status.list_adjustments,
            limit=limit + 1,
            after=None
            if after is None
            else status.AdjustmentPlace(after.applied_at, after.size, after.id),
            platform=platform,
            is_undone=undone,
        ),
    )
    rows, next_cursor = cut_page(
        site,
        identity.tenant_id,
        found,
        limit,
        lambda last: Standing(last.applied_at, abs(last.new_value - last.old_value), last.id),
        purpose=PURPOSE,
    )
    return AdjustmentsPage([_adjustment(each) for each in rows], next_cursor)


@post(
    "/reflexion/adjustments/{adjustment_id:uuid}/undo",
    operation_id="undo_adjustment",
    status_code=200,
)
async def undo(
    runtime: Wired, identity: Person, session: Transaction, adjustment_id: FromPath[UUID]
) -> AdjustmentOut:
    """Serve the value from before an adjustment again, and keep it."""
    return _adjustment(
        await undo_adjustment(session, adjustment_id, user_id=identity.user_id, now=runtime.clock())
    )


@post(
    "/reflexion/adjustments/{adjustment_id:uuid}/undo-run", operation_id="undo_run", status_code=200
)
async def undo_whole_run(
    runtime: Wired, identity: Person, session: Transaction, adjustment_id: FromPath[UUID]
) -> list[AdjustmentOut]:
    """Undo all adjustments that were published together with one, or none of them."""
    undone = await undo_run(session, adjustment_id, user_id=identity.user_id, now=runtime.clock())
    return [_adjustment(each) for each in undone]


@post("/reflexion/insights/{insight_id:uuid}/undo", operation_id="undo_insight", status_code=200)
async def undo_tested_insight(
    runtime: Wired, identity: Person, session: Transaction, insight_id: FromPath[UUID]
) -> list[AdjustmentOut]:
    """End a tested insight, and undo the adjustments that it made."""
    undone = await undo_insight(session, insight_id, user_id=identity.user_id, now=runtime.clock())
    return [_adjustment(each) for each in undone]


@post("/reflexion/shared/undo", operation_id="undo_shared_effect", status_code=200)
async def undo_shared(
    runtime: Wired, identity: Person, data: JSONBody[SharedEffectIn]
) -> AdjustmentOut:
    """Serve an effect that all tenants share as it was before, to this tenant alone.

    Undoing the adjustment that comes back lifts it again.
    """
    made = await override_shared(
        runtime.app,
        runtime.system,
        identity.tenant_id,
        platform=data.platform,
        goal=data.goal,
        family=data.family,
        key=data.key,
        now=runtime.clock(),
        hashed=runtime.hashed,
    )
    return _adjustment(made)


@get("/reflexion/report", operation_id="get_report")
async def get_report(runtime: Wired, identity: Person) -> ReflexionReport:
    """Show whether learning helps, what guards wait for, what is on trial, how critics do."""
    return await runtime.reading.read(identity.tenant_id, reflexion_report)


@get("/reflexion/why/{concept_id:uuid}", operation_id="explain_concept")
async def get_why(runtime: Wired, session: Transaction, concept_id: FromPath[UUID]) -> list[Why]:
    """Show why a concept scores as it does on each platform, and what that rests on."""
    _, whys = await why_concept(session, concept_id, hashed=runtime.hashed)
    return whys


@post("/reflexion/replays", operation_id="check_replay", guards=[operators_only], status_code=200)
async def check_replay(runtime: Wired, data: JSONBody[ReplayIn]) -> ReplayOut:
    """Build a platform's learnt state anew from all results, and compare it with what is kept.

    Operators only; nothing is changed, and nobody learns meanwhile.
    """
    async with runtime.system.session_without_tenant() as session:
        found = await replay_platform(session, data.platform, hashed=runtime.hashed, is_check=True)
    return ReplayOut(
        found.platform, found.results, found.missing, found.rows, len(found.differences)
    )


@get("/reflexion/insights", operation_id="list_insights")
async def get_insights(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    limit: Limit = 50,
    cursor: FromQuery[str | None] = None,
) -> InsightsPage:
    """List patterns in the results, the strongest first, a page at a time."""
    site: Site = request.app.state.site
    after = place_at(site, identity.tenant_id, cursor, Strength, purpose=INSIGHTS)
    found = await runtime.reading.read(
        identity.tenant_id,
        partial(
            status.list_insights,
            limit=limit + 1,
            after=None if after is None else (after.size, after.id),
        ),
    )
    rows, next_cursor = cut_page(
        site,
        identity.tenant_id,
        found,
        limit,
        lambda last: Strength(abs(last.effect_size), last.id),
        purpose=INSIGHTS,
    )
    return InsightsPage([_insight(each) for each in rows], next_cursor)


async def _status(session: AsyncSession) -> ReflexionStatus:
    learned, waiting = await status.count_results(session)
    accuracy = status.accuracy_of(await status.scored_results(session, most=status.WINDOW))
    return ReflexionStatus(
        learned=learned,
        waiting=waiting,
        accuracy=None
        if accuracy is None
        else AccuracyOut(
            accuracy.results, accuracy.with_learning, accuracy.without_learning, accuracy.inside
        ),
    )


def _adjustment(row: ScoringAdjustment) -> AdjustmentOut:
    return AdjustmentOut(
        id=row.id,
        platform=row.platform,
        goal=row.goal,
        what=label_of(row.adjustment_type, row.category),
        old=row.old_value,
        new=row.new_value,
        evidence=row.reason,
        applied_at=row.applied_at,
        undone_at=row.reverted_at,
        undone_because=row.revert_reason,
        critique_id=row.critique_id,
        insight_id=row.insight_id,
    )


def _insight(row: ReflexionInsight) -> InsightOut:
    return InsightOut(
        id=row.id,
        platform=row.platform,
        category=row.category,
        pattern=row.pattern,
        impact=row.impact,
        effect=row.effect_size,
        low=row.low,
        high=row.high,
        evidence_count=row.evidence_count,
        recommendation=row.recommendation,
        is_applied=row.applied_to_scoring,
        last_seen_at=row.last_seen_at,
        kind=row.kind,
        status=row.status,
        z=row.z,
        gain=row.gain,
    )


ROUTES: Final = (
    get_status,
    start_run,
    get_adjustments,
    undo,
    undo_whole_run,
    get_insights,
    undo_tested_insight,
    undo_shared,
    get_report,
    get_why,
    check_replay,
)
