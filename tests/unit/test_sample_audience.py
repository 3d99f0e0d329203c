"""The sample data: believable, repeatable, and with a truth to be found."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from statistics import correlation, mean, pstdev

import pytest

from viral.features.sample import SAMPLE_TENANT_NAME, SAMPLE_TENANT_SLUG
from viral.features.sample.audience import HOOK_TYPES, Counts, SampleAudience
from viral.features.sample.trends import sample_trends
from viral.schema.vocabulary import CATEGORIES, PLATFORMS

START = datetime(2026, 9, 1, tzinfo=UTC)


def post(audience: SampleAudience, rng: Random, **given: str) -> Counts:
    """Publish a video of random properties, apart from the given ones."""
    return audience.results(
        category=given.get("category") or rng.choice(CATEGORIES),
        hook_type=given.get("hook_type") or rng.choice(HOOK_TYPES),
        platform=given.get("platform") or rng.choice(PLATFORMS),
        published_at=START + timedelta(hours=rng.randrange(2000)),
        duration_s=rng.randint(7, 60),
        hashtags=["tips"] * rng.randint(3, 8),
        title=rng.choice(["Why it works", "The secret of home", "Without a word"]),
        rng=rng,
    )


def rate(counts: Counts) -> float:
    return (counts.likes + counts.comments + counts.shares) / counts.views


def mean_rate_of_each_hook(seed: int) -> dict[str, float]:
    audience, rng = SampleAudience(seed), Random(seed)
    return {
        kind: mean(rate(post(audience, rng, hook_type=kind)) for _ in range(300))
        for kind in HOOK_TYPES
    }


def test_the_same_seeds_give_the_same_counts() -> None:
    first = [post(SampleAudience(3), Random(n)) for n in range(20)]
    second = [post(SampleAudience(3), Random(n)) for n in range(20)]

    assert first == second


def test_another_seed_is_another_audience() -> None:
    first = [post(SampleAudience(3), Random(n)) for n in range(20)]
    second = [post(SampleAudience(4), Random(n)) for n in range(20)]

    assert first != second


@pytest.mark.parametrize("seed", range(5))
def test_counts_are_those_of_a_small_creator(seed: int) -> None:
    audience, rng = SampleAudience(seed), Random(seed)

    for counts in (post(audience, rng) for _ in range(1000)):
        assert 300 <= counts.views <= 400_000
        assert 3_000 <= counts.followers <= 80_000
        assert 0.008 <= rate(counts) <= 0.182
        assert counts.likes >= counts.shares + counts.comments >= 0


@pytest.mark.parametrize("seed", range(5))
def test_the_best_hook_type_clearly_beats_the_worst(seed: int) -> None:
    rates = sorted(mean_rate_of_each_hook(seed).values())

    assert rates[-1] > 1.8 * rates[0]


def test_audiences_differ_in_their_favorite_hook_type() -> None:
    favorites = {max(r, key=r.__getitem__) for r in map(mean_rate_of_each_hook, range(6))}

    assert len(favorites) > 2


def test_knowing_the_truth_leaves_a_much_smaller_error_but_not_none() -> None:
    audience, rng = SampleAudience(1), Random(1)
    everything = [rate(post(audience, rng)) for _ in range(500)]
    one_video = [
        rate(
            audience.results(
                category="food",
                hook_type="list",
                platform="tiktok",
                published_at=START,
                duration_s=20,
                hashtags=["tips"],
                title="Why",
                rng=rng,
            )
        )
        for _ in range(500)
    ]

    assert (
        0.1 < (pstdev(one_video) / mean(one_video)) / (pstdev(everything) / mean(everything)) < 0.7
    )


def test_what_is_passed_on_is_also_liked() -> None:
    audience, rng = SampleAudience(2), Random(2)
    counts = [post(audience, rng) for _ in range(1000)]

    assert correlation([c.likes for c in counts], [c.shares for c in counts]) > 0.9


def test_unknown_words_have_no_effect_and_no_error() -> None:
    audience = SampleAudience(1)

    counts = post(audience, Random(1), category="knitting", hook_type="odd", platform="other")

    assert counts.views >= 300


def test_followers_grow() -> None:
    def followers(day: int) -> int:
        return (
            SampleAudience(1)
            .results(
                category="food",
                hook_type="list",
                platform="tiktok",
                published_at=START + timedelta(days=day),
                duration_s=20,
                hashtags=[],
                title="",
                rng=Random(1),
            )
            .followers
        )

    numbers = [followers(day) for day in (-300, -150, 0, 30)]

    assert all(earlier < later for earlier, later in pairwise(numbers))


def test_the_sample_trends_cover_every_category() -> None:
    trends = sample_trends()

    counts = Counter(trend.category for trend in trends)
    assert set(counts) == set(CATEGORIES)
    assert min(counts.values()) >= 3
    assert len({trend.topic for trend in trends}) == len(trends) == 40


def test_the_sample_trends_are_plain_phrases() -> None:
    for trend in sample_trends():
        assert re.fullmatch(r"[a-z -]{5,40}", trend.topic)
        assert 0 < trend.score <= 100
        assert trend.source == "sample"
        assert trend.keywords


def test_the_demo_tenant_has_a_name_and_a_slug() -> None:
    assert (SAMPLE_TENANT_NAME, SAMPLE_TENANT_SLUG) == ("Demo studio", "demo")
