"""A tenant's own earlier videos that are most like another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.features.reflexion.results import applied_results, load_results
from viral.learner.interval import clipped
from viral.learner.video import effect_keys
from viral.schema.results import PerformanceFeedback

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.reflexion.results import Result
    from viral.learner.video import Video

MOST = 5
# The newest of a tenant's results: others are too long ago to explain anything.
MEMORY = 300
# What a video is about and how it is made, not when it is posted or who follows.
LIKENESS = frozenset(
    {"tenant_category", "tenant_hook", "tenant_word", "duration", "sound", "tag_count"}
)


async def earlier_results(session: AsyncSession, platform: str) -> list[Result]:
    """Load the newest results of the session's tenant that were learnt, newest first."""
    newest = (
        applied_results(platform).order_by(None).order_by(PerformanceFeedback.applied_no.desc())
    )
    return await load_results(session, newest, limit=MEMORY)


def nearest(result: Result, earlier: Sequence[Result], *, count: int = MOST) -> list[Result]:
    """Choose the results before one whose videos share most with its video, the nearest first."""
    place = result.feedback.applied_no or 0
    before = [each for each in earlier if (each.feedback.applied_no or 0) < place]
    return most_alike(result.video, before, count=count)


def most_alike(video: Video, results: Sequence[Result], *, count: int = MOST) -> list[Result]:
    """Choose the results whose videos share most with a video; equals in their order."""
    traits = _traits(video)
    return sorted(results, key=lambda each: -_likeness(traits, _traits(each.video)))[:count]


def foretold(result: Result) -> float:
    """Give the score that was served for a result, or what the learnt effects made of it."""
    if result.served is not None:
        return result.served.score
    feedback = result.feedback
    actual = ((feedback.engagement_score or 0.0) + (feedback.reach_score or 0.0)) / 2
    return clipped(actual - (feedback.residual or 0.0))


def _traits(video: Video) -> frozenset[tuple[str, str]]:
    return frozenset(key for key in effect_keys(video) if key[0] in LIKENESS)


def _likeness(one: frozenset[tuple[str, str]], other: frozenset[tuple[str, str]]) -> float:
    """Divide what both have by what either has (Jaccard 1901)."""
    either = len(one | other)
    return len(one & other) / either if either else 0.0
