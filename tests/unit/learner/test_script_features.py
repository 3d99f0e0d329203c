"""The features of a script."""

from __future__ import annotations

import pytest

from viral.learner.scripts import Shot, script_features


def test_no_script_has_no_features() -> None:
    assert script_features([]) == ()


@pytest.mark.parametrize(
    ("shots", "features"),
    [
        (
            [Shot(2, has_text=True)] * 3,
            ("scenes-3", "pace-fast", "text-all", "opens-with-text"),
        ),
        (
            [Shot(3, has_text=False), Shot(5, has_text=True)],
            ("scenes-2", "pace-medium", "text-some", "opens-without-text"),
        ),
        (
            [Shot(6, has_text=False)] * 12,
            ("scenes-8", "pace-slow", "text-none", "opens-without-text"),
        ),
    ],
)
def test_scenes_pace_and_text_are_named(shots: list[Shot], features: tuple[str, ...]) -> None:
    assert script_features(shots) == features
