"""The protocol: lives through past videos day by day and scores what was predicted of each."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from viral.learner.baselines import MovingAverage, OriginalLoop, Static
from viral.learner.candidates import CandidateSet, random_regret
from viral.learner.contenders import OurLearner
from viral.learner.history import TARGETS, build_history
from viral.learner.measures import Measures, Scored, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from viral.learner.contenders import Contender, Forecast
    from viral.learner.history import Entry, History, PastVideo, Target

# An outcome is known from the second day after publication.
DELAY_DAYS = 2
OURS = "ours"
CONTENDERS: dict[str, Callable[[], Contender]] = {
    OURS: OurLearner,
    "orig_loop": OriginalLoop,
    "ema": MovingAverage,
    "static": Static,
}


@dataclass(frozen=True, slots=True)
class TargetEvaluation:
    """All learners on one target; `scored` and `sets` are ours, in order of publication."""

    target: Target
    random_regret5: float | None
    learners: dict[str, Measures]
    scored: tuple[Scored, ...]
    sets: tuple[CandidateSet, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The targets of one platform; one without a scored video is left out."""

    targets: tuple[TargetEvaluation, ...]


def evaluate(
    rows: Sequence[PastVideo],
    earlier: Sequence[PastVideo] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Evaluate on one platform's videos; with `earlier` ones all `rows` are scored.

    Two runs give the same bits. `progress` gets the number of videos done and the whole number.
    """
    asked = {row.id for row in rows}
    # A video in both files would tell its own outcome in advance.
    lived = [row for row in earlier or () if row.id not in asked]
    histories = [build_history(target, rows, lived) for target in TARGETS]
    steps = _Steps(sum(len(one.entries) for one in histories) * len(CONTENDERS), progress)
    return Evaluation(
        tuple(
            _evaluate_target(history, steps)
            for history in histories
            if any(entry.is_scored for entry in history.entries)
        )
    )


@dataclass(slots=True)
class _Steps:
    """Counts videos over all runs for a progress bar."""

    total: int
    progress: Callable[[int, int], None] | None
    done: int = 0

    def advance(self, count: int) -> None:
        self.done += count
        if self.progress is not None:
            self.progress(self.done, self.total)


@dataclass(slots=True)
class Run:
    """What one learner said on its way through a history."""

    scored: list[Scored] = field(default_factory=list)
    sets: list[CandidateSet] = field(default_factory=list)


def _evaluate_target(history: History, steps: _Steps) -> TargetEvaluation:
    runs = {
        name: live_through(history, start(), steps.advance) for name, start in CONTENDERS.items()
    }
    return TargetEvaluation(
        history.target,
        random_regret(runs[OURS].sets),
        {name: measure(run.scored, run.sets) for name, run in runs.items()},
        tuple(runs[OURS].scored),
        tuple(runs[OURS].sets),
    )


def live_through(
    history: History, contender: Contender, advance: Callable[[int], None] | None = None
) -> Run:
    """Each day: learn the outcomes that are known by then, then predict all videos of the day.

    `advance` gets the number of each day's videos.
    """
    run = Run()
    waiting: deque[tuple[Entry, Forecast]] = deque()
    ages: Counter[str] = Counter()
    for day, todays in groupby(enumerate(history.entries), key=lambda item: item[1].day):
        while waiting and waiting[0][0].day <= day - DELAY_DAYS:
            entry, served = waiting.popleft()
            contender.learn(entry.video, entry.outcome, day, served)
        count = 0
        for position, entry in todays:
            forecast = contender.forecast(entry.video, day)
            waiting.append((entry, forecast))
            if entry.is_scored:
                age = ages[entry.video.tenant]
                run.scored.append(Scored(entry.id, entry.outcome, forecast, age))
            if position in history.sets:
                run.sets.append(_forecast_set(history, position, contender, day))
            ages[entry.video.tenant] += 1
            count += 1
        if advance is not None:
            advance(count)
    return run


def _forecast_set(history: History, first: int, contender: Contender, day: int) -> CandidateSet:
    """Rank all five with the state of the first one's day."""
    entries = [history.entries[position] for position in history.sets[first]]
    forecasts = [contender.forecast(entry.video, day) for entry in entries]
    return CandidateSet(
        outcomes=tuple(entry.outcome for entry in entries),
        ranks=tuple(forecast.rank for forecast in forecasts),
        ids=tuple(entry.id for entry in entries),
        scores=tuple(forecast.score for forecast in forecasts),
    )
