"""One turn of the loop: results in, state learnt, misses critiqued, adjustments published."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import select

from viral.features.reflexion.adjustments import publish_adjustments
from viral.features.reflexion.critiques import critique_misses
from viral.features.reflexion.insights import note_insights
from viral.features.reflexion.learning import apply_results, hold_learning
from viral.schema.results import PerformanceFeedback
from viral.schema.vocabulary import PLATFORMS

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from viral.database.engine import Database
    from viral.features.reflexion.critic import Critic


@dataclass(slots=True)
class RunReport:
    """What one turn did."""

    results: int = 0
    by_platform: dict[str, int] = field(default_factory=dict)
    tenants: int = 0
    critiques: int = 0
    insights: int = 0
    adjustments: int = 0


async def run_reflexion(
    app: Database,
    system: Database,
    *,
    critic: Critic,
    now: datetime,
    hashed: Callable[[str], str],
    progress: Callable[[str, int, int | None], None] | None = None,
) -> RunReport:
    """Learn from all results that wait, then let each tenant they belong to draw its conclusions.

    The state is learnt as the system role, one transaction a platform; critiques, insights and
    adjustments are each tenant's own, written in its session. A run that is killed goes on where
    it stopped: what was learnt is marked, and what was not judged is found again.
    """
    report = RunReport()
    for platform in PLATFORMS:
        async with system.session_without_tenant() as session:
            applied = await apply_results(
                session,
                platform,
                now=now,
                hashed=hashed,
                progress=_steps(progress, f"Learning from {platform}"),
            )
        report.by_platform[platform] = applied.results
        report.results += applied.results
    tenants = await _tenants_with_unjudged(system)
    for number, tenant_id in enumerate(tenants, start=1):
        async with (
            # Two runs at a time would draw the same conclusions twice.
            system.session_without_tenant() as lock,
            app.tenant_session(tenant_id) as session,
        ):
            await hold_learning(lock, *PLATFORMS)
            judged = await critique_misses(session, critic, now=now)
            adjustments = await publish_adjustments(session, judged, now=now)
            report.insights += await note_insights(session, now=now)
        report.critiques += len(judged)
        report.adjustments += len(adjustments)
        if progress is not None:
            progress("Drawing conclusions", number, len(tenants))
    report.tenants = len(tenants)
    return report


async def _tenants_with_unjudged(system: Database) -> list[UUID]:
    async with system.session_without_tenant() as session:
        return list(
            await session.scalars(
                select(PerformanceFeedback.tenant_id)
                .where(
                    PerformanceFeedback.judged_at.is_(None),
                    PerformanceFeedback.applied_no.is_not(None),
                )
                .distinct()
                .order_by(PerformanceFeedback.tenant_id)
            )
        )


def _steps(
    progress: Callable[[str, int, int | None], None] | None, step: str
) -> Callable[[int], None] | None:
    if progress is None:
        return None

    def advance(done: int) -> None:
        progress(step, done, None)

    return advance
