"""What each type of job does."""

from __future__ import annotations

from dataclasses import asdict
from random import Random
from typing import TYPE_CHECKING

from viral.adapters.trends.reader import open_reader
from viral.features.generations.concepts import generate_concepts
from viral.features.generations.orders import WRITING_SHARE, concepts_of_job
from viral.features.jobs.types import GENERATION, REFLEXION
from viral.features.reflexion.run import run_reflexion
from viral.features.trends.fetching import fetch_trends
from viral.features.trends.sources import TRENDS_FETCH
from viral.worker.handling import HANDLERS, Outcome, job
from viral.worker.telling import told

if TYPE_CHECKING:
    from viral.features.jobs.types import ConceptsOrder
    from viral.worker.handling import AtWork

__all__ = ["HANDLERS"]


@job(REFLEXION)
async def learn(at_work: AtWork) -> Outcome:
    """Take in all results that wait; whoever asked, the order of results is one for all."""
    runtime = at_work.runtime
    report = await run_reflexion(
        runtime.app,
        runtime.system,
        critic=runtime.critic,
        offline=runtime.offline_critic,
        daily_cost=runtime.settings.claude_daily_cost,
        now=runtime.clock(),
        hashed=runtime.hashed,
    )
    # The totals are of all tenants; a tenant's own job must not tell them.
    return {**asdict(report)} if at_work.tenant_id is None else {}


@job(TRENDS_FETCH)
async def fetch(at_work: AtWork) -> Outcome:
    """Ask the sources of trends that are due; one that fails is asked again in its own time."""
    async with open_reader() as reader:
        outcomes = await fetch_trends(at_work.runtime.system, reader)
    return {
        "new": sum(each.new for each in outcomes),
        "refreshed": sum(each.refreshed for each in outcomes),
        "failed": [each.name for each in outcomes if each.status == "failed"],
    }


@job(GENERATION)
async def write_concepts(at_work: AtWork, order: ConceptsOrder) -> Outcome:
    """Write a tenant's concepts, and tell how far; an attempt that comes second finds them."""
    runtime, tenant_id = at_work.runtime, at_work.tenant_id
    assert tenant_id is not None, "only tenants order concepts"
    async with at_work.session() as session:
        known = await concepts_of_job(session, at_work.id)
    if known:
        return {"concepts": known}
    async with told(at_work) as tell:
        made = await generate_concepts(
            runtime.app,
            tenant_id,
            count=order.count,
            writer=runtime.writer,
            rng=Random(order.seed),  # noqa: S311 - a choice of words, no secret
            now=runtime.clock(),
            hashed=runtime.hashed,
            category=order.category,
            platform=order.platform,
            trend_id=order.trend_id,
            user_id=order.user_id,
            budget=runtime.budget,
            job_id=at_work.id,
            progress=lambda wanted, done: tell(WRITING_SHARE * done // wanted),
        )
    return {"concepts": [each.id for each in made]}
