"""Which effects a video touches."""

from __future__ import annotations

from dataclasses import replace

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


def test_ten_tags_and_ten_title_words_count_once_each() -> None:
    tags = tuple(f"Tag{number}" for number in range(12))
    video = make_video(tags=("[none]", *tags), title="tag0 " + " ".join("abcdefghijklm"))

    words = keys_of("word", video)

    assert words == [f"tag{number}" for number in range(10)] + list("abcdefghi")
    assert words == keys_of("tenant_word", video)


def test_words_of_any_script_count() -> None:
    assert keys_of("word", make_video(title="Суп & Brühe_2!")) == ["суп", "brühe", "2"]


def test_the_number_of_tags_leaves_out_the_mark_for_none() -> None:
    assert keys_of("tag_count", make_video(tags=("[none]",))) == ["0"]
    assert keys_of("tag_count", make_video(tags=tuple("abcdefghijkl"))) == ["10"]


def test_a_hook_counts_for_all_and_for_the_tenant() -> None:
    video = make_video(hook_type="question")

    assert keys_of("hook", video) == keys_of("tenant_hook", video) == ["question"]


def test_every_key_has_a_family_and_stands_once() -> None:
    video = make_video(
        title="a b", tags=("b",), duration_s=5, followers=5, sound="original", hook_type="list"
    )
    guesses = tuple((family, "hour:6..9") for family in HYPOTHESES.values())

    keys = effect_keys(replace(video, hypotheses=guesses))

    assert {family for family, _ in keys} == set(FAMILIES)
    assert len(keys) == len(set(keys))
