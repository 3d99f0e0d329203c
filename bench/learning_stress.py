"""What breaks learners: a world that changes, and tenants that lie."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from hashlib import sha256
from random import Random
from statistics import fmean
from typing import TYPE_CHECKING

from viral.learner.evaluation import live_through
from viral.learner.history import Entry, History

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from viral.learner.contenders import Contender
    from viral.learner.evaluation import Run

CATEGORY_SHIFT = 18.0
TENANT_SHIFT = 15.0
SHIFTED_SHARE = 0.3
JUST_AFTER = 1000
LARGEST_CATEGORIES = 3
ATTACKER = "attacker"
REPORTS_A_DAY = 15
PUPPETS = 20


def drifted(history: History) -> History:
    """Move every category by 18 points and three tenants in ten by 15, from the middle row on."""
    half = len(history.entries) // 2
    entries = tuple(
        entry if position < half else replace(entry, outcome=_shifted(entry))
        for position, entry in enumerate(history.entries)
    )
    return replace(history, entries=entries)


def drift_errors(
    history: History, contenders: Mapping[str, Callable[[], Contender]]
) -> dict[str, dict[str, float]]:
    """Give each learner's MAE of the second half without a break, with it, and just after it."""
    half = len(history.entries) // 2
    late = {entry.id for entry in history.entries[half:]}
    soon = {entry.id for entry in history.entries[half : half + JUST_AFTER]}
    broken = drifted(history)
    errors = {}
    for name, start in contenders.items():
        before, after = live_through(history, start()), live_through(broken, start())
        errors[name] = {
            "without": _mae(before, late),
            "after": _mae(after, late),
            "just after": _mae(after, soon),
        }
    return errors


def poison_errors(
    history: History, contenders: Mapping[str, Callable[[], Contender]]
) -> dict[str, dict[str, float]]:
    """Give the others' MAE of the second half: without an attack, with one, with twenty tenants."""
    half = len(history.entries) // 2
    late = {entry.id for entry in history.entries[half:]}
    worlds = {
        "without": history,
        "one attacker": attacked(history, [ATTACKER]),
        "twenty puppets": attacked(history, [f"puppet{number}" for number in range(PUPPETS)]),
    }
    return {
        name: {world: _mae(live_through(each, start()), late) for world, each in worlds.items()}
        for name, start in contenders.items()
    }


def attacked(history: History, attackers: list[str]) -> History:
    """Let tenants report videos of score 0 in the largest categories, from the middle on.

    One tenant reports 15 a day, twenty report as many each. The videos copy what honest ones of
    the same time look like, so that each lie hits the effects that the others are predicted by;
    each attacker has as many followers as one of these.
    """
    half = len(history.entries) // 2
    counts = Counter(entry.video.category for entry in history.entries)
    largest = [category for category, _ in counts.most_common(LARGEST_CATEGORIES)]
    honest = history.entries[half:]
    days: defaultdict[int, list[Entry]] = defaultdict(list)
    for entry in honest:
        days[entry.day].append(entry)
    rng = Random(11)  # noqa: S311 - a bench has to repeat itself
    followers = {attacker: rng.choice(honest).video.followers for attacker in attackers}
    lies = [
        _lie(
            rng.choice(days[day]), f"{attacker}-{day}-{number}", rng.choice(largest), attacker, own
        )
        for day in days
        for attacker, own in followers.items()
        for number in range(REPORTS_A_DAY)
    ]
    entries = sorted((*history.entries, *lies), key=lambda entry: entry.video.published_at)
    return History(history.target, tuple(entries), {})


def _lie(copied: Entry, name: str, category: str, tenant: str, followers: int | None) -> Entry:
    video = replace(copied.video, tenant=tenant, category=category, followers=followers)
    return Entry(name, video, 0.0, is_scored=False)


def _shifted(entry: Entry) -> float:
    video = entry.video
    moved = entry.outcome + CATEGORY_SHIFT * (1 if _share(video.category) < 1 / 2 else -1)
    own = _share(video.tenant)
    if own < SHIFTED_SHARE:
        moved += TENANT_SHIFT * (1 if own < SHIFTED_SHARE / 2 else -1)
    return min(max(moved, 0.0), 100.0)


def _share(text: str) -> float:
    """Give a number from 0 to 1 that a name always has."""
    return sha256(text.encode()).digest()[0] / 256


def _mae(run: Run, ids: set[str]) -> float:
    return fmean(one.error for one in run.scored if one.id in ids)
