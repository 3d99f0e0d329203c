"""What critics guess becomes a candidate, and every video that it holds for its evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from viral.database.bulk import as_arrays, bulk_insert
from viral.database.engine import tenant_of
from viral.errors import BadInput
from viral.features.reflexion.results import applied_results, load_results
from viral.features.scoring.labels import describe
from viral.learner.contrast import Residual, centre
from viral.learner.predicates import fires, format_predicate, parse_predicate
from viral.schema.base import uuid7, uuid7_run
from viral.schema.learning import InsightFiring, ReflexionInsight
from viral.schema.results import PerformanceFeedback
from viral.schema.vocabulary import PLATFORM_NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.reflexion.critic import Hypothesis
    from viral.features.reflexion.critiques import Judged

# At most so many are learnt with at a time, on a platform: each adds doubt to every prediction.
MOST_OPEN = 12
# The newest results that evidence is taken from.
MEMORY = 5_000
CATEGORY = "all"
_FIRING = ("tenant_id", "id", "insight_id", "feedback_id", "applied_no", "residual", "contrast")


async def note_hypotheses(
    session: AsyncSession, platform: str, judged: Sequence[Judged], *, born_no: int, now: datetime
) -> list[ReflexionInsight]:
    """Store the guesses that are new; one that was made before is seen again, and believed no more.

    `born_no` is the place of the platform's newest result, read under the lock.
    """
    known = {
        each.pattern_key: each
        for each in await session.scalars(
            select(ReflexionInsight).where(
                ReflexionInsight.platform == platform, ReflexionInsight.kind == "hypothesis"
            )
        )
    }
    room = MOST_OPEN - sum(each.status == "candidate" for each in known.values())
    new: list[ReflexionInsight] = []
    for each in judged:
        if each.answer.missed.miss.platform != platform:
            continue
        for guess in each.answer.critique.hypotheses:
            key = _key_of(guess)
            if key is None:
                continue
            if key in known:
                known[key].last_seen_at = now
            elif len(new) < room:
                known[key] = _insight(guess, key, each, born_no=born_no, now=now)
                new.append(known[key])
    session.add_all(new)
    await session.flush()
    return new


async def note_firings(
    session: AsyncSession,
    platform: str,
    insights: Sequence[ReflexionInsight],
    *,
    after: int,
    up_to: int,
) -> None:
    """Store the results between two places that insights hold for, as their evidence; once each."""
    if not insights:
        return
    contrasts = await _contrasts(session, platform)
    results = await load_results(
        session,
        applied_results(platform, after=after)
        .where(PerformanceFeedback.applied_no <= up_to, PerformanceFeedback.residual.is_not(None))
        .order_by(None)
        .order_by(PerformanceFeedback.applied_no.desc()),
        limit=MEMORY,
    )
    predicates = [(each.id, parse_predicate(each.pattern_key)) for each in insights]
    tenant_id = tenant_of(session)
    rows: list[tuple[object, ...]] = [
        (
            insight_id,
            result.feedback.id,
            result.feedback.applied_no,
            result.feedback.residual,
            contrasts[result.feedback.id],
        )
        for result in results
        if result.feedback.id in contrasts
        for insight_id, predicate in predicates
        if fires(predicate, result.video)
    ]
    ids = uuid7_run(len(rows))
    await session.execute(
        bulk_insert(InsightFiring, _FIRING).on_conflict_do_nothing(),
        as_arrays(
            ((tenant_id, row_id, *row) for row_id, row in zip(ids, rows, strict=True)), _FIRING
        ),
    )


async def close_ended(session: AsyncSession, platform: str, *, ended_no: int) -> None:
    """Take out of what is learnt the insights that ended since the last run, under the lock."""
    await session.execute(
        update(ReflexionInsight)
        .where(
            ReflexionInsight.platform == platform,
            ReflexionInsight.kind == "hypothesis",
            ReflexionInsight.ended_at.is_not(None),
            ReflexionInsight.ended_no.is_(None),
        )
        .values(ended_no=ended_no)
    )


async def count_results_since(session: AsyncSession, platform: str, place: int) -> int:
    """Count the tenant's learnt results behind a place."""
    counted = select(func.count()).where(
        PerformanceFeedback.platform == platform, PerformanceFeedback.applied_no > place
    )
    return await session.scalar(counted) or 0


def _key_of(guess: Hypothesis) -> str | None:
    """Give the predicate in its one form; a critic that does not keep to the grammar is ignored."""
    try:
        return format_predicate(parse_predicate(guess.predicate))
    except BadInput:
        return None


def _insight(
    guess: Hypothesis, key: str, judged: Judged, *, born_no: int, now: datetime
) -> ReflexionInsight:
    words = describe(key)
    miss = judged.answer.missed.miss
    return ReflexionInsight(
        id=uuid7(),
        category=CATEGORY,
        platform=miss.platform,
        pattern_key=key,
        pattern=f"{PLATFORM_NAMES[miss.platform]}: {words}",
        evidence_count=0,
        impact="positive" if guess.sign > 0 else "negative",
        effect_size=0.0,
        low=0.0,
        high=0.0,
        status="candidate",
        recommendation=guess.because[:500] or "It is being tested on your next results.",
        discovered_at=now,
        last_seen_at=now,
        kind="hypothesis",
        born_no=born_no,
        confidence=guess.confidence,
        critic=judged.answer.critic,
        critique_id=judged.critique.id,
        sign=guess.sign,
    )


async def _contrasts(session: AsyncSession, platform: str) -> dict[UUID, float]:
    """Centre the tenant's newest residuals, in the order in which the results were learnt."""
    rows = await session.execute(
        select(PerformanceFeedback.id, PerformanceFeedback.residual)
        .where(
            PerformanceFeedback.platform == platform,
            PerformanceFeedback.applied_no.is_not(None),
            PerformanceFeedback.residual.is_not(None),
        )
        .order_by(PerformanceFeedback.applied_no.desc())
        .limit(MEMORY)
    )
    newest = [(each, residual or 0.0) for each, residual in rows]
    newest.reverse()
    tenant = str(tenant_of(session))
    centred = centre([Residual(tenant, residual) for _, residual in newest])
    return {each: one.points for (each, _), one in zip(newest, centred, strict=True)}
