"""Hypotheses without words, tried over all tenants as the system role.

A predicate that repeats a tenant's words is never looked at outside that tenant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from viral.features.reflexion.results import applied_results, last_place, load_results
from viral.features.reflexion.trials import trial_of
from viral.learner.contrast import Residual, centre
from viral.learner.predicates import fires, holds_text, parse_predicate
from viral.schema.learning import ReflexionInsight
from viral.schema.results import PerformanceFeedback

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.learner.contrast import Contrast

# The newest results of a platform that are looked at.
MEMORY = 5_000


async def shared_trials(session: AsyncSession, platform: str) -> dict[str, Contrast]:
    """Try every open hypothesis without words on the results of all tenants, by predicate."""
    born = await _open_predicates(session, platform)
    if not born:
        return {}
    newest = await last_place(session, platform)
    query = applied_results(platform, after=newest - MEMORY).where(
        PerformanceFeedback.residual.is_not(None)
    )
    results = await load_results(session, query, limit=MEMORY)
    centred = centre(
        [Residual(str(each.feedback.tenant_id), each.feedback.residual or 0.0) for each in results]
    )
    trials = {}
    for text, born_no in born.items():
        predicate = parse_predicate(text)
        fired = [
            (each.feedback.applied_no or 0, residual)
            for each, residual in zip(results, centred, strict=True)
            if fires(predicate, each.video)
        ]
        trials[text] = trial_of(fired, born_no=born_no, scope="shared")
    return trials


async def _open_predicates(session: AsyncSession, platform: str) -> dict[str, int]:
    """Give the predicates without words that a tenant has on trial, and when each was first."""
    rows = await session.execute(
        select(ReflexionInsight.pattern_key, func.min(ReflexionInsight.born_no))
        .where(
            ReflexionInsight.platform == platform,
            ReflexionInsight.kind == "hypothesis",
            ReflexionInsight.status == "candidate",
        )
        .group_by(ReflexionInsight.pattern_key)
        .order_by(ReflexionInsight.pattern_key)
    )
    return {text: born_no or 0 for text, born_no in rows if not holds_text(parse_predicate(text))}
