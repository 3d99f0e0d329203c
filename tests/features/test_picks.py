"""Candidates become concepts by what is published, with odds that are written down."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from clusters import Cluster
from factories import TestTenant, make_tenant
from published import publish
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import HASHED, NOW, add_trends, execute, fetch, generate

from viral.database.engine import Database
from viral.features.generations.leanings import LEAST_SHARE, hook_shares
from viral.features.generations.picks import _arms, candidates_for
from viral.learner.picking import Part, pick_arms


@pytest.fixture
async def studio(system: Database, cluster: Cluster) -> TestTenant:
    await add_trends(system)
    return await make_tenant(system, cluster.secrets, slug="studio", tier="AGENCY")


@pytest.mark.parametrize(("count", "wanted"), [(1, 10), (3, 10), (4, 12), (100, 300)])
def test_ten_candidates_or_three_a_pick(count: int, wanted: int) -> None:
    assert wanted == candidates_for(count)


async def test_only_what_is_picked_is_stored_and_counted(
    app: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await generate(app, studio.id, 4)

    assert [(4, 4)] == await fetch(
        admin, "SELECT used_quota, (SELECT count(*)::int FROM concepts) FROM tenants"
    )
    (settings,) = (await fetch(admin, "SELECT settings FROM generations"))[0]
    assert settings == {"count": 4, "category": None, "platform": None, "candidates": 12}


async def test_every_pick_has_its_odds(
    app: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await generate(app, studio.id, 60, category="food")

    rows = await fetch(admin, "SELECT propensity, is_exploration FROM concepts")
    assert all(0 < odds <= 1 for odds, _ in rows)  # type: ignore[operator]  # a number of the row
    # One slot of eight, and a half one by chance.
    assert 7 <= sum(bool(is_exploration) for _, is_exploration in rows) <= 8


async def test_what_is_published_as_better_is_picked_more_often(
    app: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await publish(admin, "hook", "story", 12.0)
    await publish(admin, "hook", "list", -12.0)

    concepts = await generate(app, studio.id, 40, category="food")

    counts = Counter(each.hook_type for each in concepts)
    assert counts["story"] >= 10
    assert counts["list"] <= 2


async def test_what_is_live_but_not_published_is_no_reason(
    app: Database, studio: TestTenant, system: Database, cluster: Cluster, admin: AsyncConnection
) -> None:
    twin = await make_tenant(system, cluster.secrets, slug="twin", tier="AGENCY")
    await publish(admin, "hook", "story", 0.0, variance=36.0)
    before = await generate(app, studio.id, 8)

    await execute(admin, "UPDATE shared_effects SET mean = 40 WHERE family = 'hook'")
    after = await generate(app, twin.id, 8)

    assert [each.title for each in before] == [each.title for each in after]


async def test_no_more_than_half_of_a_round_is_of_one_category(
    app: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await publish(admin, "category", "food", 30.0)

    concepts = await generate(app, studio.id, 10)

    assert Counter(each.category for each in concepts) == {"food": 5, "tech": 5}


async def test_hook_types_are_proposed_by_what_is_published_above_a_floor(
    app: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await publish(admin, "hook", "story", 8.0, live=0.0)
    await publish(admin, "hook", "list", -30.0)

    async with app.tenant_session(studio.id) as session:
        shares = await hook_shares(session, ("tiktok", "youtube"), now=NOW, hashed=HASHED)

    assert sum(shares.values()) == pytest.approx(1)
    assert shares["story"] == max(shares.values()) > 2 * shares["question"]
    assert shares["list"] == pytest.approx(LEAST_SHARE, abs=1e-3)


def test_effects_of_the_same_candidates_are_joined_without_changing_the_odds() -> None:
    def part(key: str) -> Part:
        return Part((key,), float(len(key)), 4.0)

    def own(*keys: str) -> dict[tuple[object, ...], Part]:
        return {(key,): part(key) for key in keys}

    parts = [own("all", "a", "aa", "ab"), own("all", "ab", "b"), own("all", "c", "cc", "ccc")]

    arms = _arms(["x", "y", "z"], parts)

    assert [3, 3, 2] == [len(arm.parts) for arm in arms]
    for arm, whole in zip(arms, parts, strict=True):
        assert arm.mean == sum(each.points for each in whole.values())
        assert arm.variance == sum(each.variance for each in whole.values())
    shared = {each.key for each in arms[0].parts} & {each.key for each in arms[1].parts}
    assert len(shared) == 2
    assert len(pick_arms(arms, 2, rng=Random(1))) == 2
