"""What we promise beside the best of the others, and the table that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median, quantiles
from typing import TYPE_CHECKING

from contenders import OURS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from measures import Figures

# Jobs that the worker takes at once at most: B's job may wait for the ones taken before it came,
# and for the ones it is taken with.
BATCH = 500


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table, and what we promise of it."""

    title: str
    measure: str
    target: float
    is_better_when_less: bool = False
    # To the best of the others, or the figure as it stands.
    is_ratio: bool = True
    summary: Callable[[Sequence[float]], float] = median
    digits: int = 0

    def value(self, figures: Sequence[float]) -> float:
        return self.summary(figures)

    def is_met(self, shown: float) -> bool:
        return shown <= self.target if self.is_better_when_less else shown >= self.target


def late(times: Sequence[float]) -> float:
    """Give the 99th percentile."""
    return quantiles(times, n=100, method="inclusive")[98]


LINES = (
    Line("enqueue, one by one, jobs/s", "single", 1.5),
    Line("enqueue, 16 connections, jobs/s", "concurrent", 4),
    Line("enqueue in bulk, jobs/s", "bulk", 1.2),
    Line("drain, jobs/s", "drain", 1.2),
    Line("drain with finished rows / without", "finished", 0.9, is_ratio=False, digits=2),
    Line("pickup p50, ms", "pickup", 0.7, is_better_when_less=True, digits=1),
    Line("pickup p99, ms", "pickup", 0.8, is_better_when_less=True, summary=late, digits=1),
    Line("jobs of A before B's", "fair_jobs", 2 * BATCH, is_better_when_less=True, is_ratio=False),
    Line("wait of B, ms", "fair_wait", 0.05, is_better_when_less=True),
    Line("rounds of the ring", "tenants", 2, is_better_when_less=True, is_ratio=False, summary=max),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A line with everybody's value, and the figure that the target is about, if we took part."""

    line: Line
    values: Mapping[str, float]
    best: str | None
    shown: float | None
    # The least and the most of the rounds.
    spread: tuple[float, float] | None = None

    @property
    def is_missed(self) -> bool:
        return self.shown is not None and not self.line.is_met(self.shown)

    def document(self) -> dict[str, object]:
        """Give what the table shows, as JSON."""
        return {
            "title": self.line.title,
            "values": self.values,
            "best_other": self.best,
            "shown": self.shown,
            "spread": self.spread,
            "target": self.line.target,
            "is_missed": self.is_missed,
        }


def judge(figures: Figures) -> list[Verdict]:
    """Compare each line that was measured."""
    return [_verdict(line, figures[line.measure]) for line in LINES if figures.get(line.measure)]


def _verdict(line: Line, figures: Mapping[str, Sequence[float]]) -> Verdict:
    values = {name: line.value(found) for name, found in figures.items()}
    others = {name: value for name, value in values.items() if name != OURS}
    choose = min if line.is_better_when_less else max
    best = choose(others, key=others.__getitem__) if others else None
    if OURS not in values:
        return Verdict(line, values, best, None)
    if not line.is_ratio or best is None:
        return Verdict(line, values, best, None if line.is_ratio else values[OURS])
    ratios = [ours / theirs for ours, theirs in zip(figures[OURS], figures[best], strict=True)]
    if line.measure == "pickup":
        # Single jobs of two rounds have nothing in common: the quantiles are of all together.
        return Verdict(line, values, best, values[OURS] / values[best])
    return Verdict(line, values, best, median(ratios), (min(ratios), max(ratios)))


def print_table(verdicts: Sequence[Verdict], names: Sequence[str]) -> None:
    """Print a line for each measure, a column for each contender."""
    print(f"{'':35}" + "".join(f"{name:>16}" for name in names) + "   target")
    for verdict in verdicts:
        line = verdict.line
        shown = "".join(
            f"{verdict.values[name]:16,.{line.digits}f}" if name in verdict.values else f"{'-':>16}"
            for name in names
        )
        print(f"{line.title:35}{shown}   {_target(verdict)}")


def _target(verdict: Verdict) -> str:
    line, shown = verdict.line, verdict.shown
    if shown is None:
        return ""
    sign = "<=" if line.is_better_when_less else ">="
    word = "MISSED" if verdict.is_missed else "ok"
    if not line.is_ratio:
        return f"{sign} {line.target:g}: {word}"
    spread = "" if verdict.spread is None else " ({:.2f} to {:.2f})".format(*verdict.spread)
    return f"{sign} {line.target:g} x {verdict.best}: {shown:.2f}{spread} {word}"
