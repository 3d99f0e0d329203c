"""Which candidates become concepts: the promising ones, and some to learn from."""

from __future__ import annotations

from collections import defaultdict
from math import sqrt
from typing import TYPE_CHECKING

from viral.features.scoring.effects import load_learners, needed_keys
from viral.features.scoring.hypotheses import confirmed_hypotheses, with_hypotheses
from viral.learner.picking import Arm, Part, pick_arms
from viral.schema.vocabulary import GOALS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.scoring.effects import Learners
    from viral.learner.video import Video
    from viral.schema.content import Concept
    from viral.schema.vocabulary import Platform

LEAST_CANDIDATES = 10
CANDIDATES_A_PICK = 3

Key = tuple[object, ...]


def candidates_for(count: int) -> int:
    """Say how many candidates a writer is asked for, so that so many can be picked."""
    return max(LEAST_CANDIDATES, CANDIDATES_A_PICK * count)


async def pick_concepts(
    session: AsyncSession,
    candidates: Sequence[Concept],
    videos: Mapping[Platform, Sequence[Video]],
    *,
    count: int,
    rng: Random,
    day: int,
    hashed: Callable[[str], str],
) -> list[Concept]:
    """Pick by what is published and how sure it is, and note the odds of each pick in it."""
    parts: list[dict[Key, Part]] = [{} for _ in candidates]
    for platform, seen in videos.items():
        hypotheses = await confirmed_hypotheses(session, platform)
        known = [with_hypotheses(video, hypotheses) for video in seen]
        learners = await load_learners(
            session, platform, keys=needed_keys(known, hashed), hashed=hashed
        )
        for own, video in zip(parts, known, strict=True):
            for part in _score_parts(learners, video, day):
                key = (platform, part.key)
                share = len(videos)
                own[key] = Part(key, part.points / share, part.variance / share**2)
    arms = _arms([each.category for each in candidates], parts)
    picked = []
    for pick in pick_arms(arms, count, rng=rng):
        concept = candidates[pick.position]
        concept.propensity, concept.is_exploration = pick.propensity, pick.is_exploration
        picked.append(concept)
    return picked


def _score_parts(learners: Learners, video: Video, day: int) -> list[Part]:
    """Join the goals' effects to those of the default score, as if both erred together."""
    goals = [learners[goal].parts(video, day, view="published") for goal in GOALS]
    return [
        Part(
            both[0].key,
            sum(part.points for part in both) / len(both),
            (sum(sqrt(part.variance) for part in both) / len(both)) ** 2,
        )
        for both in zip(*goals, strict=True)
    ]


def _arms(categories: Sequence[str], parts: Sequence[Mapping[Key, Part]]) -> list[Arm]:
    """Make the arms, with effects joined that the same candidates have: sums of normal draws.

    Most of the hundred effects of a candidate are words of its own; drawing each would make a
    round of a hundred picks take seconds.
    """
    holders: defaultdict[Key, list[int]] = defaultdict(list)
    for place, own in enumerate(parts):
        for key in own:
            holders[key].append(place)
    joined: dict[tuple[int, ...], tuple[float, float]] = {}
    for key, places in holders.items():
        points, variance = joined.get(group := tuple(places), (0.0, 0.0))
        part = parts[places[0]][key]
        joined[group] = points + part.points, variance + part.variance
    of_arm: list[list[Part]] = [[] for _ in parts]
    for group, (points, variance) in joined.items():
        for place in group:
            of_arm[place].append(Part(group, points, variance))
    return [Arm(category, tuple(own)) for category, own in zip(categories, of_arm, strict=True)]
