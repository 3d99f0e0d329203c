"""What learning changed, noticed and criticised, on the home page; and undoing a change."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import msgspec
from litestar import post
from litestar.params import FromPath, URLEncodedBody
from litestar.response import Redirect

from viral.features.reflexion.undo import undo_adjustment
from viral.features.scoring.labels import label_of
from viral.schema.learning import ReflexionInsight, ScoringAdjustment, SelfCritique
from viral.schema.vocabulary import Confidence, Direction
from viral.web.dashboard.flashes import send_back
from viral.web.dashboard.rendering import platform_name, points
from viral.web.dashboard.views import AdjustmentRow, CritiqueRow, Flash, InsightRow
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.forms import Form
from viral.web.requests import WebRequest


class Gap(msgspec.Struct, frozen=True):
    """The parts of a stored performance gap that a page shows."""

    concept_title: str
    platform: str
    predicted_virality: float
    low: float
    high: float
    actual_virality_score: float
    direction: Direction


@post("/reflexion/adjustments/{adjustment_id:uuid}/undo", include_in_schema=False)
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
    said = f"{_what(undone)}, counts {points(undone.old_value)} points again"
    return send_back(request, Flash("success", f"{said} on {platform_name(undone.platform)}."))


def adjustment_row(row: ScoringAdjustment) -> AdjustmentRow:
    return AdjustmentRow(
        id=str(row.id),
        made_at=row.applied_at,
        platform=row.platform,
        what=_what(row),
        old=row.old_value,
        new=row.new_value,
        evidence=row.reason,
        status="active" if row.reverted_at is None else "undone",
    )


def insight_row(row: ReflexionInsight) -> InsightRow:
    return InsightRow(
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


def _what(row: ScoringAdjustment) -> str:
    return f"{label_of(row.adjustment_type, row.category)}, {row.goal}"
