"""The proof in charts: misses before and after, predicted against actual, intervals that hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from statistics import fmean, stdev
from typing import Literal

from viral.features.reflexion.report import (
    FEWEST_TO_COMPARE,
    Calibration,
    calibrate,
    compare,
)
from viral.features.reflexion.status import ScoredResult
from viral.learner.effects import START_SCORE
from viral.learner.interval import Z_80
from viral.schema.vocabulary import PLATFORM_NAMES, PLATFORMS
from viral.web.dashboard.bars import Bar, Group, Spot, bar_chart, scatter_chart
from viral.web.dashboard.charts import DESKTOP, PHONE
from viral.web.dashboard.figures import Figure, Reading
from viral.web.dashboard.rendering import count, number

Z_95 = 1.96
PROMISED_INSIDE = 0.8
MOST_SPOTS = 120
ACCURACY_CSV = "/reflexion/accuracy.csv"
CALIBRATION_CSV = "/reflexion/calibration.csv"
# A guess of how many posts are still needed says nothing beyond this.
_FAR_AWAY = 1_000


@dataclass(frozen=True, slots=True)
class Errors:
    """Mean misses of some posts in points, each with half of its 95 % interval."""

    name: str
    posts: int
    without: float
    without_half: float
    learning: float
    learning_half: float


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether predictions miss by less: `gain` in points, with its 95 % interval.

    `posts_needed` are those until a comparison means something (no figure yet), or, where the
    interval holds zero, about as many as would settle it.
    """

    posts: int
    posts_needed: int | None
    without: float = 0.0
    learning: float = 0.0
    gain: float = 0.0
    low: float = 0.0
    high: float = 0.0
    figure: Figure | None = None

    @property
    def verdict(self) -> Literal["too few", "fell", "rose", "unsure"]:
        if self.figure is None:
            return "too few"
        if self.low > 0:
            return "fell"
        return "rose" if self.high < 0 else "unsure"


def proof_of(results: Sequence[ScoredResult]) -> Proof:
    """Compare misses with learning and without, post by post."""
    found = compare(results)
    if found is None:
        return Proof(len(results), FEWEST_TO_COMPARE - len(results))
    half = (found.high - found.gain) / Z_80 * Z_95
    low, high = found.gain - half, found.gain + half
    return Proof(
        posts=found.results,
        posts_needed=_needed(found.results, found.gain, half) if low <= 0 <= high else None,
        without=found.without_learning,
        learning=found.with_learning,
        gain=found.gain,
        low=low,
        high=high,
        figure=_accuracy_figure(errors_of(results)),
    )


def errors_of(results: Sequence[ScoredResult]) -> list[Errors]:
    """Average misses of all posts, then of each platform that has enough of them."""
    groups = [("All posts", list(results))]
    for platform in PLATFORMS:
        own = [each for each in results if each.platform == platform]
        if FEWEST_TO_COMPARE <= len(own) < len(results):
            groups.append((PLATFORM_NAMES[platform], own))
    return [
        Errors(
            name,
            len(own),
            *_mean([each.error_without_learning for each in own]),
            *_mean([each.error for each in own]),
        )
        for name, own in groups
    ]


def scatter_figure(results: Sequence[ScoredResult], *, csv_url: str) -> Figure | None:
    """Draw the newest posts by what was foretold and what they reached."""
    shown = sorted(results[-MOST_SPOTS:], key=lambda each: (each.predicted, each.number))
    if not shown:
        return None
    inside = sum(each.is_inside for each in shown)
    which = "all" if len(shown) == len(results) else "the newest"
    summary = (
        f"Of {which} {count(len(shown), 'post')}, {inside} lie inside the predicted interval."
        " Above the diagonal a post did better than predicted."
    )
    spots = [Spot(each.predicted, each.actual, each.is_inside) for each in shown]
    return Figure(
        title="Do posts reach what was predicted?",
        caption=f"{summary} Score of 100.",
        charts=tuple(scatter_chart(spots, size=size, summary=summary) for size in (DESKTOP, PHONE)),
        columns=("Platform", "Predicted", "Actual", "Interval"),
        readings=tuple(_spot_reading(each) for each in shown),
        csv_url=csv_url,
        keys=(("hit", "inside the interval"), ("miss", "outside")),
    )


