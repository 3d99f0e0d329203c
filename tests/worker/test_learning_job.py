"""Learning as a job: asked of Claude as long as the day's money lasts, and no longer."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import pytest
from factories import TestTenant
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import add_results, add_trends, execute, generate, result_of

from viral.adapters.offline_critic import OfflineCritic
from viral.database.engine import Database
from viral.features.reflexion.critic import Critique, Miss
from viral.features.usage import Usage
from viral.runtime import Runtime
from viral.worker.handlers import learn
from viral.worker.handling import AtWork


class DearCritic:
    """Says what the offline critic says, for a dollar."""

    name = "dear"

    def __init__(self) -> None:
        self.asked = 0

    async def critique(self, miss: Miss) -> Critique:
        self.asked += 1
        answer = await OfflineCritic().critique(miss)
        return replace(answer, usage=Usage("a-model", 900, 90, Decimal(1)))


@pytest.fixture
def jobs_listen() -> bool:
    """Let workers look: how they hear of a job makes no difference here."""
    return False


@pytest.mark.parametrize(("most", "paid"), [("0", 0), ("9", 2)])
async def test_the_cap_of_a_tenants_day_holds_for_the_worker(
    runtime: Runtime,
    app: Database,
    system: Database,
    alice: TestTenant,
    admin: AsyncConnection,
    most: str,
    paid: int,
) -> None:
    await add_trends(system)
    concepts = await generate(app, alice.id, 2)
    await execute(admin, "UPDATE predictions SET low = 99, high = 100, score = 99")
    await add_results(app, alice.id, [result_of(each, views=90, likes=1) for each in concepts])
    critic = DearCritic()
    settings = runtime.settings.model_copy(update={"claude_daily_cost": Decimal(most)})
    capped = replace(runtime, critic=critic, settings=settings)

    async def report(_percent: int) -> None:
        pass

    outcome = await learn(AtWork(UUID(int=7), None, 1, capped, report))

    assert (outcome["critiques"], outcome["capped"], critic.asked) == (2, 2 - paid, paid)
