"""What learning changed, newest first: each change with the critique and the insight behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal
from uuid import UUID  # noqa: TC003 - arrays of ids are typed at run time

from sqlalchemy import ARRAY, BigInteger, DateTime, Text, and_, bindparam, func, or_, select, true
from sqlalchemy.orm import aliased

from viral.errors import NotFound
from viral.schema.learning import ReflexionInsight, ScoringAdjustment, SelfCritique
from viral.schema.results import PerformanceFeedback

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncSession

# What stands behind an adjustment: its critique and, where one was tested, its insight.
ITS_CRITIQUE: Final = and_(
    SelfCritique.tenant_id == ScoringAdjustment.tenant_id,
    SelfCritique.id == ScoringAdjustment.critique_id,
)
ITS_INSIGHT: Final = and_(
    ReflexionInsight.tenant_id == ScoringAdjustment.tenant_id,
    ReflexionInsight.id == ScoringAdjustment.insight_id,
)
# Within a run, ids follow the size of the change.
_ORDER: Final = ScoringAdjustment.applied_at.desc(), ScoringAdjustment.id
# Served; served, and changed once more since; taken back.
Standing = Literal["served", "replaced", "undone"]
# What stands behind a change: an effect that moved, or a tested insight.
Kind = Literal["effect", "insight"]


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """Which changes are wanted; None is all."""

    platform: str | None = None
    standing: Standing | None = None
    kind: Kind | None = None


@dataclass(frozen=True, slots=True)
class LearnedChange:
    """An adjustment with what it rests on."""

    adjustment: ScoringAdjustment
    critique: SelfCritique
    insight: ReflexionInsight | None
    is_replaced: bool

    @property
    def standing(self) -> Standing:
        if self.adjustment.reverted_at is not None:
            return "undone"
        return "replaced" if self.is_replaced else "served"


@dataclass(frozen=True, slots=True)
class RunOfChanges:
    """How many changes of one moment are served, and how many of them were changed since."""

    served: int
    replaced: int


@dataclass(frozen=True, slots=True)
class Gain:
    """By how many points predictions of later results miss less, on average."""

    results: int
    points: float


async def list_changes(
    session: AsyncSession,
    wanted: ChangeFilter,
    *,
    limit: int,
    before: tuple[datetime, UUID] | None = None,
) -> list[LearnedChange]:
    """List changes, newest run first and its largest first; `before` is where a page ended."""
    replaced = _is_replaced().label("replaced")
    query = (
        select(ScoringAdjustment, SelfCritique, ReflexionInsight, replaced)
        .join(SelfCritique, ITS_CRITIQUE)
        .outerjoin(ReflexionInsight, ITS_INSIGHT)
        .where(*_conditions(wanted))
        .order_by(*_ORDER)
        .limit(limit)
    )
    if before is not None:
        moment, last = before
        query = query.where(
            ScoringAdjustment.applied_at <= moment,
            or_(ScoringAdjustment.applied_at < moment, ScoringAdjustment.id > last),
        )
    return [LearnedChange(*row) for row in await session.execute(query)]


async def end_before(
    session: AsyncSession, adjustment_id: UUID, *, limit: int
) -> tuple[datetime, UUID] | None:
    """Find where the page before that of a change ends; None where it is on the first one.

    Pages are those of `list_changes` without a filter, of `limit` each. NotFound for no change of
    the tenant's.
    """
    moment = await session.scalar(
        select(ScoringAdjustment.applied_at).where(ScoringAdjustment.id == adjustment_id)
    )
    if moment is None:
        raise NotFound(f"There is no change {adjustment_id}.")
    is_earlier = or_(
        ScoringAdjustment.applied_at > moment,
        and_(ScoringAdjustment.applied_at == moment, ScoringAdjustment.id < adjustment_id),
    )
    earlier = await session.scalar(select(func.count(ScoringAdjustment.id)).where(is_earlier)) or 0
    if earlier < limit:
        return None
    last = await session.execute(
        select(ScoringAdjustment.applied_at, ScoringAdjustment.id)
        .order_by(*_ORDER)
        .offset(earlier - earlier % limit - 1)
        .limit(1)
    )
    ended_at, ended_by = last.one()
    return ended_at, ended_by


async def runs_of(
    session: AsyncSession, moments: Collection[datetime]
) -> dict[datetime, RunOfChanges]:
    """Count what is served of the runs of these moments."""
    replaced = func.count().filter(_is_replaced())
    rows = await session.execute(
        select(ScoringAdjustment.applied_at, func.count(), replaced)
        .where(ScoringAdjustment.applied_at.in_(moments), ScoringAdjustment.reverted_at.is_(None))
        .group_by(ScoringAdjustment.applied_at)
    )
    return {moment: RunOfChanges(served, covered) for moment, served, covered in rows}


async def gains_of(
    session: AsyncSession, changes: Sequence[LearnedChange]
) -> dict[tuple[datetime, str], Gain]:
    """Measure, by moment and platform, what a run of effects gained until the next one.

    Every other result tells of the tenant's own effects, as `guard.watch_own` has it.
    """
    runs = {
        (each.adjustment.applied_at, each.adjustment.platform): each.adjustment.after_no
        for each in changes
        if each.insight is None and each.adjustment.after_no > 0
    }
    if not runs:
        return {}
    run = (
        func.unnest(
            bindparam("moments", [moment for moment, _ in runs], ARRAY(DateTime(timezone=True))),
            bindparam("platforms", [platform for _, platform in runs], ARRAY(Text)),
            bindparam("places", list(runs.values()), ARRAY(BigInteger)),
        )
        .table_valued("moment", "platform", "place", name="run")
        .render_derived()
    )
    until = (
        select(func.min(ScoringAdjustment.after_no).label("place"))
        .where(
            ScoringAdjustment.platform == run.c.platform,
            ScoringAdjustment.applied_at > run.c.moment,
            ScoringAdjustment.insight_id.is_(None),
            ScoringAdjustment.after_no > run.c.place,
        )
        .lateral("until")
    )
    lead = PerformanceFeedback.former_error - PerformanceFeedback.champion_error
    rows = await session.execute(
        select(run.c.moment, run.c.platform, func.count(), func.avg(lead))
        .select_from(run)
        .join(until, true())
        .join(
            PerformanceFeedback,
            and_(
                PerformanceFeedback.platform == run.c.platform,
                PerformanceFeedback.applied_no > run.c.place,
                PerformanceFeedback.applied_no <= func.coalesce(until.c.place, 2**62),
                PerformanceFeedback.applied_no % 2 == 0,
                lead.is_not(None),
            ),
        )
        .group_by(run.c.moment, run.c.platform)
    )
    return {(moment, platform): Gain(count, points) for moment, platform, count, points in rows}


async def count_served(session: AsyncSession, insights: Collection[UUID]) -> dict[UUID, int]:
    """Count the adjustments that insights are served by."""
    rows = await session.execute(
        select(ScoringAdjustment.insight_id, func.count())
        .where(ScoringAdjustment.insight_id.in_(insights), ScoringAdjustment.reverted_at.is_(None))
        .group_by(ScoringAdjustment.insight_id)
    )
    return {insight: count for insight, count in rows if insight is not None}


def _is_replaced() -> ColumnElement[bool]:
    """Tell whether a later adjustment changed the same effect once more."""
    later = aliased(ScoringAdjustment)
    return (
        select(later.id)
        .where(
            later.platform == ScoringAdjustment.platform,
            later.goal == ScoringAdjustment.goal,
            later.adjustment_type == ScoringAdjustment.adjustment_type,
            later.category == ScoringAdjustment.category,
            later.id > ScoringAdjustment.id,
            later.reverted_at.is_(None),
        )
        .correlate(ScoringAdjustment)
        .exists()
    )


def _conditions(wanted: ChangeFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.platform is not None:
        found.append(ScoringAdjustment.platform == wanted.platform)
    if wanted.standing is not None:
        is_undone = ScoringAdjustment.reverted_at.is_not(None)
        found.append(is_undone if wanted.standing == "undone" else ~is_undone)
        if wanted.standing != "undone":
            found.append(_is_replaced() if wanted.standing == "replaced" else ~_is_replaced())
    if wanted.kind is not None:
        has_insight = ScoringAdjustment.insight_id.is_not(None)
        found.append(has_insight if wanted.kind == "insight" else ~has_insight)
    return found