def calibration_figure(results: Sequence[ScoredResult]) -> Figure | None:
    """Draw how often posts fall into the 80 % interval, by what was predicted."""
    bands = calibrate(results)
    if not bands:
        return None
    share = fmean(each.is_inside for each in results)
    summary = (
        f"{number(share * 100)}\N{NO-BREAK SPACE}% of {count(len(results), 'post')} fell inside the"
        f" predicted interval; it promises {number(PROMISED_INSIDE * 100)}\N{NO-BREAK SPACE}%."
    )
    groups = [
        Group(
            f"{each.low}\N{EN DASH}{each.high}",
            each.results,
            (Bar(1, each.inside * 100, *(end * 100 for end in _share_interval(each))),),
        )
        for each in bands
    ]
    return Figure(
        title="Do predicted intervals hold?",
        caption=f"{summary} By predicted score; whiskers are 95\N{NO-BREAK SPACE}% intervals.",
        charts=tuple(
            bar_chart(
                groups,
                size=size,
                summary=summary,
                unit="% inside",
                digits=0,
                highest=100.0,
                reference=(PROMISED_INSIDE * 100, "promised: 80\N{NO-BREAK SPACE}%"),
            )
            for size in (DESKTOP, PHONE)
        ),
        columns=("Predicted", "Posts", "Mean predicted", "Mean actual", "Inside"),
        readings=tuple(_band_reading(each) for each in bands),
        csv_url=CALIBRATION_CSV,
    )


def _accuracy_figure(errors: Sequence[Errors]) -> Figure:
    first = errors[0]
    summary = (
        f"Without learning predictions miss by {number(first.without, 1)} points on average, with"
        f" it by {number(first.learning, 1)}, over {count(first.posts, 'post')}."
    )
    groups = [
        Group(
            each.name.removesuffix(" posts"),
            each.posts,
            (
                Bar(
                    2,
                    each.without,
                    max(0.0, each.without - each.without_half),
                    each.without + each.without_half,
                ),
                Bar(
                    1,
                    each.learning,
                    max(0.0, each.learning - each.learning_half),
                    each.learning + each.learning_half,
                ),
            ),
        )
        for each in errors
    ]
    return Figure(
        title="How far do predictions miss?",
        caption="Mean miss in points of 100; lower is better."
        " Whiskers are 95\N{NO-BREAK SPACE}% intervals."
        f" Without learning every post would be predicted at {number(START_SCORE)}.",
        charts=tuple(
            bar_chart(groups, size=size, summary=summary, unit="points")
            for size in (DESKTOP, PHONE)
        ),
        columns=("Posts of", "Posts", "Without learning", "With learning"),
        readings=tuple(_errors_reading(each) for each in errors),
        csv_url=ACCURACY_CSV,
        keys=(("column-2", "without learning"), ("column-1", "with learning")),
    )


def _errors_reading(each: Errors) -> Reading:
    without, learning = number(each.without, 1), number(each.learning, 1)
    ends = (
        f"{without} ± {number(each.without_half, 1)}",
        f"{learning} ± {number(each.learning_half, 1)}",
    )
    return Reading(
        (each.name, number(each.posts), *ends),
        f"{each.name}: {without} without learning, {learning} with it,"
        f" {count(each.posts, 'post')}.",
    )


def _spot_reading(each: ScoredResult) -> Reading:
    platform = PLATFORM_NAMES[each.platform]
    predicted, actual = number(each.predicted, 1), number(each.actual, 1)
    where = "inside" if each.is_inside else "outside"
    return Reading(
        (platform, predicted, actual, where),
        f"{platform}: predicted {predicted}, actual {actual}, {where} the interval.",
    )


def _band_reading(each: Calibration) -> Reading:
    inside = f"{number(each.inside * 100)}\N{NO-BREAK SPACE}%"
    band = f"{each.low}\N{EN DASH}{each.high}"
    predicted, actual = number(each.predicted, 1), number(each.actual, 1)
    return Reading(
        (band, number(each.results), predicted, actual, inside),
        f"Predicted {band}: {count(each.results, 'post')}, mean predicted {predicted},"
        f" mean actual {actual}, {inside} inside the interval.",
    )


def _needed(posts: int, gain: float, half: float) -> int | None:
    """Guess how many more posts would take zero out of the interval, if the gain stays as it is."""
    if gain <= 0:
        return None
    more = ceil(posts * (half / gain) ** 2) - posts
    return max(1, more) if more <= _FAR_AWAY else None


def _mean(values: Sequence[float]) -> tuple[float, float]:
    half = Z_95 * stdev(values) / sqrt(len(values)) if len(values) > 1 else 0.0
    return fmean(values), half


def _share_interval(band: Calibration) -> tuple[float, float]:
    """Give Wilson's 95 % interval of a share: it stays within 0 and 1, also of few posts."""
    n, share, z = band.results, band.inside, Z_95
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)
