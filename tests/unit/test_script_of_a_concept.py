"""A concept's script becomes features for the learner; what cannot be read says nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from viral.features.generations.concepts import video_of
from viral.schema.content import Concept

OPENING: object = {"start_s": 0, "end_s": 2, "visual": "a pan", "on_screen_text": "wait"}
REST: object = {"start_s": 2, "end_s": 12, "visual": "a plate", "on_screen_text": ""}


@pytest.mark.parametrize(
    ("script", "features"),
    [
        ([], ()),
        ([{"time_range": "0-3s", "visual": "imported"}, "a line"], ()),
        ([OPENING, REST], ("scenes-2", "pace-slow", "text-some", "opens-with-text")),
        ([OPENING], ("scenes-1", "pace-fast", "text-all", "opens-with-text")),
    ],
)
def test_the_learner_sees_the_form_of_a_script(
    script: list[object], features: tuple[str, ...]
) -> None:
    concept = Concept(
        tenant_id=uuid4(), category="food", title="", hook="", hashtags=[], script=script
    )

    video = video_of(concept, published_at=datetime(2026, 3, 2, tzinfo=UTC), followers=None)

    assert video.script == features
