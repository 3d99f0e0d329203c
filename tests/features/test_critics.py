"""Critics are asked outside transactions, a few at a time, within numbers and costs a day."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from clusters import Cluster
from factories import TestTenant, make_tenant
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import NOW, add_results, add_trends, execute, fetch, generate, learn, many, result_of

from viral.adapters.offline_critic import OfflineCritic
from viral.database.engine import Database
from viral.errors import ServerUnreachable
from viral.features.reflexion import critiques
from viral.features.reflexion.critic import Critique, Miss
from viral.features.usage import Usage

CRITIQUES = (
    "SELECT critic, cost, input_tokens, scoring_issues::text, performance_gap ->> 'model'"
    " FROM self_critiques WHERE feedback_id IS NOT NULL ORDER BY id"
)


class PaidCritic:
    """Says what the offline critic says, for money, and remembers what it was asked."""

    name = "paid"

    def __init__(self, *, cost: str = "0.10", admin: AsyncConnection | None = None) -> None:
        self.asked: list[Miss] = []
        self.open_transactions: list[tuple[object, ...]] = []
        self.at_once = self.most_at_once = 0
        self._cost = Decimal(cost)
        self._admin = admin

    async def critique(self, miss: Miss) -> Critique:
        self.asked.append(miss)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        if self._admin is not None and len(self.asked) == 1:
            self.open_transactions = await fetch(
                self._admin,
                "SELECT usename, state FROM pg_stat_activity WHERE xact_start IS NOT NULL"
                " AND datname = current_database() AND pid <> pg_backend_pid()",
            )
        await asyncio.sleep(0.001)
        self.at_once -= 1
        answer = await OfflineCritic().critique(miss)
        return replace(answer, usage=Usage("a-model", 900, 90, self._cost))


class DeafCritic(PaidCritic):
    async def critique(self, miss: Miss) -> Critique:
        raise ServerUnreachable(f"No answer about {miss.title}.")


@pytest.fixture
async def studio(system: Database, cluster: Cluster) -> TestTenant:
    """Make a tenant with trends and five hundred concepts a month."""
    await add_trends(system)
    return await make_tenant(system, cluster.secrets, slug="studio", tier="AGENCY")


async def miss_all(
    app: Database, tenant: TestTenant, admin: AsyncConnection, count: int, *, seed: int = 1
) -> None:
    """Post concepts whose intervals hold no result."""
    concepts = await generate(app, tenant.id, count, seed=seed)
    await execute(admin, "UPDATE predictions SET low = score - 1, high = score + 1")
    rows = [
        result_of(each, views=40_000 * (place + 1), likes=20_000 * (place + 1))
        for place, each in enumerate(concepts)
    ]
    await add_results(app, tenant.id, rows)


async def test_a_critic_is_asked_while_no_transaction_is_open_and_three_at_once(
    app: Database, system: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await miss_all(app, studio, admin, 8)
    critic = PaidCritic(admin=admin)

    report = await learn(app, system, critic=critic)

    assert report.critiques == len(critic.asked) == 8
    assert critic.most_at_once == critiques.ASKED_AT_ONCE
    assert critic.open_transactions == []
    assert await fetch(admin, CRITIQUES) == [
        ("paid", Decimal("0.1"), 900, issues, "a-model")
        for _, _, _, issues, _ in await fetch(admin, CRITIQUES)
    ]


async def test_past_the_days_cost_the_offline_critic_answers_and_says_so(
    app: Database, system: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await miss_all(app, studio, admin, 8)
    # Drafts of the same day count as well.
    await execute(admin, "UPDATE generations SET cost = 0.15, date = :now", now=NOW)
    critic = PaidCritic()

    first = await learn(app, system, critic=critic, daily_cost=Decimal("0.40"), now=NOW)
    paid = len(critic.asked)
    await miss_all(app, studio, admin, 3, seed=2)
    tomorrow = NOW + timedelta(days=1)
    second = await learn(app, system, critic=critic, daily_cost=Decimal("0.40"), now=tomorrow)

    # The third brings the cost over the limit; two more were under way by then.
    assert 3 <= paid <= 5
    rows = await fetch(admin, CRITIQUES)
    offline = [issues for critic, _, _, issues, _ in rows if critic == "offline"]
    assert len(offline) == 8 - paid
    assert all("The day's 0.40 USD for paid are spent" in str(issues) for issues in offline)
    assert len(critic.asked) == paid + 3
    assert (first.critiques, first.capped, second.capped) == (8, 8 - paid, 0)


async def test_a_critic_that_cannot_answer_is_stood_in_for(
    app: Database, system: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await miss_all(app, studio, admin, 2)

    report = await learn(app, system, critic=DeafCritic())

    assert report.critiques == 2
    for critic, cost, _, issues, _ in await fetch(admin, CRITIQUES):
        assert (critic, cost) == ("offline", 0)
        assert "paid could not answer" in str(issues)


async def test_no_more_than_the_days_number_of_misses_is_asked_about(
    app: Database,
    system: Database,
    studio: TestTenant,
    admin: AsyncConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(critiques, "MOST_A_DAY", 5)
    counts = []
    for day, count, seed in ((0, 3, 1), (0, 4, 2), (1, 2, 3)):
        await miss_all(app, studio, admin, count, seed=seed)
        report = await learn(app, system, now=NOW + timedelta(days=day))
        counts.append(report.critiques)

    assert counts == [3, 2, 2]
    unjudged = "SELECT count(*) FROM performance_feedback WHERE judged_at IS NULL"
    assert await fetch(admin, unjudged) == [(0,)]


async def test_two_runs_at_a_time_store_each_critique_once(
    app: Database, system: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await miss_all(app, studio, admin, 4)

    reports = await asyncio.gather(*(learn(app, system, critic=PaidCritic()) for _ in range(2)))

    assert sum(report.critiques for report in reports) == 4
    assert len(await fetch(admin, CRITIQUES)) == 4


async def test_a_miss_comes_with_the_tenants_own_nearest_earlier_videos(
    app: Database, system: Database, studio: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    await add_results(app, bob.id, many(6, prefix="canary"))
    own = many(7, prefix="mine")
    await add_results(app, studio.id, own)
    await learn(app, system)
    await miss_all(app, studio, admin, 1)
    critic = PaidCritic()

    await learn(app, system, critic=critic)

    (miss,) = critic.asked
    assert len(miss.neighbours) == 5
    assert {each.title for each in miss.neighbours} <= {row.title for row in own}
    assert "canary" not in repr(miss)
    assert all(0 <= each.predicted <= 100 for each in miss.neighbours)
    assert miss.hook
    assert miss.tags
    assert miss.published_at == NOW


async def test_a_run_that_was_killed_while_a_critic_thought_asks_again(
    app: Database, system: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await miss_all(app, studio, admin, 2)

    class Killed(PaidCritic):
        async def critique(self, miss: Miss) -> Critique:
            raise asyncio.CancelledError(miss.title)

    with pytest.raises(asyncio.CancelledError):
        await learn(app, system, critic=Killed())
    report = await learn(app, system)

    assert (report.results, report.critiques) == (0, 2)
