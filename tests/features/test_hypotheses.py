"""Guesses of critics are tested on later results, served once confirmed, watched, and ended."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from clusters import Cluster
from factories import TestTenant, make_tenant
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import (
    HASHED,
    NOW,
    TellingCritic,
    add_results,
    add_trends,
    adjustments_of,
    execute,
    fetch,
    foretell_video,
    generate,
    kinds,
    learn,
    suggest,
)

from viral.database.engine import Database
from viral.features.generations.concepts import find_concept, predict_concepts
from viral.features.performance.files import ResultRow
from viral.features.reflexion import hypotheses, trials
from viral.features.reflexion.replay import replay_platform
from viral.features.reflexion.shared_trials import shared_trials
from viral.features.reflexion.trials import trial_of
from viral.features.reflexion.undo import undo_insight
from viral.features.reflexion.why import why_concept
from viral.features.scoring.predictions import Forecast
from viral.learner.contrast import Residual
from viral.schema.vocabulary import Confidence

GUESS = "word:alpha & word:beta"
LONG_AND_LATE = "duration:60..61 & hour:15..15"
FAMILIES = {"hypothesis_low", "hypothesis", "hypothesis_high"}
INSIGHTS = (
    "SELECT pattern_key, status, evidence_count, born_no, ended_no, critic, confidence"
    " FROM reflexion_insights WHERE kind = 'hypothesis' ORDER BY pattern_key"
)


def long_and_late() -> list[ResultRow]:
    """Make results where only long videos that are posted late do well."""
    return [
        replace(
            each,
            title="gamma",
            duration_s=60 if number % 4 in {1, 2} else 20,
            published_at=each.published_at + timedelta(hours=6 if number % 4 in {2, 3} else 0),
        )
        for number, each in enumerate(kinds(48, prefix="x", first_day=1))
    ]


def shares_of(forecast: Forecast) -> dict[str, float]:
    return {each.key: each.points for each in forecast.reasons if each.family in FAMILIES}


@pytest.fixture
async def studio(system: Database, cluster: Cluster) -> TestTenant:
    """Make a tenant with trends and five hundred concepts a month."""
    await add_trends(system)
    return await make_tenant(system, cluster.secrets, slug="studio", tier="AGENCY")


async def born(
    app: Database,
    system: Database,
    tenant: TestTenant,
    admin: AsyncConnection,
    *,
    confidence: Confidence = "medium",
) -> None:
    """Bring a tenant to a candidate with ten firings in the past."""
    await add_results(app, tenant.id, kinds(40, prefix="past", first_day=0))
    await learn(app, system)
    await suggest(app, system, tenant, admin, TellingCritic(GUESS, confidence=confidence))


async def confirmed(
    app: Database, system: Database, tenant: TestTenant, admin: AsyncConnection
) -> None:
    await born(app, system, tenant, admin)
    await add_results(app, tenant.id, kinds(60, prefix="later", first_day=10))
    report = await learn(app, system, now=NOW + timedelta(days=20))
    assert (report.confirmed, report.refuted) == (1, 0)


@pytest.mark.parametrize(
    ("confidence", "family"), [("low", "hypothesis_low"), ("high", "hypothesis_high")]
)
async def test_a_guess_becomes_a_candidate_with_its_evidence_and_serves_nothing(
    app: Database,
    system: Database,
    studio: TestTenant,
    admin: AsyncConnection,
    confidence: Confidence,
    family: str,
) -> None:
    await born(app, system, studio, admin, confidence=confidence)
    before = await foretell_video(app, studio, title="alpha beta")
    await add_results(app, studio.id, kinds(4, prefix="next", first_day=10))
    await learn(app, system)

    assert await fetch(admin, INSIGHTS) == [
        (GUESS, "candidate", 11, 41, None, "telling", confidence)
    ]
    places = "SELECT applied_no FROM insight_firings ORDER BY 1"
    assert [place for (place,) in await fetch(admin, places)] == [*range(3, 40, 4), 44]
    learnt = "SELECT DISTINCT family, samples, published FROM learner_effects WHERE key = :guess"
    assert await fetch(admin, learnt, guess=GUESS) == [(family, 1, 0)]
    after = await foretell_video(app, studio, title="alpha beta")
    assert shares_of(before) == shares_of(after) == {}


async def test_later_results_confirm_a_hypothesis_and_its_chain_leads_back(
    app: Database, system: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await confirmed(app, system, studio, admin)

    fired = await foretell_video(app, studio, title="alpha beta")
    silent = await foretell_video(app, studio, title="alpha gamma")
    assert shares_of(fired)[GUESS] > 1
    assert shares_of(silent) == {}
    chain = await fetch(
        admin,
        "SELECT a.goal, a.reason, c.critic, c.applied_at IS NOT NULL, i.status, i.z > 2.5,"
        " i.applied_to_scoring FROM scoring_adjustments AS a JOIN reflexion_insights AS i"
        " ON (i.tenant_id, i.id) = (a.tenant_id, a.insight_id) JOIN self_critiques AS c"
        " ON (c.tenant_id, c.id) = (i.tenant_id, i.critique_id) AND c.id = a.critique_id"
        " ORDER BY a.goal",
    )
    assert [(goal, *rest) for goal, _, *rest in chain] == [
        (goal, "telling", True, "confirmed", True, True) for goal in ("engagement", "reach")
    ]
    assert "Held for" in str(chain[0][1])
    (concept,) = await generate(app, studio.id, 1, seed=9)
    await execute(admin, "UPDATE concepts SET title = 'alpha beta' WHERE id = :id", id=concept.id)
    await execute(admin, "DELETE FROM predictions WHERE concept_id = :id", id=concept.id)
    async with app.tenant_session(studio.id) as session:
        found = await find_concept(session, concept.id)
        await predict_concepts(session, [found], platforms=("tiktok",), now=NOW, hashed=HASHED)
        _, (here,) = await why_concept(session, concept.id, hashed=HASHED)
    assert here.similar[0].title == "alpha beta"
    (share,) = [each for each in here.shares if each.key == GUESS]
    assert {change.insight for change in share.changes} == {
        "TikTok: With the word “alpha” and with the word “beta”"
    }
    assert share.videos > 10


async def test_a_placebo_is_refuted_and_leaves_what_is_learnt(
    app: Database,
    system: Database,
    studio: TestTenant,
    admin: AsyncConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trials, "MOST_FIRINGS", 20)
    await add_results(app, studio.id, kinds(40, prefix="past", first_day=0))
    await learn(app, system)
    await suggest(app, system, studio, admin, TellingCritic("hour:9..17"))
    await add_results(app, studio.id, kinds(40, prefix="later", first_day=10))
    report = await learn(app, system)
    counted = "SELECT DISTINCT samples FROM learner_effects WHERE family = 'hypothesis'"
    at_end = await fetch(admin, counted)
    await add_results(app, studio.id, kinds(8, prefix="after", first_day=20))
    await learn(app, system)

    assert (report.confirmed, report.refuted) == (0, 1)
    assert [(row[1], row[4]) for row in await fetch(admin, INSIGHTS)] == [("refuted", 81)]
    assert at_end == await fetch(admin, counted) == [(40,)]
    assert [each for each in await adjustments_of(app, studio) if each.insight_id] == []


async def test_a_hypothesis_of_the_wrong_sign_is_refuted(
    app: Database, system: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await add_results(app, studio.id, kinds(40, prefix="past", first_day=0))
    await learn(app, system)
    await suggest(app, system, studio, admin, TellingCritic(GUESS, sign=-1))
    await add_results(app, studio.id, kinds(60, prefix="later", first_day=10))

    report = await learn(app, system)

    assert (report.confirmed, report.refuted) == (0, 1)


async def test_a_confirmed_hypothesis_that_harms_is_retired(
    app: Database, system: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await confirmed(app, system, studio, admin)
    for turn in range(3):
        rows = kinds(30, prefix=f"turned{turn}-", first_day=30, hit=300, other=60_000)
        await add_results(app, studio.id, rows)
        await learn(app, system, now=NOW + timedelta(days=60 + turn))

    assert [row[1] for row in await fetch(admin, INSIGHTS)] == ["retired"]
    undone = [each for each in await adjustments_of(app, studio) if each.insight_id is not None]
    assert all("more with it" in str(each.revert_reason) for each in undone)
    assert shares_of(await foretell_video(app, studio, title="alpha beta")) == {}
    gains = "SELECT gain < 0 FROM reflexion_insights WHERE kind = 'hypothesis'"
    assert await fetch(admin, gains) == [(True,)]


async def test_undoing_an_insight_restores_the_forecasts_exactly(
    app: Database, system: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await confirmed(app, system, studio, admin)
    insight = "SELECT id FROM reflexion_insights WHERE kind = 'hypothesis'"
    ((insight_id,),) = await fetch(admin, insight)
    others = await foretell_video(app, studio, title="alpha gamma")
    served = await foretell_video(app, studio, title="alpha beta")
    hide = "UPDATE reflexion_insights SET status = 'candidate' WHERE kind = 'hypothesis'"
    await execute(admin, hide)
    without = await foretell_video(app, studio, title="alpha beta")
    await execute(admin, hide.replace("candidate", "confirmed"))

    async with app.tenant_session(studio.id) as session:
        undone = await undo_insight(
            session, UUID(str(insight_id)), user_id=studio.user_id, now=NOW + timedelta(days=21)
        )

    assert {each.revert_reason for each in undone} == {"by hand"}
    assert len(undone) == 2
    assert served != without
    assert await foretell_video(app, studio, title="alpha beta") == without
    assert await foretell_video(app, studio, title="alpha gamma") == others
    await add_results(app, studio.id, kinds(4, prefix="x", first_day=40))
    await learn(app, system)
    assert [(row[1], row[4]) for row in await fetch(admin, INSIGHTS)] == [("retired", 105)]


async def test_a_replay_learns_with_each_hypothesis_for_as_long_as_it_was_tried(
    app: Database,
    system: Database,
    studio: TestTenant,
    admin: AsyncConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trials, "MOST_FIRINGS", 20)
    await confirmed(app, system, studio, admin)
    await suggest(app, system, studio, admin, TellingCritic("hour:9..17"), seed=2)
    for turn in range(2):
        await add_results(app, studio.id, kinds(30, prefix=f"r{turn}-", first_day=30))
        await learn(app, system)
    assert [row[1] for row in await fetch(admin, INSIGHTS)] == ["refuted", "confirmed"]

    async with system.session_without_tenant() as session:
        same = await replay_platform(session, "tiktok", hashed=HASHED, is_check=True)
    await execute(admin, "UPDATE reflexion_insights SET born_no = 60 WHERE born_no = 41")
    async with system.session_without_tenant() as session:
        other = await replay_platform(session, "tiktok", hashed=HASHED, is_check=True)

    assert same.differences == []
    assert {each.key[2] for each in other.differences} >= {"hypothesis"}


async def test_a_guess_is_noted_once_and_nonsense_never(
    app: Database,
    system: Database,
    studio: TestTenant,
    admin: AsyncConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hypotheses, "MOST_OPEN", 3)
    critic = TellingCritic("word:b & word:a", "WORD:a & word:b", "rm -rf", "hour:1..2", "tag:x")

    await suggest(app, system, studio, admin, critic)
    await suggest(app, system, studio, admin, TellingCritic("tag:y", "hour:1..2"), seed=2)

    assert [row[0] for row in await fetch(admin, INSIGHTS)] == [
        "hour:1..2",
        "tag:x",
        "word:a & word:b",
    ]


async def test_what_never_holds_makes_room(
    app: Database,
    system: Database,
    studio: TestTenant,
    admin: AsyncConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trials, "MOST_RESULTS", 10)
    await suggest(app, system, studio, admin, TellingCritic("tag:never"))
    await add_results(app, studio.id, kinds(12, prefix="x", first_day=1))

    await learn(app, system)

    assert [(row[1], row[4]) for row in await fetch(admin, INSIGHTS)] == [("retired", 13)]


async def test_predicates_without_words_are_tried_over_all_tenants(
    app: Database, system: Database, cluster: Cluster, studio: TestTenant, admin: AsyncConnection
) -> None:
    await suggest(app, system, studio, admin, TellingCritic(LONG_AND_LATE, GUESS, "tag:secret"))
    for number in range(5):
        tenant = await make_tenant(system, cluster.secrets, slug=f"t{number}")
        await add_results(app, tenant.id, long_and_late())
    await learn(app, system)

    async with system.session_without_tenant() as session:
        trial = await shared_trials(session, "tiktok")

    assert set(trial) == {LONG_AND_LATE}
    contrast = trial[LONG_AND_LATE]
    assert (contrast.tenants, contrast.verdict) == (5, "accepted")
    assert contrast.firings >= 40
    # The one that had the idea has no such video, and is served it by the others' results.
    await add_results(app, studio.id, kinds(1, prefix="y", first_day=30))
    report = await learn(app, system)
    assert report.confirmed == 1


def test_the_half_that_decides_came_after_the_idea() -> None:
    lucky = [(place, Residual("a", 20.0 + place % 3)) for place in range(1, 41)]
    vain = [(place, Residual("a", (-1.0) ** place)) for place in range(41, 61)]
    true = [(place, Residual("a", 20.0 + place % 3)) for place in range(41, 61)]

    assert trial_of(lucky, born_no=40, scope="tenant").verdict == "waiting"
    assert trial_of(lucky + vain, born_no=40, scope="tenant").verdict == "rejected"
    found = trial_of(lucky + true, born_no=40, scope="tenant")
    # Looks are a third apart: of twenty later firings the first seventeen count.
    assert (found.firings, found.verdict) == (34, "accepted")
