"""What each type of job does."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from viral.features.jobs import REFLEXION
from viral.features.reflexion.run import run_reflexion

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from viral.runtime import Runtime


async def learn(runtime: Runtime, tenant_id: UUID | None) -> dict[str, object]:
    """Take in all results that wait; whoever asked, the order of results is one for all."""
    report = await run_reflexion(
        runtime.app,
        runtime.system,
        critic=runtime.critic,
        now=runtime.clock(),
        hashed=runtime.hashed,
    )
    # The totals are of all tenants; a tenant's own job must not tell them.
    totals: dict[str, object] = {**asdict(report)}
    return totals if tenant_id is None else {}


HANDLERS: dict[str, Callable[[Runtime, UUID | None], Awaitable[dict[str, object]]]] = {
    REFLEXION: learn,
}
