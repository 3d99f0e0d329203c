"""What the published effects say of one choice at a time: types of hooks, hours of the day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from math import exp
from typing import TYPE_CHECKING

from sqlalchemy import Integer, func, select

from viral.database.engine import tenant_of
from viral.features.generations.drafts import HOOK_TYPES
from viral.features.scoring.effects import load_learners, needed_keys
from viral.features.scoring.hypotheses import confirmed_hypotheses, with_hypotheses
from viral.learner.families import FAMILIES, HYPOTHESES
from viral.learner.noise import FIRST_NOISE
from viral.learner.video import Video
from viral.schema.results import PerformanceFeedback
from viral.schema.vocabulary import GOALS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.schema.vocabulary import Platform

# Half of all proposals go round evenly, whatever was learnt: a type of hook that is never tried
# is never known better.
LEAST_SHARE = 0.5 / len(HOOK_TYPES)
# So many points apart, a type is proposed e times as often.
TEMPERATURE = 4.0
HOURS_A_BIN = 3
BINS = 24 // HOURS_A_BIN
# So many videos of the tenant at an hour weigh as much as knowing nothing.
OWN_WEIGHT = FIRST_NOISE / FAMILIES["hour"].prior_variance
# Less is not worth another hour than the writer's.
LEAST_GAIN = 0.5

_HOUR = ("hour", *HYPOTHESES.values())
_HOOK = ("hook", "tenant_hook", *HYPOTHESES.values())


@dataclass(frozen=True, slots=True)
class Hours:
    """Points by three hours of the day, UTC, and how many videos of the tenant stand behind."""

    points: tuple[float, ...]
    videos: tuple[int, ...]

    @property
    def best(self) -> int:
        return max(range(BINS), key=lambda each: (self.points[each], -each))


async def hook_shares(
    session: AsyncSession,
    platforms: Sequence[Platform],
    *,
    now: datetime,
    hashed: Callable[[str], str],
) -> dict[str, float]:
    """Say how often each type of hook is to be proposed; the shares add up to 1."""
    videos = [_probe(session, now, hook_type=each) for each in HOOK_TYPES]
    points = await _published(session, platforms, videos, _HOOK, now=now, hashed=hashed)
    best = max(points)
    weights = [exp((each - best) / TEMPERATURE) for each in points]
    rest = 1 - LEAST_SHARE * len(HOOK_TYPES)
    return {
        each: LEAST_SHARE + rest * weight / sum(weights)
        for each, weight in zip(HOOK_TYPES, weights, strict=True)
    }


async def promising_types(
    session: AsyncSession,
    platforms: Sequence[Platform],
    *,
    now: datetime,
    hashed: Callable[[str], str],
) -> list[str]:
    """Order the types of hooks by what is published of them, the best first."""
    shares = await hook_shares(session, platforms, now=now, hashed=hashed)
    return sorted(HOOK_TYPES, key=lambda each: -round(shares[each], 6))


async def posting_hours(
    session: AsyncSession,
    platforms: Sequence[Platform],
    *,
    now: datetime,
    hashed: Callable[[str], str],
) -> Hours:
    """Say what each hour adds: what is published of it, and what the tenant's own videos add."""
    day = datetime.combine(now.date(), time(), UTC)
    videos = [
        _probe(session, day + timedelta(hours=HOURS_A_BIN * each + 1)) for each in range(BINS)
    ]
    points = await _published(session, platforms, videos, _HOUR, now=now, hashed=hashed)
    own = await _own_hours(session, platforms)
    counts = tuple(own[each][0] for each in range(BINS))
    return Hours(
        tuple(
            shared + count / (count + OWN_WEIGHT) * residual
            for shared, (count, residual) in zip(points, own, strict=True)
        ),
        counts,
    )


async def _published(
    session: AsyncSession,
    platforms: Sequence[Platform],
    videos: Sequence[Video],
    families: Sequence[str],
    *,
    now: datetime,
    hashed: Callable[[str], str],
) -> list[float]:
    """Add up, for each video, the published points of some families; mean of platforms, goals."""
    totals = [0.0] * len(videos)
    for platform in platforms:
        hypotheses = await confirmed_hypotheses(session, platform)
        known = [with_hypotheses(video, hypotheses) for video in videos]
        learners = await load_learners(
            session, platform, keys=needed_keys(known, hashed), hashed=hashed
        )
        for goal in GOALS:
            for place, video in enumerate(known):
                parts = learners[goal].parts(video, now.date().toordinal(), view="published")
                points = sum(part.points for part in parts if _family(part.key) in families)
                totals[place] += points / len(platforms) / len(GOALS)
    return totals


async def _own_hours(
    session: AsyncSession, platforms: Sequence[Platform]
) -> list[tuple[int, float]]:
    """Give, by bin, the tenant's videos and their mean residual against its mean of all hours."""
    place = func.div(
        func.extract("hour", func.timezone("UTC", PerformanceFeedback.published_at)), HOURS_A_BIN
    ).cast(Integer)
    rows = await session.execute(
        select(place, func.count(PerformanceFeedback.id), func.sum(PerformanceFeedback.residual))
        .where(
            PerformanceFeedback.platform.in_(platforms), PerformanceFeedback.residual.is_not(None)
        )
        .group_by(place)
    )
    found = {each: (count, total or 0.0) for each, count, total in rows}
    count = sum(each for each, _ in found.values())
    mean = sum(total for _, total in found.values()) / count if count else 0.0
    empty = (0, 0.0)
    return [
        (found[each][0], found[each][1] / found[each][0] - mean) if each in found else empty
        for each in range(BINS)
    ]


def _probe(session: AsyncSession, at: datetime, *, hook_type: str | None = None) -> Video:
    """Make a video of which nothing is known but the choice in question."""
    return Video(
        tenant=str(tenant_of(session)),
        category="",
        published_at=at,
        title="",
        tags=(),
        duration_s=None,
        followers=None,
        sound=None,
        hook_type=hook_type,
    )


def _family(key: object) -> str:
    assert isinstance(key, tuple)
    return str(key[0])
