"""Predictions as they are served: the default score, its 80 % interval and its reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import select

from viral.features.scoring.effects import (
    load_learners,
    load_score_width,
    needed_keys,
)
from viral.features.scoring.hypotheses import confirmed_hypotheses, with_hypotheses
from viral.features.scoring.labels import label_of
from viral.learner.interval import clipped, interval
from viral.schema.learning import ModelVersion
from viral.schema.vocabulary import GOALS, Goal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.learner.learner import Prediction
    from viral.learner.video import Video

MOST_REASONS = 8


@dataclass(frozen=True, slots=True)
class Reason:
    """One signed share of a score, in points."""

    family: str
    key: str
    label: str
    points: float


@dataclass(frozen=True, slots=True)
class Band:
    """A score and its 80 % interval, 0..100."""

    score: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is foretold of a video on a platform; the reasons add up to the score."""

    platform: str
    score: Band
    goals: dict[Goal, Band]
    reasons: tuple[Reason, ...]
    model_version: int


async def forecast(
    session: AsyncSession,
    platform: str,
    videos: Sequence[Video],
    *,
    day: int,
    hashed: Callable[[str], str],
) -> list[Forecast]:
    """Predict videos of the session's tenant from what is published, on a UTC day (ordinal)."""
    hypotheses = await confirmed_hypotheses(session, platform)
    videos = [with_hypotheses(video, hypotheses) for video in videos]
    keys = needed_keys(videos, hashed)
    learners = await load_learners(session, platform, keys=keys, hashed=hashed)
    width = await load_score_width(session, platform)
    version = await session.scalar(
        select(ModelVersion.version).where(
            ModelVersion.kind == "effects",
            ModelVersion.platform == platform,
            ModelVersion.is_current,
        )
    )
    return [
        _forecast(
            platform,
            {goal: learners[goal].predict(video, day, view="published") for goal in GOALS},
            width=width.mean,
            version=version or 0,
        )
        for video in videos
    ]


def reasons_of(stored: Sequence[object]) -> tuple[Reason, ...]:
    """Read reasons as a prediction's row keeps them."""
    return tuple(msgspec.convert(stored, list[Reason]))


def score_band(scores: Sequence[float], sds: Sequence[float], *, width: float) -> Band:
    """Join the goals' scores and deviations to the default score and its interval."""
    score = sum(scores) / len(scores)
    # As if both goals erred together: on the safe side, and the width adapts to the truth.
    low, high = interval(score, sum(sds) / len(sds), width)
    return Band(round(clipped(score), 1), round(low, 1), round(high, 1))


def _forecast(
    platform: str, parts: dict[Goal, Prediction], *, width: float, version: int
) -> Forecast:
    band = score_band(
        [part.score for part in parts.values()], [part.sd for part in parts.values()], width=width
    )
    return Forecast(
        platform=platform,
        score=band,
        goals={
            goal: Band(round(part.score, 1), round(part.low, 1), round(part.high, 1))
            for goal, part in parts.items()
        },
        reasons=_reasons(parts, band.score),
        model_version=version,
    )


def _reasons(parts: dict[Goal, Prediction], score: float) -> tuple[Reason, ...]:
    """Average the contributions of the goals, keep the largest, and let them add up exactly."""
    points: dict[tuple[str, str], float] = {}
    for part in parts.values():
        for family, key, share in part.contributions:
            points[family, key] = points.get((family, key), 0.0) + share / len(parts)
    base = points.pop(("global", ""), 0.0)
    ranked = sorted(points.items(), key=lambda item: (-abs(item[1]), item[0]))
    shown = [("global", "", round(base, 1))]
    shown += [
        (family, key, rounded)
        for (family, key), share in ranked[:MOST_REASONS]
        if (rounded := round(share, 1))
    ]
    # Tenths are whole numbers here, so the sum is exact.
    rest = round(score * 10) - sum(round(share * 10) for _, _, share in shown)
    if rest:
        shown.append(("rest", "", rest / 10))
    return tuple(Reason(family, key, label_of(family, key), share) for family, key, share in shown)
