"""Hypotheses on videos: which fire, under which keys, and what may be shared."""

from __future__ import annotations

import pytest
from past_videos import make_video

from viral.errors import BadInput
from viral.learner.families import FAMILIES, family_of
from viral.learner.hypotheses import Hypothesis, with_hypotheses
from viral.learner.predicates import parse_predicate

VIDEO = make_video(title="cake", duration_s=30)


def test_only_those_that_fire_are_on_the_video_in_the_order_of_their_keys() -> None:
    hypotheses = [
        Hypothesis(parse_predicate("word:cake"), "low"),
        Hypothesis(parse_predicate("duration:15..60"), "high", is_shared=True),
        Hypothesis(parse_predicate("word:soup"), "high"),
        Hypothesis(parse_predicate("word:cake"), "low"),
    ]

    assert with_hypotheses(VIDEO, hypotheses).hypotheses == (
        ("hypothesis", "high duration:15..60"),
        ("tenant_hypothesis", "low word:cake"),
    )


@pytest.mark.parametrize("text", ["word:cake", "tag:a", "sound:a", "hour:1..2 & word:cake"])
def test_a_tenants_words_are_never_shared(text: str) -> None:
    with pytest.raises(BadInput, match="repeats a tenant's words"):
        Hypothesis(parse_predicate(text), "low", is_shared=True)


def test_confidence_widens_the_prior_and_nothing_else() -> None:
    low, high = (family_of(("hypothesis", f"{each} hour:1..2")) for each in ("low", "high"))

    assert (low.prior_sd, high.prior_sd) == (2, 6)
    assert low.drift_sd == high.drift_sd == FAMILIES["hypothesis"].drift_sd
    assert low.is_shared
    assert not family_of(("tenant_hypothesis", "low hour:1..2")).is_shared
