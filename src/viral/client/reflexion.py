"""/api/v1/reflexion: learning from misses, the proof, and undoing.

Written by `make docs`; do not edit.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from viral.client.calls import Calls, read


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


class Accuracy(msgspec.Struct, frozen=True):
    """Mean absolute errors over the last results."""

    results: int
    with_learning: float
    without_learning: float
    inside: float


class ReflexionReportComparison(msgspec.Struct, frozen=True):
    """Mean absolute errors without and with learning over predicted results, in points.

    `gain` is their difference, `low` and `high` its 80 % interval.
    """

    results: int
    without_learning: float
    with_learning: float
    gain: float
    low: float
    high: float


class Calibration(msgspec.Struct, frozen=True):
    """Predictions from `low` to `high` points beside what became of them."""

    low: int
    high: int
    results: int
    predicted: float
    actual: float
    inside: float


class OwnGuard(msgspec.Struct, frozen=True):
    """Where a tenant's effects stand on a platform; leads in points, positive is better.

    `needed` results until the next publication may be; `lead` is what it would gain, in mean and
    standard errors. `watched` results tell whether the newest publication gained: `watched_lead`.
    """

    platform: str
    version: int
    learnt: int
    needed: int
    lead: float
    lead_z: float
    watched: int
    watched_lead: float
    watched_z: float


class TestedInsight(msgspec.Struct, frozen=True):
    """A hypothesis with its evidence: firings, contrast in points, z, gain at each firing.

    `sign` is +1 where its critic guessed that such videos do better, -1 for worse.
    """

    id: UUID
    platform: str
    pattern: str
    status: str
    critic: str
    confidence: str
    sign: int
    firings: int
    effect: float
    low: float
    high: float
    z: float | None
    gain: float | None
    is_applied: bool
    discovered_at: datetime


class CriticCalibration(msgspec.Struct, frozen=True):
    """How many of a critic's hypotheses of a stated confidence were decided, and confirmed."""

    critic: str
    confidence: str
    stated: int
    decided: int
    confirmed: int


class Adjustments(msgspec.Struct, frozen=True):
    """How many changes are served, and how many were taken back, by whom."""

    active: int
    undone_by_guard: int
    undone_by_hand: int


class ReflexionReport(msgspec.Struct, frozen=True):
    """Everything that the page and `viral reflexion report` show."""

    learned: int
    waiting: int
    latest: Accuracy | None
    comparison: ReflexionReportComparison | None
    calibration: list[Calibration]
    guards: list[OwnGuard]
    insights: list[TestedInsight]
    critics: list[CriticCalibration]
    adjustments: Adjustments


class Change(msgspec.Struct, frozen=True):
    """The newest adjustment of an effect that is served, and what stands behind it."""

    id: UUID
    goal: str
    old: float
    new: float
    evidence: str
    applied_at: datetime
    critique_id: UUID
    critique: str
    insight_id: UUID | None
    insight: str | None
    z: float | None


class Share(msgspec.Struct, frozen=True):
    """One reason of a score in points, and what it rests on; `tenants` is 0 of a tenant's own."""

    family: str
    key: str
    label: str
    points: float
    videos: int
    tenants: int
    is_shared: bool
    changes: list[Change]


class Similar(msgspec.Struct, frozen=True):
    """An earlier video of the tenant that is much like the concept; scores run 0..100."""

    concept_id: UUID
    title: str
    predicted: float
    actual: float
    published_at: datetime


class Why(msgspec.Struct, frozen=True):
    """What was foretold of a concept on a platform, why, and what videos like it did."""

    platform: str
    score: float
    low: float
    high: float
    model_version: int
    predicted_at: datetime
    shares: list[Share]
    similar: list[Similar]


class CritiqueOut(msgspec.Struct, frozen=True):
    """Why a prediction missed; without a concept, what stands behind adjustments."""

    id: UUID
    created_at: datetime
    concept_id: UUID | None
    gap: dict[str, object]
    text: str
    reasons: list[object]
    issues: list[object]
    plan: str
    confidence: str
    critic: str


