"""`viral experiments show`: a picture of the arms, and in words what it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from viral.cli.output import out
from viral.features.experiments.arms import arms_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from viral.features.experiments.sequential import ArmState, Comparison
    from viral.features.experiments.verdicts import Outlook

WIDTH = 48
# Of the axis, in points, where the posts spread no further.
NARROWEST = 10.0


@dataclass(frozen=True, slots=True)
class Axis:
    """Points from `low` to `high` over the columns of the picture."""

    low: float
    high: float

    @classmethod
    def over(cls, arms: Sequence[ArmState]) -> Axis:
        ends = [end for arm in arms for end in (arm.low, arm.high) if end is not None]
        return cls(min([-NARROWEST, *ends]), max([NARROWEST, *ends]))

    def column(self, points: float) -> int:
        return round((points - self.low) / (self.high - self.low) * (WIDTH - 1))

    def bar(self, arm: ArmState) -> str:
        """Draw an interval with its middle; zero, what was foretold, is a line through all."""
        cells = [" "] * WIDTH
        cells[self.column(0)] = "│"
        if arm.low is not None and arm.high is not None:
            first, last = self.column(arm.low), self.column(arm.high)
            cells[first : last + 1] = "─" * (last + 1 - first)
            cells[first], cells[last] = "├", "┤"
            if first < self.column(0) < last:
                cells[self.column(0)] = "┼"
            cells[self.column(arm.mean)] = "●"
        return "".join(cells).rstrip()

    def scale(self) -> str:
        """Name the ends and the zero, each where it stands."""
        cells = [" "] * WIDTH
        low, high = f"{self.low:+.0f}", f"{self.high:+.0f}"
        cells[: len(low)] = low
        cells[WIDTH - len(high) :] = high
        cells[self.column(0)] = "0"
        return "".join(cells)


def print_outlook(outlook: Outlook) -> None:
    """Print an experiment with its picture, within 80 columns."""
    experiment = outlook.experiment
    names = {arm.label: f"{arm.label} {arm.hook_type}" for arm in arms_of(experiment)}
    out.print(Text.assemble((experiment.name, "bold"), f"  {experiment.platform}"))
    axis = Axis.over(outlook.arms)
    out.print(Text(f"{'':14}posts  points  {axis.scale()}", style="dim"))
    for arm in outlook.arms:
        mean = f"{arm.mean:+8.1f}" if arm.posts else f"{'-':>8}"
        style = "bold" if arm.label == experiment.winner else ""
        line = f"{names[arm.label]:<14}{arm.posts:5}{mean}  {axis.bar(arm)}".rstrip()
        out.print(Text(line, style=style))
    out.print(Text("Points above (+) or below (-) the forecast.", style="dim"))
    for line in _sentences(outlook, names):
        out.print(line, markup=False)


def _sentences(outlook: Outlook, names: dict[str, str]) -> Iterator[str]:
    for each in outlook.comparisons:
        yield _compared(each, names)
    yield _standing(outlook, names)
    if outlook.experiment.status == "running":
        yield from _next_steps(outlook)


def _compared(each: Comparison, names: dict[str, str]) -> str:
    between = f"{each.difference:.1f} points, between {each.low:+.1f} and {each.high:+.1f}"
    if each.is_sure:
        return f"{names[each.better]} beats {names[each.worse]} by {between}."
    return f"{names[each.better]} is ahead of {names[each.worse]} by {between}: may be luck."


def _standing(outlook: Outlook, names: dict[str, str]) -> str:
    experiment = outlook.experiment
    counted = f"{outlook.posts:,} of at most {experiment.most_posts:,} posts"
    ended = "" if experiment.decided_at is None else f"{experiment.decided_at:%Y-%m-%d}"
    match experiment.status:
        case "running":
            return f"Running: {counted} are learnt, {outlook.concepts:,} concepts take part."
        case "decided":
            winner = names[experiment.winner or ""]
            return f"Decided on {ended} by {outlook.posts:,} posts: {winner}."
        case "undecided":
            return f"Ended on {ended} undecided, after {outlook.posts:,} posts."
        case _:
            because = f": {outlook.reason}" if outlook.reason else "."
            return f"Stopped on {ended}, after {counted}{because}"


def _next_steps(outlook: Outlook) -> Iterator[str]:
    platform = outlook.experiment.platform
    if outlook.concepts == 0:
        yield f"Next: viral concepts generate --platform {platform}"
    elif outlook.posts == 0:
        yield "Next: post each concept with the words that `viral concepts variants ID` stars,"
        yield "then viral performance import FILE, viral reflexion run."
    else:
        yield "No arm is surely the best yet: more posts will tell."
