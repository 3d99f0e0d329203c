"""Runs of five words: what counts as one, and what a topic does to it."""

from __future__ import annotations

from viral.features.generations.phrasing import Phrases, Said, runs_of


def test_a_line_has_a_run_from_every_word_that_four_follow() -> None:
    assert {
        ("stop", "here", "and", "look", "twice"),
        ("here", "and", "look", "twice", "please"),
    } == runs_of("Stop here, and look twice. Please!", "soup")


def test_a_line_of_fewer_words_is_a_run_by_itself() -> None:
    assert {("your", "turn")} == runs_of("Your turn?", "soup")
    assert set() == runs_of("...", "soup")


def test_a_topic_counts_as_one_word_whole_or_in_part() -> None:
    topic = "Apple trees bloom in November"

    assert {("apple trees bloom in november", "what", "now")} == runs_of(
        "apple trees bloom in November: what now?", topic
    )
    assert {("in november", "apple trees", "again")} == runs_of(
        "In November apple trees again", topic
    )


def test_the_longest_stretch_of_a_topic_that_repeats_itself_is_taken() -> None:
    assert {("so so good", "yes")} == runs_of("So so good, yes", "so good so so good")


def test_the_same_words_around_another_topic_are_fresh() -> None:
    phrases = Phrases([Said("old maps", "What old maps can do here")])

    assert not phrases.is_fresh("And what old maps can do here", "old maps")
    assert phrases.is_fresh("What new maps can do here", "new maps")
    assert phrases.is_fresh("What old maps could do here", "old maps")


def test_every_line_of_a_concept_is_remembered() -> None:
    phrases = Phrases(
        [Said("soup", "A title of one concept", "Its hook", "And a caption below it")]
    )

    assert not phrases.is_fresh("A title of one concept more", "soup")
    assert not phrases.is_fresh("its hook", "soup")
    assert not phrases.are_fresh(Said("soup", "x", "y", "and a caption below it"))
    assert phrases.are_fresh(Said("soup", "x", "y", "z"))
