"""Categories are guessed from words, and scores follow their formulas."""

from __future__ import annotations

import tomllib
from datetime import timedelta
from importlib.resources import files
from itertools import pairwise

import pytest

from viral.errors import BadInput
from viral.features.trends.categories import Guess, category_named, guess_category, points_of
from viral.features.trends.kinds import kind_of, kinds
from viral.features.trends.scores import agreed_score, measured_score, ranked_score
from viral.schema.vocabulary import CATEGORIES


@pytest.mark.parametrize(
    ("topic", "category"),
    [
        ("try not to laugh: office pranks", "absurd"),
        ("how anime is drawn", "cartoon"),
        ("a heartwarming reunion", "emotional"),
        ("the stock market falls", "finance"),
        ("morning gym routine", "fitness"),
        ("sourdough for beginners", "food"),
        ("a Minecraft castle", "gaming"),
        ("inside a private jet", "luxury"),
        ("official music video", "music"),
        ("breaking news from parliament", "news"),
        ("wedding proposal goes wrong", "relationships"),
        ("robots that fold laundry", "tech"),
        ("TELUGUCOMEDY", "absurd"),
        ("大食い", "food"),
    ],
)
def test_a_telling_word_names_the_category(topic: str, category: str) -> None:
    guess = guess_category(topic)

    assert guess.category == category
    assert guess.confidence != "low"


def test_without_a_known_word_the_source_is_believed_or_it_is_news_and_unsure() -> None:
    assert guess_category("qwertz", own="food") == Guess("food", "low")
    assert guess_category("qwertz") == Guess("news", "low")


def test_the_source_is_believed_unless_words_are_clear() -> None:
    assert guess_category("a funny workout", own="music").category == "music"
    assert guess_category("sourdough recipe", own="music") == Guess("food", "high")


def test_words_of_the_topic_count_twice_those_of_keywords() -> None:
    assert points_of("recipe", ["guitar"]) == {"food": 6, "music": 3}
    assert points_of("recipe recipe", ["recipe"] * 9) == {"food": 6}


def test_a_phrase_is_found_whole_and_a_beginning_within_one_word_only() -> None:
    assert points_of("stock market")["finance"] > points_of("stock")["finance"]
    assert points_of("gymnastics of words") == points_of("gymnastics words")
    assert points_of("gym")["fitness"] == 6


def test_endless_keywords_end() -> None:
    assert points_of("x", ["word " * 1000] * 1000) == {}


@pytest.mark.parametrize(
    ("named", "category"),
    [("Technology", "tech"), ("Food & Drink", "food"), ("MUSIC", "music"), ("Gardening", None)],
)
def test_names_of_others_are_read(named: str, category: str | None) -> None:
    assert category_named(named) == category


def test_the_lexicon_is_of_the_twelve_categories_and_says_nothing_twice() -> None:
    text = (files("viral.features.trends") / "categories.toml").read_text("utf-8")
    document = tomllib.loads(text)
    aliases = document.pop("aliases")

    assert set(document) == set(aliases) == set(CATEGORIES)
    for category, groups in document.items():
        entries = [entry for group in groups.values() for entry in group]
        assert sorted(set(entries)) == sorted(entries), category
        assert all("*" not in entry[:-1] and entry == entry.lower() for entry in entries)


# Scores.


def test_ten_times_the_people_is_about_the_same_step() -> None:
    scores = [measured_score(10**power, full=1e6) for power in range(2, 7)]

    steps = [after - before for before, after in pairwise(scores)]
    assert scores[-1] == 100
    assert all(step == pytest.approx(100 / 6, abs=0.1) for step in steps)
    assert (measured_score(-1, full=1e6), measured_score(1e9, full=1e6)) == (0, 100)


def test_a_rank_falls_with_place_and_age_and_is_never_the_strongest() -> None:
    assert [ranked_score(place, 4) for place in range(4)] == [70, 60, 50, 40]
    assert [ranked_score(0, 4, age_h=age) for age in (-5, 24, 48)] == [70, 50, 40]


def test_each_further_source_closes_a_fifth_of_the_gap() -> None:
    assert [agreed_score(50, sources) for sources in (0, 1, 2, 3)] == [50, 50, 60, 68]
    assert agreed_score(100, 9) == 100


# Kinds of sources.


def test_the_quota_of_a_key_is_shared_by_its_sources() -> None:
    gnews = kind_of("gnews")

    assert gnews.interval(1) == timedelta(hours=1)
    assert gnews.interval(10) == timedelta(hours=2.4)
    assert kind_of("feed").interval(1_000) == timedelta(minutes=30)


def test_each_failure_doubles_the_wait_up_to_a_day() -> None:
    feed = kind_of("feed")

    waits = [feed.back_off(1, failures=failures) for failures in (1, 2, 3, 9_999)]

    assert waits == [timedelta(hours=1), timedelta(hours=2), timedelta(hours=4), timedelta(days=1)]
    assert kind_of("gnews").back_off(500, failures=1) == timedelta(days=5)


def test_every_kind_has_the_day_it_was_checked_and_an_address_that_fills_up() -> None:
    for kind in kinds().values():
        assert kind.checked_on.year >= 2026
        assert kind.note
        assert kind.interval_minutes >= 15
        if kind.url:
            address = kind.address(section=None, region="de")
            assert "{" not in address
            assert address.startswith("https://")


@pytest.mark.parametrize(
    ("kind", "section", "region", "words"),
    [
        ("youtube", "cats", None, "Choose music, gaming, movies"),
        ("reddit", "a/b", None, "letters, digits"),
        ("reddit", "a?b", None, "letters, digits"),
        ("google-trends", None, "DE&x=1", "two letters"),
    ],
)
def test_a_section_or_region_adds_nothing_else_to_an_address(
    kind: str, section: str | None, region: str | None, words: str
) -> None:
    with pytest.raises(BadInput) as refused:
        kind_of(kind).address(section=section, region=region)

    assert words in refused.value.hint


def test_an_unknown_kind_is_refused_with_those_there_are() -> None:
    with pytest.raises(BadInput) as refused:
        kind_of("tiktok")

    assert "google-trends" in refused.value.hint
