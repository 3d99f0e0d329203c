"""Which effects a video touches."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from past_videos import make_video

from viral.learner.families import FAMILIES, HYPOTHESES
from viral.learner.video import Video, effect_keys


def keys_of(family: str, video: Video) -> list[str]:
    return [key for name, key in effect_keys(video) if name == family]


@pytest.mark.parametrize(
    ("seconds", "key"), [(0, "0"), (30, "4"), (31, "5"), (62, "5"), (63, "6"), (600, "9")]
)
def test_durations_share_an_effect_by_doublings(seconds: int, key: str) -> None:
    assert keys_of("duration", make_video(duration_s=seconds)) == [key]


@pytest.mark.parametrize(
    ("followers", "key"), [(0, "0"), (1, "0"), (9, "1"), (10, "2"), (1_000_000, "12")]
)
def test_followers_share_an_effect_by_half_decades(followers: int, key: str) -> None:
    assert keys_of("followers", make_video(followers=followers)) == [key]


@pytest.mark.parametrize(("characters", "key"), [(0, "0"), (9, "0"), (10, "1"), (500, "10")])
def test_titles_share_an_effect_by_tens_of_characters(characters: int, key: str) -> None:
    assert keys_of("title_length", make_video(title="x" * characters)) == [key]


def test_what_is_not_known_has_no_effect() -> None:
    families = {family for family, _ in effect_keys(make_video())}

    assert families.isdisjoint({"duration", "followers", "sound", "hook", "tenant_hook"})


def test_ten_tags_twelve_words_and_twelve_pairs_count_once_each() -> None:
    tags = tuple(f"Tag{number}" for number in range(12))
    video = make_video(tags=("[none]", *tags), title="tag0 " + " ".join("abcdefghijklm"))

    words = keys_of("word", video)

    pairs = ["tag0 a", *(f"{first} {second}" for first, second in pairwise("abcdefghijkl"))]
    assert words == [f"tag{number}" for number in range(10)] + list("abcdefghijk") + pairs
    assert words == keys_of("tenant_word", video)


def test_words_of_any_script_count() -> None:
    assert keys_of("word", make_video(title="Суп & Brühe_2!")) == [
        *("суп", "brühe", "2"),
        *("суп brühe", "brühe 2"),
    ]


def test_words_of_the_hook_count_after_those_of_the_title() -> None:
    video = replace(make_video(title="soup"), hook="Why soup?")

    assert keys_of("word", video) == ["soup", "why"]


def test_a_pair_of_words_is_the_tag_of_two_words() -> None:
    video = make_video(tags=("street food",), title="Street food, street food")

    assert keys_of("word", video) == ["street food", "street", "food", "food street"]


def test_the_number_of_tags_leaves_out_the_mark_for_none() -> None:
    assert keys_of("tag_count", make_video(tags=("[none]",))) == ["0"]
    assert keys_of("tag_count", make_video(tags=tuple("abcdefghijkl"))) == ["10"]


def test_a_hook_counts_for_all_and_for_the_tenant() -> None:
    video = make_video(hook_type="question")

    assert keys_of("hook", video) == keys_of("tenant_hook", video) == ["question"]


def test_features_of_the_script_count_for_all_and_for_the_tenant() -> None:
    video = replace(make_video(), script=("scenes-4", "text-all"))

    assert keys_of("script", video) == keys_of("tenant_script", video) == ["scenes-4", "text-all"]


@pytest.mark.parametrize(("seconds", "key"), [(0, "0"), (31, "10"), (44, "10"), (45, "11")])
def test_durations_share_a_finer_effect_by_half_doublings(seconds: int, key: str) -> None:
    assert keys_of("duration_half", make_video(duration_s=seconds)) == [key]


def test_a_tenants_durations_and_sounds_are_its_own_as_well() -> None:
    video = make_video(duration_s=31, sound="original")

    assert keys_of("tenant_duration", video) == ["5"]
    assert keys_of("tenant_sound", video) == ["original"]


@pytest.mark.parametrize(
    ("title", "digits", "capitals", "emoji", "marks"),
    [
        ("a plain title", "0", "0", "0", ""),
        ("ALL of 2024", "4", "4", "0", ""),
        ("TOP 1234567 | WHY?", "5", "8", "0", "|?"),
        ("wow 🎉🎉🎉🎉 (part 2): [end]", "1", "0", "3", ":(["),
    ],
)
def test_the_form_of_a_title_counts(
    title: str, digits: str, capitals: str, emoji: str, marks: str
) -> None:
    video = make_video(title=title)

    assert keys_of("title_digits", video) == [digits]
    assert keys_of("title_capitals", video) == [capitals]
    assert keys_of("title_emoji", video) == [emoji]
    assert keys_of("tenant_title_marks", video) == [marks]


def test_a_series_is_known_by_its_first_and_last_word() -> None:
    first, second = make_video(title="Episode 7: day 41"), make_video(title="Episode 8: day 42")

    for family, key in (("tenant_title_start", "episode"), ("tenant_title_end", "#")):
        assert keys_of(family, first) == keys_of(family, second) == [key]


def test_a_missing_title_has_no_form() -> None:
    families = {family for family, _ in effect_keys(make_video())}

    assert not any("title_" in family for family in families - {"title_length"})


def test_every_key_has_a_family_and_stands_once() -> None:
    video = replace(
        make_video(
            title="a b", tags=("b",), duration_s=5, followers=5, sound="original", hook_type="list"
        ),
        script=("text-all",),
    )
    guesses = tuple((family, "hour:6..9") for family in HYPOTHESES.values())

    keys = effect_keys(replace(video, hypotheses=guesses))

    assert {family for family, _ in keys} == set(FAMILIES)
    assert len(keys) == len(set(keys))
