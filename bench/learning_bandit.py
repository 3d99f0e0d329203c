"""Picks one of five and sees only its outcome: what picking by the learner is worth."""

from __future__ import annotations

from collections import deque
from random import Random
from statistics import fmean
from typing import TYPE_CHECKING

from viral.learner.evaluation import DELAY_DAYS
from viral.learner.learner import Learner
from viral.learner.picking import Arm, pick_arms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from viral.learner.history import Entry, History

    Picker = Callable[[Learner, Sequence[Entry], int, Random], int]

SEEDS = (1, 2, 3)
TRIED_SHARE = 0.1


def replay_regrets(history: History) -> dict[str, float]:
    """Give each way's mean regret: the best of five less what was picked, in points."""
    return {
        name: fmean(_regret(history, picker, seed) for seed in SEEDS[: 1 if is_same else None])
        for name, (picker, is_same) in PICKERS.items()
    }


def _regret(history: History, picker: Picker, seed: int) -> float:
    """Live through the sets in order; the learner knows nothing but what it picked."""
    learner = Learner(min_word_tenants=1)
    rng = Random(seed)  # noqa: S311 - a bench has to repeat itself
    waiting: deque[tuple[int, Entry]] = deque()
    lost = []
    for first, positions in sorted(history.sets.items()):
        day = history.entries[first].day
        while waiting and waiting[0][0] <= day - DELAY_DAYS:
            _, known = waiting.popleft()
            learner.update(known.video, known.outcome, day)
        entries = [history.entries[position] for position in positions]
        picked = entries[picker(learner, entries, day, rng)]
        lost.append(max(entry.outcome for entry in entries) - picked.outcome)
        waiting.append((day, picked))
    return fmean(lost)


def _blindly(learner: Learner, entries: Sequence[Entry], day: int, rng: Random) -> int:
    del learner, day
    return rng.randrange(len(entries))


def _greedily(learner: Learner, entries: Sequence[Entry], day: int, rng: Random) -> int:
    del rng
    means = [learner.predict(entry.video, day).mean for entry in entries]
    return means.index(max(means))


def _trying(learner: Learner, entries: Sequence[Entry], day: int, rng: Random) -> int:
    way = _blindly if rng.random() < TRIED_SHARE else _greedily
    return way(learner, entries, day, rng)


def _sampling(exploration: float) -> Picker:
    def pick(learner: Learner, entries: Sequence[Entry], day: int, rng: Random) -> int:
        arms = [Arm(each.video.category, learner.parts(each.video, day)) for each in entries]
        return pick_arms(arms, 1, rng=rng, exploration=exploration, draws=1)[0].position

    return pick


# Each with whether all seeds give the same.
PICKERS: dict[str, tuple[Picker, bool]] = {
    "blind": (_blindly, False),
    "greedy": (_greedily, True),
    "greedy, 10 % blind": (_trying, False),
    "the product's picker": (_sampling(0.3), False),
    "full sampling": (_sampling(1.0), False),
}
