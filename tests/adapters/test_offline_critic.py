"""The offline critic: only the numbers it was given, in short sentences."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from viral.adapters.offline_critic import OfflineCritic
from viral.features.reflexion.critic import Critique, Miss, Neighbour
from viral.features.scoring.predictions import Reason
from viral.schema.vocabulary import Direction

HOOK = Reason("hook", "question", "hook: question", 8.2)
CATEGORY = Reason("category", "food", "category: food", 5.1)
HOUR = Reason("hour", "6", "hour: 18-20", 1.0)
LENGTH = Reason("duration", "5", "duration: 31-62 s", -7.4)
TAG = Reason("word", "tips", "word: tips", -2.5)


def make_miss(
    *,
    actual: float = 40,
    direction: Direction = "over-predicted",
    reasons: tuple[Reason, ...] = (HOUR, LENGTH, HOOK, TAG, CATEGORY),
    views: int = 12_345,
    high: float = 90,
) -> Miss:
    return Miss(
        title="Five details in leftover rice",
        category="food",
        platform="tiktok",
        predicted=70,
        low=50,
        high=high,
        actual=actual,
        engagement_rate=3.25,
        views=views,
        reasons=reasons,
        direction=direction,
    )


async def critique(miss: Miss) -> Critique:
    return await OfflineCritic().critique(miss)


async def test_it_says_what_was_predicted_what_happened_and_by_how_much() -> None:
    answer = await critique(make_miss())

    assert answer.text == (
        "The score for \u201cFive details in leftover rice\u201d on TikTok was predicted at 70, "
        "between 50 and 90. It reached 40, with 12,345 views and 3.2 % engagement. "
        "That is 30 points below the prediction, 1.9 standard deviations away."
    )


async def test_a_score_too_high_blames_the_two_largest_raises() -> None:
    answer = await critique(make_miss())

    assert answer.reasons == (
        "`hook: question` raised the score by 8.2 points; the outcome lay below it.",
        "`category: food` raised the score by 5.1 points; the outcome lay below it.",
    )
    assert answer.plan == "Lower `hook: question` for this tenant, watch the next 5 posts."


async def test_a_score_too_low_blames_the_two_largest_drops() -> None:
    answer = await critique(make_miss(actual=98, direction="under-predicted"))

    assert [reason.split("`")[1] for reason in answer.reasons] == [
        "duration: 31-62 s",
        "word: tips",
    ]
    assert answer.plan == "Raise `duration: 31-62 s` for this tenant, watch the next 5 posts."


@pytest.mark.parametrize(
    ("actual", "expected"),
    [(45, "low"), (44, "medium"), (31, "medium"), (30.9, "high"), (0, "high")],
)
async def test_confidence_grows_with_the_size_of_the_miss(actual: float, expected: str) -> None:
    # One standard deviation is 20 / 1.2816 = 15.6 points: 1.64 are 25.6, 2.5 are 39.0.
    answer = await critique(make_miss(actual=actual))

    assert answer.confidence == expected


async def test_an_interval_cut_at_its_end_keeps_its_width() -> None:
    cut, whole = await critique(make_miss(high=72)), await critique(make_miss(high=90))

    assert cut.confidence == whole.confidence == "medium"


async def test_an_interval_without_width_does_not_divide_by_zero() -> None:
    miss = Miss("t", "food", "tiktok", 70, 70, 70, 40, 1, 5000, (), "over-predicted")

    assert (await critique(miss)).confidence == "high"


async def test_it_says_when_the_score_does_not_explain_the_miss() -> None:
    answer = await critique(make_miss(reasons=(LENGTH,), views=120))

    assert answer.reasons == ()
    assert answer.issues == (
        "No contribution points the wrong way; the cause is not in the score.",
        "The rate rests on 120 views only.",
    )
    assert answer.plan == "Change nothing for food yet, watch the next 5 posts."


async def test_an_outcome_near_the_prediction_changes_nothing() -> None:
    answer = await critique(make_miss(actual=68, direction="accurate"))

    assert (answer.reasons, answer.issues) == ((), ())
    assert answer.plan == "Change nothing, watch the next 5 posts."


async def test_it_invents_no_numbers() -> None:
    miss = make_miss(actual=20)

    answer = await critique(miss)

    said = " ".join((answer.text, *answer.reasons, *answer.issues))
    # Given: 70, 50, 90, 20, 12,345, 3.2, 8.2, 5.1. Reckoned: gap 50, its size 3.2, the sum 13.3.
    given = {"70", "50", "90", "20", "12,345", "3.2", "8.2", "5.1", "13.3", "50.0"}
    assert set(re.findall(r"\d[\d,.]*\d|\d", said)) <= given


async def test_a_label_cannot_break_out_of_its_quotes() -> None:
    odd = Reason("word", "x", "word: `x`\n# Heading", 9)

    answer = await critique(make_miss(reasons=(odd,)))

    assert answer.plan == "Lower `word: x # Heading` for this tenant, watch the next 5 posts."


async def test_the_tone_is_calm() -> None:
    answer = await critique(make_miss(actual=0, views=10))

    said = " ".join((answer.text, *answer.reasons, *answer.issues, answer.plan))
    assert "!" not in said
    assert max(len(sentence.split()) for sentence in re.split(r"(?<=[.]) ", said)) <= 20


async def test_the_same_miss_gives_the_same_critique() -> None:
    assert await critique(make_miss()) == await critique(make_miss())


def said(answer: Critique) -> list[tuple[str, int, str]]:
    return [(each.predicate, each.sign, each.confidence) for each in answer.hypotheses]


async def test_it_guesses_at_the_two_largest_wrong_way_effects_that_can_be_said() -> None:
    answer = await critique(make_miss(actual=10))

    assert [("hook:question", -1, "high"), ("hour:18..20", -1, "high")] == said(answer)
    assert answer.hypotheses[0].because.startswith("`hook: question` raised the score")


async def test_a_score_too_low_guesses_at_what_lowered_it() -> None:
    answer = await critique(make_miss(actual=95, direction="under-predicted"))

    assert [("duration:31..62", 1, "low"), ("word:tips", 1, "low")] == said(answer)


async def test_what_the_grammar_cannot_say_is_passed_over() -> None:
    strange = (
        Reason("sound", "x" * 200, "", 9),
        Reason("hour", "late", "", 8),
        Reason("word", "two words", "", 7),
        Reason("tenant_word", "two words", "", 6),
        Reason("sound", "original", "", 5),
    )

    answer = await critique(make_miss(reasons=strange))

    assert ["word:two words", "sound:original"] == [each[0] for each in said(answer)]


async def test_a_word_of_the_title_stands_out_when_its_videos_missed_likewise() -> None:
    neighbours = (
        Neighbour("Leftover soup", "food", 60, 25),
        Neighbour("Rice in five minutes", "food", 60, 62),
        Neighbour("Noodles in a pan", "food", 60, 58),
    )
    miss = replace(make_miss(reasons=()), neighbours=neighbours)

    answer = await critique(miss)

    assert [("word:leftover", -1, "medium")] == said(answer)


async def test_an_accurate_score_gives_no_guess() -> None:
    assert () == (await critique(make_miss(actual=69, direction="accurate"))).hypotheses
