"""What we promise beside the others, and the table that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median, quantiles
from typing import TYPE_CHECKING

from webservers import BARE, EVERYBODY, OURS, USUAL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from load import Slice

# By the number of clients and the contender's name: a slice a round.
Figures = dict[int, dict[str, list["Slice"]]]


def per_second(each: Slice) -> float:
    return len(each.took_s) / each.seconds


def middle_ms(each: Slice) -> float:
    return median(each.took_s) * 1000


def late_ms(each: Slice) -> float:
    """Give the 99th percentile."""
    return quantiles(each.took_s, n=100, method="inclusive")[98] * 1000


def cpu_ms(each: Slice) -> float:
    """Give what a request cost the server's process; PostgreSQL's part is not in it."""
    return each.cpu_s / len(each.took_s) * 1000


MEASURES: tuple[tuple[str, Callable[[Slice], float], int], ...] = (
    ("requests/s", per_second, 0),
    ("p50, ms", middle_ms, 2),
    ("p99, ms", late_ms, 2),
    ("CPU of the process, ms", cpu_ms, 2),
)
MANY = 32


@dataclass(frozen=True, slots=True)
class Promise:
    """Our figure as a multiple of another's."""

    measure: str
    value: Callable[[Slice], float]
    clients: tuple[int, ...]
    other: str
    target: float
    is_better_when_less: bool = False


PROMISES = (
    Promise("requests/s", per_second, (1, MANY), USUAL, 2.3),
    Promise("requests/s", per_second, (1, MANY), BARE, 0.85),
    Promise("p99", late_ms, (MANY,), USUAL, 1, is_better_when_less=True),
    Promise("p99", late_ms, (MANY,), BARE, 1, is_better_when_less=True),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a promise fared with a number of clients: the median of the rounds, and the extremes."""

    promise: Promise
    clients: int
    ratios: tuple[float, float, float]

    @property
    def is_missed(self) -> bool:
        shown, target = self.ratios[1], self.promise.target
        return shown > target if self.promise.is_better_when_less else shown < target

    def document(self) -> dict[str, object]:
        """Give what the table shows, as JSON."""
        return {
            "measure": self.promise.measure,
            "clients": self.clients,
            "beside": self.promise.other,
            "ratio": self.ratios[1],
            "spread": (self.ratios[0], self.ratios[2]),
            "target": self.promise.target,
            "is_missed": self.is_missed,
        }


def judge(figures: Figures) -> list[Verdict]:
    """Compare us with the others, round by round."""
    return [
        Verdict(each, clients, _ratios(figures[clients], each))
        for each in PROMISES
        for clients in each.clients
    ]


def _ratios(found: Mapping[str, Sequence[Slice]], promise: Promise) -> tuple[float, float, float]:
    ratios = [
        promise.value(ours) / promise.value(theirs)
        for ours, theirs in zip(found[OURS], found[promise.other], strict=True)
    ]
    return min(ratios), median(ratios), max(ratios)


def print_table(figures: Figures, verdicts: Sequence[Verdict]) -> None:
    """Print medians of the rounds, and below how each promise fared."""
    print(f"{'':42}" + "".join(f"{name:>12}" for name in EVERYBODY))
    for clients, found in figures.items():
        for title, value, digits in MEASURES:
            shown = (f"{median(map(value, found[name])):12,.{digits}f}" for name in EVERYBODY)
            print(f"{f'{_counted(clients)}, {title}':42}{''.join(shown)}")
    for each in verdicts:
        promise, (least, shown_ratio, most) = each.promise, each.ratios
        print(
            f"{f'{promise.measure} of ours, {_counted(each.clients)}':42}"
            f"{shown_ratio:.2f} x {promise.other} ({least:.2f} to {most:.2f}),"
            f" {'<=' if promise.is_better_when_less else '>='} {promise.target:g}:"
            f" {'MISSED' if each.is_missed else 'ok'}"
        )


def _counted(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients} clients"
