"""What learning changed as a story: run by run, each change under the critique that led to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from uuid import UUID

from viral.features.reflexion.timeline import (
    Gain,
    LearnedChange,
    RunOfChanges,
    Standing,
)
from viral.schema.learning import ReflexionInsight, SelfCritique
from viral.web.dashboard.changes import critique_row, what_of
from viral.web.dashboard.views import CritiqueRow


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """An adjustment; points before and after it."""

    id: UUID
    what: str
    platform: str
    old: float
    new: float
    evidence: str
    standing: Standing
    undone_because: str


@dataclass(frozen=True, slots=True)
class TestedRow:
    """The insight of a chain: what was noticed, and how sure its test was."""

    id: UUID
    pattern: str
    status: str
    firings: int
    z: float | None
    gain: float | None


@dataclass(frozen=True, slots=True)
class Chain:
    """Adjustments with what led to them: a critique, and the insight that was tested.

    `miss` is None where no single post stands behind them; `text` then says what does.
    """

    critique_id: UUID
    miss: CritiqueRow | None
    text: str
    critic: str
    insight: TestedRow | None
    changes: tuple[ChangeRow, ...]


@dataclass(frozen=True, slots=True)
class GainRow:
    """What a run gained on a platform since, in points a post; `posts` tell of it."""

    platform: str
    posts: int
    points: float


@dataclass(frozen=True, slots=True)
class RunRow:
    """The changes of one moment, as far as they are on this page.

    `any_id` is one of them; undoing the run through it undoes all `served`, unless some were
    `replaced` since.
    """

    any_id: UUID
    made_at: datetime
    served: int
    replaced: int
    gains: tuple[GainRow, ...]
    chains: tuple[Chain, ...]


def tell(
    changes: Sequence[LearnedChange],
    runs: Mapping[datetime, RunOfChanges],
    gains: Mapping[tuple[datetime, str], Gain],
) -> tuple[RunRow, ...]:
    """Put changes, newest first, under their runs and critiques."""
    told = []
    for moment, group in groupby(changes, key=lambda each: each.adjustment.applied_at):
        own = list(group)
        run = runs.get(moment, RunOfChanges(0, 0))
        told.append(
            RunRow(
                any_id=own[0].adjustment.id,
                made_at=moment,
                served=run.served,
                replaced=run.replaced,
                gains=tuple(
                    GainRow(platform, gain.results, gain.points)
                    for (at, platform), gain in sorted(gains.items())
                    if at == moment
                ),
                chains=tuple(_chains(own)),
            )
        )
    return tuple(told)


def _chains(changes: Sequence[LearnedChange]) -> list[Chain]:
    """Group by critique, in the order of each critique's largest change."""
    grouped: dict[UUID, list[LearnedChange]] = {}
    for each in changes:
        grouped.setdefault(each.critique.id, []).append(each)
    return [
        _chain(found[0].critique, found[0].insight, [_change(each) for each in found])
        for found in grouped.values()
    ]


def _chain(
    critique: SelfCritique, insight: ReflexionInsight | None, changes: Sequence[ChangeRow]
) -> Chain:
    return Chain(
        critique_id=critique.id,
        miss=None if critique.concept_id is None else critique_row(critique),
        text=critique.critique,
        critic=critique.critic,
        insight=None
        if insight is None
        else TestedRow(
            insight.id,
            insight.pattern,
            insight.status,
            insight.evidence_count,
            insight.z,
            insight.gain,
        ),
        changes=tuple(changes),
    )


def _change(each: LearnedChange) -> ChangeRow:
    row = each.adjustment
    return ChangeRow(
        id=row.id,
        what=what_of(row),
        platform=row.platform,
        old=row.old_value,
        new=row.new_value,
        evidence=row.reason,
        standing=each.standing,
        undone_because=row.revert_reason or "",
    )
