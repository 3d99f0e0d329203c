"""What learning changed, noticed and criticised, as rows of pages; and undoing changes."""

from __future__ import annotations

from typing import Final, Literal
from uuid import UUID

import msgspec
from litestar import post
from litestar.params import FromPath, URLEncodedBody
from litestar.response import Redirect

from viral.features.reflexion.learning import hold_learning
from viral.features.reflexion.undo import BY_HAND, undo_adjustment, undo_insight, undo_run
from viral.features.reflexion.versions import undo_version
from viral.features.scoring.labels import label_of, points
from viral.schema.learning import ReflexionInsight, ScoringAdjustment, SelfCritique
from viral.schema.vocabulary import Confidence, Direction, platform_of
from viral.web.dashboard.flashes import send_back
from viral.web.dashboard.rendering import count, platform_name, when
from viral.web.dashboard.views import CritiqueRow, Flash, InsightRow
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.door import operators_only
from viral.web.forms import Form
from viral.web.requests import WebRequest

PAGE = "/reflexion"
_FROM_NOW = "Concepts that you generate from now on are scored with it."


class VersionForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The version of what all tenants share that is to go, with those that build on it."""

    version: int


class Gap(msgspec.Struct, frozen=True):
    """The parts of a stored performance gap that a page shows."""

    concept_title: str
    platform: str
    predicted_virality: float
    low: float
    high: float
    actual_virality_score: float
    direction: Direction


@post(
    "/reflexion/adjustments/{adjustment_id:uuid}/undo", opt={"page": PAGE}, include_in_schema=False
)
async def undo(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    session: Transaction,
    adjustment_id: FromPath[UUID],
    data: URLEncodedBody[Form],  # noqa: ARG001 - its shape is checked
) -> Redirect:
    """Serve the value from before an adjustment again."""
    undone = await undo_adjustment(
        session, adjustment_id, user_id=identity.user_id, now=runtime.clock()
    )
    said = f"{what_of(undone)}, counts {points(undone.old_value)} points again"
    said += f" on {platform_name(undone.platform)}. {_FROM_NOW}"
    return send_back(request, Flash("success", said), change_url(adjustment_id))


@post(
    "/reflexion/adjustments/{adjustment_id:uuid}/undo-run",
    opt={"page": PAGE},
    include_in_schema=False,
)
async def undo_whole_run(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    session: Transaction,
    adjustment_id: FromPath[UUID],
    data: URLEncodedBody[Form],  # noqa: ARG001 - its shape is checked
) -> Redirect:
    """Undo all adjustments that were published together with one."""
    now = runtime.clock()
    undone = await undo_run(session, adjustment_id, user_id=identity.user_id, now=now)
    moment = when(undone[0].applied_at, now)
    was = "is" if len(undone) == 1 else "are"
    said = f"{count(len(undone), 'change')} of {moment} {was} undone; what counted before counts"
    note = Flash("success", f"{said} again. {_FROM_NOW}")
    return send_back(request, note, change_url(adjustment_id))


@post("/reflexion/insights/{insight_id:uuid}/undo", opt={"page": PAGE}, include_in_schema=False)
async def undo_tested_insight(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    session: Transaction,
    insight_id: FromPath[UUID],
    data: URLEncodedBody[Form],  # noqa: ARG001 - its shape is checked
) -> Redirect:
    """End a tested insight and roll back what it changed."""
    undone = await undo_insight(session, insight_id, user_id=identity.user_id, now=runtime.clock())
    said = "The insight is not tested any more."
    if undone:
        counted = count(len(undone), "adjustment")
        said = f"The insight is retired and {counted} rolled back. {_FROM_NOW}"
    return send_back(request, Flash("success", said))


@post(
    "/reflexion/versions/{platform:str}/undo",
    guards=[operators_only],
    opt={"page": PAGE},
    include_in_schema=False,
)
async def undo_shared_version(
    request: WebRequest,
    runtime: Wired,
    platform: FromPath[str],
    data: URLEncodedBody[VersionForm],
) -> Redirect:
    """Serve all tenants what was served before a version of the shared effects."""
    known = platform_of(platform)
    async with runtime.system.session_without_tenant() as session:
        await hold_learning(session, known)
        undone = await undo_version(
            session, known, data.version, now=runtime.clock(), reason=BY_HAND
        )
    named = " and ".join(str(each) for each in undone)
    said = f"{platform_name(known)}: version {named} is undone for all tenants. {_FROM_NOW}"
    return send_back(request, Flash("success", said))


def change_url(adjustment_id: UUID) -> str:
    """Give the address of a change, on whichever page it is by now."""
    return f"{PAGE}?change={adjustment_id}#adjustment-{adjustment_id}"


def insight_row(row: ReflexionInsight) -> InsightRow:
    return InsightRow(
        id=str(row.id),
        pattern=row.pattern,
        evidence_count=row.evidence_count,
        impact=msgspec.convert(row.impact, Literal["positive", "negative", "neutral"]),
        is_applied=row.applied_to_scoring,
        last_seen_at=row.last_seen_at,
        recommendation=row.recommendation,
    )


def critique_row(row: SelfCritique) -> CritiqueRow:
    gap = msgspec.convert(row.performance_gap, Gap)
    return CritiqueRow(
        id=str(row.id),
        made_at=row.created_at,
        title=gap.concept_title,
        platform=gap.platform,
        predicted=gap.predicted_virality,
        low=gap.low,
        high=gap.high,
        actual=gap.actual_virality_score,
        direction=gap.direction,
        text=row.critique,
        confidence=msgspec.convert(row.confidence_level, Confidence),
    )


def what_of(row: ScoringAdjustment) -> str:
    """Say what an adjustment is about."""
    return f"{label_of(row.adjustment_type, row.category)}, {row.goal}"


ROUTES: Final = (undo, undo_whole_run, undo_tested_insight, undo_shared_version)
