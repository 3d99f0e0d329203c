"""What strangers wrote becomes one harmless line, and one topic has one key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viral.features.trends.topics import LONGEST_KEY, clean_text, clean_url, topic_key


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  Night\n\ttrains\u2028run ", "Night trains run"),
        ("One &amp; only", "One & only"),
        ("&lt;b&gt;bold&lt;/b&gt; words", "bold words"),
        ("a <script>alert(1)</script>b", "a b"),
        ("a <script>never closed", "a"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07", "red ]0;title"),
        ("left\u202eright\u2066x\ufeff\u200b", "leftrightx"),
        ("nul\x00 half\ud800 private\ue000", "nul half private"),
        ("👩‍🍳 می‌خواهم", "👩‍🍳 می‌خواهم"),
        ("e\u0301", "é"),
        (None, ""),
        (7, "7"),
    ],
)
def test_text_becomes_one_harmless_line(text: object, cleaned: str) -> None:
    assert clean_text(text, limit=100) == cleaned


def test_a_long_text_is_cut_at_a_word_and_says_so() -> None:
    assert clean_text("many words here", limit=12) == "many words…"
    assert clean_text("x" * 50, limit=10) == "x" * 9 + "…"


@given(st.text(max_size=300), st.integers(2, 60))
def test_what_is_cleaned_is_short_printable_and_stays_so(text: str, limit: int) -> None:
    cleaned = clean_text(text, limit=limit)

    assert len(cleaned) <= limit
    assert all(each.isprintable() or each in "\u200c\u200d" for each in cleaned)
    assert cleaned == " ".join(cleaned.split())


@pytest.mark.parametrize("text", ["<script>" * 200_000, "<a" * 500_000, "&lt;" * 300_000])
def test_hostile_text_costs_no_more_than_its_length(text: str) -> None:
    # Quadratic work on these would take hours: the time limit of a test is its measure.
    assert len(clean_text(text, limit=len(text))) <= len(text)


@pytest.mark.parametrize(
    ("url", "is_kept"),
    [
        ("https://example.com/a?b=c#d", True),
        ("HTTP://example.com", True),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("//example.com", False),
        ("https://example.com/ onclick=x", False),
        ('https://example.com/"x', False),
        ("https://example.com/" + "x" * 200, False),
        (None, False),
    ],
)
def test_only_addresses_of_the_web_are_kept(url: object, *, is_kept: bool) -> None:
    assert clean_url(url, limit=100) == (url if is_kept else None)


@pytest.mark.parametrize(
    "other",
    [
        "the dinner (one pan)",
        "ONE-PAN DINNERS!!",
        "Dinners, one pan",
        "#dinners: one pan",
        "one pan dinner\u2019s".replace("\u2019s", "s"),
    ],
)
def test_one_topic_has_one_key(other: str) -> None:
    assert topic_key(other) == topic_key("One-pan dinners") == "dinner one pan"


@pytest.mark.parametrize(
    ("one", "other"),
    [("Café crème", "cafe creme"), ("Don\u2019t stop", "dont stop"), ("\uff21\uff22\uff23", "abc")],
)
def test_accents_and_signs_make_no_other_topic(one: str, other: str) -> None:
    assert topic_key(one) == topic_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("one-pan dinners", "one-pan lunches"), ("दिल", "दल"), ("class", "clas"), ("🐈", "🐕")],
)
def test_other_words_make_another_topic(one: str, other: str) -> None:
    assert topic_key(one) != topic_key(other)


def test_a_key_is_never_empty_and_never_long() -> None:
    assert topic_key("The Who") == "the who"
    assert topic_key("🐈") == "🐈"
    assert len(topic_key("word " + "x" * 900)) <= LONGEST_KEY
