"""What each type of job does."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from viral.features.jobs.types import REFLEXION
from viral.features.reflexion.run import run_reflexion
from viral.worker.handling import HANDLERS, Outcome, job

if TYPE_CHECKING:
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
        offline=runtime.critic,
        now=runtime.clock(),
        hashed=runtime.hashed,
    )
    # The totals are of all tenants; a tenant's own job must not tell them.
    return {**asdict(report)} if at_work.tenant_id is None else {}
