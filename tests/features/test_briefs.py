"""What a writer is told: the tenant's own insights and money, and nothing of anybody else's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from random import Random

import pytest
from clusters import Cluster
from factories import TestTenant, make_tenant
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import HASHED, NOW, add_results, add_trends, execute, fetch, generate, many

from viral.adapters.offline_writer import OfflineWriter
from viral.database.engine import Database
from viral.features.generations.concepts import generate_concepts
from viral.features.generations.costs import Budget
from viral.features.generations.drafts import Brief, Wish, Writer, Written
from viral.features.usage import Usage
from viral.learner.predicates import parse_predicate
from viral.schema.content import Concept


class PaidWriter:
    """A writer that is paid for and remembers what it was told."""

    name = "claude:paid"

    def __init__(self, cost: str = "0.40") -> None:
        self.briefs: list[Brief] = []
        self._usage = Usage("paid", 1200, 340, Decimal(cost))

    async def write(
        self, brief: Brief, *, rng: Random, advance: Callable[[int], None] | None = None
    ) -> Written:
        self.briefs.append(brief)
        written = await OfflineWriter().write(brief, rng=rng, advance=advance)
        return Written(written.drafts, self._usage, note="Two were left out.")


@pytest.fixture
async def studio(system: Database, cluster: Cluster) -> TestTenant:
    await add_trends(system)
    return await make_tenant(system, cluster.secrets, slug="studio", tier="PRO")


async def add_insight(
    admin: AsyncConnection,
    tenant: TestTenant,
    key: str,
    *,
    pattern: str = "TikTok: with the word “umami”",
    status: str = "confirmed",
    is_applied: bool = True,
    impact: str = "positive",
    platform: str = "tiktok",
) -> None:
    await execute(
        admin,
        "INSERT INTO reflexion_insights (tenant_id, id, category, platform, pattern_key, pattern,"
        " evidence_count, impact, effect_size, low, high, status, recommendation,"
        " applied_to_scoring, kind, born_no, sign, confidence) VALUES (:tenant,"
        " gen_random_uuid(), 'all', :platform, :key, :pattern, 20, :impact, 4, 1, 7, :status, '',"
        " :applied, 'hypothesis', 1, 1, 'medium')",
        tenant=tenant.id,
        platform=platform,
        key=key,
        pattern=pattern,
        status=status,
        applied=is_applied,
        impact=impact,
    )


async def ask(app: Database, tenant: TestTenant, writer: Writer) -> list[Concept]:
    return await generate_concepts(
        app,
        tenant.id,
        count=2,
        writer=writer,
        rng=Random(1),
        now=NOW,
        hashed=HASHED,
        budget=Budget(Decimal("1.00"), OfflineWriter()),
    )


async def test_confirmed_insights_are_told_as_sentences_and_as_wishes(
    app: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await add_insight(admin, studio, "word:umami")
    await add_insight(admin, studio, "hook:list", pattern="TikTok: hook: list", impact="negative")
    writer = PaidWriter()

    await generate(app, studio.id, writer=writer)

    (brief,) = writer.briefs
    assert set(brief.insights) == {
        "TikTok: with the word “umami”: does better than foretold otherwise.",
        "TikTok: hook: list: does worse than foretold otherwise.",
    }
    assert set(brief.wishes) == {
        Wish(parse_predicate("word:umami"), 1),
        Wish(parse_predicate("hook:list"), -1),
    }


@pytest.mark.parametrize(
    ("status", "is_applied"),
    [("candidate", True), ("refuted", True), ("retired", True), ("confirmed", False)],
)
async def test_what_is_not_confirmed_and_applied_is_not_told(
    app: Database, studio: TestTenant, admin: AsyncConnection, status: str, *, is_applied: bool
) -> None:
    await add_insight(admin, studio, "word:umami", status=status, is_applied=is_applied)
    writer = PaidWriter()

    await generate(app, studio.id, writer=writer)

    assert ((), ()) == (writer.briefs[0].insights, writer.briefs[0].wishes)


async def test_one_platforms_writer_is_told_of_that_platform(
    app: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await add_insight(admin, studio, "word:umami")
    writer = PaidWriter()

    await generate(app, studio.id, writer=writer, platform="youtube")
    await generate(app, studio.id, writer=writer, platform="tiktok", seed=2)

    assert [0, 1] == [len(brief.insights) for brief in writer.briefs]
    assert ["youtube", "tiktok"] == [brief.platform for brief in writer.briefs]


async def test_nothing_of_another_tenant_is_told(
    app: Database, studio: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    """A canary stands in every text of the other tenant that a brief could be made from."""
    await generate(app, bob.id, 3)
    await add_results(app, bob.id, many(3, prefix="canary"))
    await add_insight(admin, bob, "word:canary", pattern="The canary sings")
    for column in ("title", "hook", "caption", "why_it_works"):
        await execute(admin, f"UPDATE concepts SET {column} = 'canary ' || {column}")
    writer = PaidWriter()

    await generate(app, studio.id, writer=writer)

    assert "canary" not in repr(writer.briefs).casefold()


async def test_what_was_said_is_remembered_of_the_last_two_hundred(
    app: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await generate(app, studio.id, 2)
    await execute(
        admin,
        "INSERT INTO concept_variants (tenant_id, id, concept_id, label, title, caption, hook,"
        " hook_source) SELECT tenant_id, gen_random_uuid(), id, 'B', 'Another title', 'below',"
        " 'Another hook', 'template' FROM concepts LIMIT 1",
    )
    writer = PaidWriter()

    await generate(app, studio.id, writer=writer, seed=2)

    (brief,) = writer.briefs
    assert len(brief.said) == 3
    assert {"another title"} < brief.taken_titles
    assert {"another hook"} < brief.taken_hooks


async def test_what_a_writer_took_and_said_is_kept(
    app: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await ask(app, studio, PaidWriter())

    ((writer, cost, *tokens, note),) = await fetch(
        admin,
        "SELECT writer, cost, input_tokens, output_tokens, settings ->> 'note' FROM generations",
    )
    assert (writer, cost, tokens) == ("claude:paid", Decimal("0.4000"), [1200, 340])
    assert note == "Two were left out."


async def test_when_the_days_money_is_spent_the_offline_writer_writes_and_says_so(
    app: Database, studio: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    paid = PaidWriter()
    for _ in range(4):
        await ask(app, studio, paid)
    await ask(app, bob, paid)

    written = await fetch(admin, "SELECT writer, settings ->> 'note' FROM generations ORDER BY id")
    assert ["claude:paid"] * 3 + ["offline", "claude:paid"] == [writer for writer, _ in written]
    assert "Today's 1.00 USD for claude:paid are spent" in str(written[3][1])


async def test_a_new_day_brings_new_money(
    app: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await ask(app, studio, PaidWriter(cost="5.00"))
    await execute(admin, "UPDATE generations SET date = :then", then=NOW - timedelta(days=1))

    await ask(app, studio, PaidWriter())

    assert [("claude:paid",)] * 2 == await fetch(admin, "SELECT writer FROM generations")


async def test_critiques_are_paid_from_the_same_money(
    app: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    made = await ask(app, studio, OfflineWriter())
    await execute(
        admin,
        "INSERT INTO self_critiques (tenant_id, id, concept_id, performance_gap, critique,"
        " hypothesized_reasons, scoring_issues, adjustment_plan, confidence_level, critic, cost,"
        " created_at) VALUES (:tenant, gen_random_uuid(), :concept, '{}', '', '[]', '[]', '',"
        " 'low', 'claude', 2, :now)",
        tenant=studio.id,
        concept=made[0].id,
        now=NOW,
    )
    await ask(app, studio, PaidWriter())

    assert [("offline",)] * 2 == await fetch(admin, "SELECT writer FROM generations")


async def test_progress_is_told_by_candidates(app: Database, studio: TestTenant) -> None:
    told: list[tuple[int, int]] = []

    await generate_concepts(
        app,
        studio.id,
        count=1,
        writer=OfflineWriter(),
        rng=Random(1),
        now=NOW,
        hashed=HASHED,
        progress=lambda wanted, done: told.append((wanted, done)),
    )

    assert [(10, done) for done in range(1, 11)] == told
