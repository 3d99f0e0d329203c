"""Outcomes as scores: where a video stands among all videos of its platform, by table version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from viral.learner.quantiles import QuantileTable, Scale, fit_quantiles
from viral.schema.learning import ModelVersion
from viral.schema.results import PerformanceFeedback
from viral.schema.vocabulary import GOALS, Goal

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

SCALES: dict[Goal, Scale] = {"engagement": "linear", "reach": "log"}
# Below this the platform's own table would be noise; a usual curve of short videos stands in.
FEWEST_RESULTS = 200
# A table is fitted again when it is a month old and the results have grown by half.
REFIT_DAYS = 30
REFIT_GROWTH = 1.5
# Percent of engagement and views at 0, 10 .. 100 % of short videos, between them linear.
USUAL_DECILES: dict[Goal, tuple[float, ...]] = {
    "engagement": (0, 1, 2, 3, 4, 5, 6.5, 8.5, 11, 15, 40),
    "reach": (0, 300, 800, 1_500, 3_000, 6_000, 12_000, 25_000, 60_000, 200_000, 5_000_000),
}


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The tables of one platform and their version; version 0 is the usual curve."""

    version: int
    tables: dict[Goal, QuantileTable]

    def scores(self, *, views: int, engagement_rate: float) -> dict[Goal, float]:
        """Score a result, 0..100; the rate is in percent."""
        values: dict[Goal, float] = {"engagement": engagement_rate, "reach": float(views)}
        return {goal: self.tables[goal].score(values[goal]) for goal in GOALS}


def usual_outcomes() -> Outcomes:
    """Return the curve that holds until a platform has results enough of its own."""
    tables = {goal: fit_quantiles(USUAL_DECILES[goal], scale=SCALES[goal]) for goal in GOALS}
    return Outcomes(0, tables)


async def current_outcomes(session: AsyncSession, platform: str) -> Outcomes:
    """Load the current tables of a platform."""
    row = await _current(session, platform)
    return usual_outcomes() if row is None else _outcomes(row)


async def refit_outcomes(session: AsyncSession, platform: str, *, now: datetime) -> bool:
    """Fit and store new tables where they are due, as the system role; True then.

    A stored outcome keeps the version that it was scored with, so a new version asks for a replay.
    """
    current = await _current(session, platform)
    of_platform = PerformanceFeedback.platform == platform
    count = await session.scalar(
        select(func.count()).select_from(PerformanceFeedback).where(of_platform)
    )
    if not _is_due(current, count=count or 0, now=now):
        return False
    results = (
        await session.execute(
            select(PerformanceFeedback.views, PerformanceFeedback.engagement_rate).where(
                of_platform
            )
        )
    ).all()
    values: dict[Goal, list[float]] = {
        "engagement": [rate for _, rate in results],
        "reach": [float(views) for views, _ in results],
    }
    knots = {goal: fit_quantiles(values[goal], scale=SCALES[goal]).knots for goal in GOALS}
    await session.execute(
        update(ModelVersion)
        .where(ModelVersion.kind == "outcomes", ModelVersion.platform == platform)
        .values(is_current=False)
    )
    session.add(
        ModelVersion(
            kind="outcomes",
            platform=platform,
            version=1 if current is None else current.version + 1,
            document={"results": len(results), **{goal: list(knots[goal]) for goal in GOALS}},
            created_at=now,
        )
    )
    await session.flush()
    return True


def _is_due(current: ModelVersion | None, *, count: int, now: datetime) -> bool:
    if current is None:
        return count >= FEWEST_RESULTS
    fitted_on = current.document["results"]
    assert isinstance(fitted_on, int)
    is_old = (now - current.created_at).days >= REFIT_DAYS
    return is_old and count >= REFIT_GROWTH * fitted_on


async def _current(session: AsyncSession, platform: str) -> ModelVersion | None:
    return await session.scalar(
        select(ModelVersion).where(
            ModelVersion.kind == "outcomes",
            ModelVersion.platform == platform,
            ModelVersion.is_current,
        )
    )


def _outcomes(row: ModelVersion) -> Outcomes:
    tables = {}
    for goal in GOALS:
        knots = row.document[goal]
        assert isinstance(knots, list)
        tables[goal] = QuantileTable(tuple(float(knot) for knot in knots), SCALES[goal])
    return Outcomes(row.version, tables)
