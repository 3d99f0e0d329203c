"""One turn of the loop: results in, state learnt, misses critiqued, what is proven published."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import select

from viral.features.experiments.trials import running_experiment
from viral.features.experiments.verdicts import settle_experiment
from viral.features.generations.costs import spent_today
from viral.features.reflexion.adjustments import guard_adjustments
from viral.features.reflexion.critiques import (
    Purse,
    ask_critic,
    find_misses,
    store_critiques,
)
from viral.features.reflexion.guard import FIRST_OWN
from viral.features.reflexion.hypotheses import close_ended, note_firings, note_hypotheses
from viral.features.reflexion.learning import apply_results, hold_learning
from viral.features.reflexion.patterns import note_patterns
from viral.features.reflexion.results import last_place
from viral.features.reflexion.shared_guard import guard_shared, pooled_lead
from viral.features.reflexion.shared_trials import shared_trials
from viral.features.reflexion.trials import open_insights, try_hypotheses
from viral.schema.results import PerformanceFeedback
from viral.schema.vocabulary import PLATFORMS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from decimal import Decimal
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.database.engine import Database
    from viral.features.reflexion.critic import Critic
    from viral.features.reflexion.critiques import Judged
    from viral.features.reflexion.guard import Pooled
    from viral.learner.contrast import Contrast


@dataclass(slots=True)
class RunReport:
    """What one turn did; `versions` are platforms where shared effects were published.

    `capped` of the critiques are the offline critic's because a tenant's day's cost was reached.
    """

    results: int = 0
    by_platform: dict[str, int] = field(default_factory=dict)
    tenants: int = 0
    critiques: int = 0
    capped: int = 0
    insights: int = 0
    adjustments: int = 0
    confirmed: int = 0
    refuted: int = 0
    versions: list[str] = field(default_factory=list)
    rolled_back: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Finding:
    """What all tenants' results say on a platform; it holds no tenant's data."""

    pooled: Pooled
    trials: dict[str, Contrast]


@dataclass(frozen=True, slots=True)
class Turn:
    """A tenant's new results on a platform, first to last, and the newest of all tenants."""

    platform: str
    first: int
    last: int
    place: int
    now: datetime


async def run_reflexion(
    app: Database,
    system: Database,
    *,
    critic: Critic,
    offline: Critic | None = None,
    daily_cost: Decimal | None = None,
    now: datetime,
    hashed: Callable[[str], str],
    progress: Callable[[str, int, int | None], None] | None = None,
) -> RunReport:
    """Learn from all results that wait, then let each tenant they belong to draw its conclusions.

    The state is learnt and guarded as the system role, one transaction a platform; critiques,
    insights and adjustments are each tenant's own, written in its session. The critic is asked
    while no transaction is open; past `daily_cost` (USD a tenant) `offline` answers, if there is
    another. A run that is killed goes on where it stopped: what was learnt is marked, and what
    was not judged is found again.
    """
    report = RunReport()
    await _learn_all(system, report, now=now, hashed=hashed, progress=progress)
    tenants = await _tenants_with_unjudged(system)
    findings = await _findings(system) if tenants else {}
    for number, tenant_id in enumerate(tenants, start=1):
        async with app.tenant_session(tenant_id) as session:
            found = await find_misses(session, now=now)
            purse = Purse(await spent_today(session, now=now), daily_cost)
        answers = await ask_critic(found.misses, critic, offline or critic, purse=purse)
        async with (
            # Two runs at a time would draw the same conclusions twice.
            system.session_without_tenant() as lock,
            app.tenant_session(tenant_id) as session,
        ):
            await hold_learning(lock, *PLATFORMS)
            judged = await store_critiques(session, found, answers, now=now)
            report.critiques += len(judged)
            report.capped += sum(each.answer.is_capped for each in judged)
            for name, places in found.places.items():
                turn = Turn(name, *places, place=await last_place(lock, name), now=now)
                await _conclude(session, turn, judged, findings[name], report)
            report.insights += await note_patterns(session, now=now)
            if (experiment := await running_experiment(session)) is not None:
                await settle_experiment(session, experiment, now=now)
        if progress is not None:
            progress("Drawing conclusions", number, len(tenants))
    report.tenants = len(tenants)
    return report


async def _learn_all(
    system: Database,
    report: RunReport,
    *,
    now: datetime,
    hashed: Callable[[str], str],
    progress: Callable[[str, int, int | None], None] | None,
) -> None:
    """Learn what waits and guard what is shared, a transaction each platform."""
    for platform in PLATFORMS:
        async with system.session_without_tenant() as session:
            applied = await apply_results(
                session,
                platform,
                now=now,
                hashed=hashed,
                progress=_steps(progress, f"Learning from {platform}"),
            )
            if applied.results:
                decision = await guard_shared(session, platform, now=now)
                report.versions += [platform] if decision.published else []
                report.rolled_back += [platform] if decision.undone else []
        report.by_platform[platform] = applied.results
        report.results += applied.results


async def _conclude(
    session: AsyncSession,
    turn: Turn,
    judged: Sequence[Judged],
    finding: Finding,
    report: RunReport,
) -> None:
    """Test the tenant's hypotheses on its new results, and publish what is proven."""
    platform, now = turn.platform, turn.now
    insights = await open_insights(session, platform)
    await note_firings(session, platform, insights, after=turn.first - 1, up_to=turn.last)
    new = await note_hypotheses(session, platform, judged, born_no=turn.place, now=now)
    await note_firings(session, platform, new, after=0, up_to=turn.last)
    verdicts = await try_hypotheses(
        session, [*insights, *new], shared=finding.trials, last_no=turn.place, now=now
    )
    await close_ended(session, platform, ended_no=turn.place)
    published = await guard_adjustments(
        session, platform, judged, pooled=finding.pooled, after_no=turn.place, now=now
    )
    report.insights += len(new)
    report.confirmed += len(verdicts.confirmed)
    report.refuted += len(verdicts.refuted)
    report.adjustments += len(verdicts.adjustments) + len(published)


async def _findings(system: Database) -> dict[str, Finding]:
    findings: dict[str, Finding] = {}
    for platform in PLATFORMS:
        async with system.session_without_tenant() as session:
            findings[platform] = Finding(
                pooled=await pooled_lead(session, platform, least=FIRST_OWN),
                trials=await shared_trials(session, platform),
            )
    return findings


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