class CritiquesPage(msgspec.Struct, frozen=True):
    """Critiques, newest first; `next_cursor` leads to older ones and is null at the end."""

    critiques: list[CritiqueOut]
    next_cursor: str | None


class Reflexion(Calls):
    """Learning from misses, the proof, and undoing."""

    def get_reflexion(self) -> ReflexionStatus:
        """Show how many results were learnt, and the error with learning and without."""
        return read(self._ask("GET", "/reflexion"), ReflexionStatus)

    def start_reflexion(self, *, idempotency_key: str | None = None) -> JobAsked:
        """Ask for learning from the results that wait; a job that waits already is given again."""
        return read(self._ask("POST", "/reflexion/runs", idempotency_key=idempotency_key), JobAsked)

    def list_adjustments(
        self,
        *,
        page_size: int = 50,
        platform: Literal["tiktok", "youtube", "instagram"] | None = None,
        undone: bool | None = None,
    ) -> Iterator[AdjustmentOut]:
        """List adjustments, newest first and the largest of a run first, a page at a time."""
        for page in self._pages(
            "/reflexion/adjustments",
            AdjustmentsPage,
            {"limit": page_size, "platform": platform, "undone": undone},
        ):
            yield from page.adjustments

    def undo_adjustment(
        self, adjustment_id: UUID, *, idempotency_key: str | None = None
    ) -> AdjustmentOut:
        """Serve the value from before an adjustment again, and keep it."""
        return read(
            self._ask(
                "POST",
                f"/reflexion/adjustments/{adjustment_id}/undo",
                idempotency_key=idempotency_key,
            ),
            AdjustmentOut,
        )

    def undo_run(
        self, adjustment_id: UUID, *, idempotency_key: str | None = None
    ) -> list[AdjustmentOut]:
        """Undo all adjustments that were published together with one, or none of them."""
        return read(
            self._ask(
                "POST",
                f"/reflexion/adjustments/{adjustment_id}/undo-run",
                idempotency_key=idempotency_key,
            ),
            list[AdjustmentOut],
        )

    def list_insights(self, *, page_size: int = 50) -> Iterator[InsightOut]:
        """List patterns in the results, the strongest first, a page at a time."""
        for page in self._pages("/reflexion/insights", InsightsPage, {"limit": page_size}):
            yield from page.insights

    def undo_insight(
        self, insight_id: UUID, *, idempotency_key: str | None = None
    ) -> list[AdjustmentOut]:
        """End a tested insight, and undo the adjustments that it made."""
        return read(
            self._ask(
                "POST", f"/reflexion/insights/{insight_id}/undo", idempotency_key=idempotency_key
            ),
            list[AdjustmentOut],
        )

    def undo_shared_effect(
        self,
        *,
        platform: Literal["tiktok", "youtube", "instagram"],
        goal: Literal["engagement", "reach"],
        family: str,
        key: str,
        idempotency_key: str | None = None,
    ) -> AdjustmentOut:
        """Serve an effect that all tenants share as it was before, to this tenant alone.

        Undoing the adjustment that comes back lifts it again.
        """
        return read(
            self._ask(
                "POST",
                "/reflexion/shared/undo",
                idempotency_key=idempotency_key,
                body={"platform": platform, "goal": goal, "family": family, "key": key},
            ),
            AdjustmentOut,
        )

    def get_report(self) -> ReflexionReport:
        """Show whether learning helps, what guards wait for, what is on trial, how critics do."""
        return read(self._ask("GET", "/reflexion/report"), ReflexionReport)

    def explain_concept(self, concept_id: UUID) -> list[Why]:
        """Show why a concept scores as it does on each platform, and what that rests on."""
        return read(self._ask("GET", f"/reflexion/why/{concept_id}"), list[Why])

    def list_critiques(
        self, *, page_size: int = 20, concept_id: UUID | None = None
    ) -> Iterator[CritiqueOut]:
        """List critiques, newest first, a page at a time; adjustments name the one behind them."""
        for page in self._pages(
            "/reflexion/critiques", CritiquesPage, {"limit": page_size, "concept_id": concept_id}
        ):
            yield from page.critiques
