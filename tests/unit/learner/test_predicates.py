"""The closed grammar of hypotheses: reading, writing, and when they hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from past_videos import make_video

from viral.errors import BadInput
from viral.learner.predicates import (
    GRAMMAR,
    Between,
    Both,
    Named,
    fires,
    format_predicate,
    holds_text,
    parse_predicate,
)

VIDEO = replace(
    make_video(
        title="A Slow Cake",
        tags=("[none]", "Street Food", "asmr"),
        duration_s=31,
        sound="Original",
        hook_type="Question",
    ),
    published_at=datetime(2026, 1, 5, 23, 30, tzinfo=UTC),
    hook="Why wait?",
    script=("scenes-4",),
)


@pytest.mark.parametrize(
    ("text", "predicate"),
    [
        ("tag:asmr", Named("tag", "asmr")),
        (" Word : #Cake ", Named("word", "cake")),
        ("hook:question", Named("hook", "question")),
        ("sound:a:b", Named("sound", "a:b")),
        ("duration:15..60", Between("duration", 15, 60)),
        ("hour:22..3", Between("hour", 22, 3)),
        ("word:b & tag:a", Both(Named("tag", "a"), Named("word", "b"))),
    ],
)
def test_predicates_are_read(text: str, predicate: object) -> None:
    assert parse_predicate(text) == predicate


@pytest.mark.parametrize(
    "text", ["tag:asmr", "script:text-all", "hour:0..23", "duration:0..86400", "hour:1..2 & word:a"]
)
def test_what_is_written_is_read_again(text: str) -> None:
    assert format_predicate(parse_predicate(text)) == text


def test_a_pair_has_one_form() -> None:
    assert parse_predicate("word:b & tag:a") == parse_predicate("tag:a&word:b")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "word",
        "word:",
        "word:\n",
        "likes:5..9",
        "word:" + "x" * 81,
        "duration:60..15",
        "duration:15",
        "duration:-1..5",
        "hour:1..24",
        "hour:99",
        "word:a & word:a",
        "word:a & word:b & word:c",
    ],
)
def test_anything_else_is_refused_with_the_grammar(text: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse_predicate(text)

    assert GRAMMAR in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("text", "is_true"),
    [
        ("tag:street food", True),
        ("tag:street", False),
        ("word:street", True),
        ("word:street food", True),
        ("word:cake", True),
        ("word:why", True),
        ("word:cak", False),
        ("tag:[none]", False),
        ("hook:question", True),
        ("hook:list", False),
        ("sound:original", True),
        ("script:scenes-4", True),
        ("script:scenes-5", False),
        ("duration:31..31", True),
        ("duration:0..30", False),
        ("hour:22..3", True),
        ("hour:0..22", False),
        ("hour:23..23", True),
        ("word:cake & hour:20..23", True),
        ("word:cake & hour:1..2", False),
    ],
)
def test_predicates_fire_on_what_they_say(text: str, is_true: bool) -> None:  # noqa: FBT001 - a case of the table
    assert fires(parse_predicate(text), VIDEO) is is_true


@pytest.mark.parametrize("text", ["hook:question", "sound:original", "duration:0..86400"])
def test_what_is_not_known_never_fires(text: str) -> None:
    assert not fires(parse_predicate(text), make_video())


@pytest.mark.parametrize(
    ("text", "is_text"),
    [
        ("word:a", True),
        ("tag:a", True),
        ("sound:a", True),
        ("hook:list", False),
        ("script:text-all", False),
        ("hour:1..2 & duration:1..2", False),
        ("hour:1..2 & word:a", True),
    ],
)
def test_a_tenants_words_are_told_from_shapes(text: str, is_text: bool) -> None:  # noqa: FBT001 - a case of the table
    assert holds_text(parse_predicate(text)) is is_text
