"""What the form of a script says: features with names, for effects and for hypotheses."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_SCENES = 8
# Seconds a scene, by the first length that is too long.
PACES = (("pace-fast", 3.0), ("pace-medium", 6.0), ("pace-slow", float("inf")))


@dataclass(frozen=True, slots=True)
class Shot:
    """What of a scene counts: its seconds, and whether there is text on the screen."""

    length_s: float
    has_text: bool


def script_features(shots: Sequence[Shot]) -> tuple[str, ...]:
    """Name the features of a script: number of scenes, pace, text on the screen."""
    if not shots:
        return ()
    pace = fmean(shot.length_s for shot in shots)
    with_text = sum(shot.has_text for shot in shots)
    text = "text-all" if with_text == len(shots) else "text-some" if with_text else "text-none"
    opening = "opens-with-text" if shots[0].has_text else "opens-without-text"
    return (
        f"scenes-{min(len(shots), MOST_SCENES)}",
        next(name for name, too_long in PACES if pace < too_long),
        text,
        opening,
    )
