"""Whether learning helps, in words and bars: the verdict, the intervals, what a chart holds."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import UTC, datetime

import pytest

from viral.features.reflexion.status import ScoredResult
from viral.web.dashboard import charts
from viral.web.dashboard.bars import Bar, Group, Spot, bar_chart, scatter_chart
from viral.web.dashboard.proof import (
    MOST_SPOTS,
    calibration_figure,
    errors_of,
    proof_of,
    scatter_figure,
)

HOSTILE = '"/><script>alert(1)</script>'


def result(
    number: int, *, gain: float, platform: str = "tiktok", is_inside: bool = True
) -> ScoredResult:
    return ScoredResult(
        number=number,
        platform=platform,
        measured_at=datetime(2026, 1, 1, tzinfo=UTC),
        predicted=float(number % 100),
        actual=60,
        is_inside=is_inside,
        error=20 - gain,
        error_without_learning=20,
    )


def test_misses_fell_when_the_interval_of_the_gain_is_above_zero() -> None:
    proof = proof_of([result(n, gain=4 + n % 3) for n in range(30)])

    assert proof.verdict == "fell"
    assert (proof.posts, proof.without, proof.learning, proof.gain) == (30, 20, 15, 5)
    # Three values one apart: a deviation of .83, its 95 % interval .3 to either side of 30.
    assert proof.high - proof.gain == pytest.approx(1.96 * 0.8305 / 30**0.5, rel=0.001)
    assert proof.low == pytest.approx(2 * proof.gain - proof.high)


def test_misses_rose_when_it_is_below() -> None:
    assert proof_of([result(n, gain=-4 - n % 3) for n in range(30)]).verdict == "rose"


def test_an_interval_that_holds_zero_says_how_many_posts_would_settle_it() -> None:
    proof = proof_of([result(n, gain=9 if n % 2 else -7) for n in range(30)])

    assert proof.verdict == "unsure"
    assert proof.posts_needed == pytest.approx(
        30 * ((proof.high - proof.gain) / 1) ** 2 - 30, abs=1
    )
    assert proof_of([result(n, gain=-9 if n % 2 else 7) for n in range(30)]).posts_needed is None


def test_nine_posts_are_one_too_few() -> None:
    proof = proof_of([result(n, gain=4) for n in range(9)])

    assert (proof.verdict, proof.posts_needed, proof.figure) == ("too few", 1, None)


def test_platforms_with_too_few_posts_stand_in_no_bars_of_their_own() -> None:
    results = [result(n, gain=1) for n in range(12)]
    results += [result(n, gain=1, platform="youtube") for n in range(9)]

    assert [(each.name, each.posts) for each in errors_of(results)] == [
        ("All posts", 21),
        ("TikTok", 12),
    ]
    assert [each.name for each in errors_of(results[:12])] == ["All posts"]


def test_the_scatter_holds_the_newest_posts_from_left_to_right() -> None:
    results = [result(n, gain=1, is_inside=n % 2 == 0) for n in range(MOST_SPOTS + 30)]

    figure = scatter_figure(results, csv_url="/x")

    assert figure is not None
    assert len(figure.readings) == MOST_SPOTS
    predicted = [float(each.cells[1]) for each in figure.readings]
    assert predicted == sorted(predicted)
    assert f"Of the newest {MOST_SPOTS} posts, {MOST_SPOTS // 2} lie inside" in figure.caption
    assert scatter_figure([], csv_url="/x") is None


def test_calibration_counts_by_what_was_predicted() -> None:
    results = [result(n, gain=1, is_inside=n < 30) for n in range(40)]

    figure = calibration_figure(results)

    assert figure is not None
    assert [each.cells[0] for each in figure.readings] == ["0\N{EN DASH}20", "20\N{EN DASH}40"]
    assert [each.cells[-1] for each in figure.readings] == [
        "100\N{NO-BREAK SPACE}%",
        "50\N{NO-BREAK SPACE}%",
    ]
    assert figure.caption.startswith("75\N{NO-BREAK SPACE}% of 40 posts")


@pytest.mark.parametrize("size", [charts.DESKTOP, charts.PHONE])
def test_bars_stand_on_the_ground_and_everything_stays_inside(size: charts.Size) -> None:
    groups = [
        Group(name, 1204, (Bar(2, 28.5, 27, 30), Bar(1, 18.9, 0, 39.9)))
        for name in ("All", "TikTok", "YouTube", "Instagram")
    ]

    drawn = ET.fromstring(bar_chart(groups, size=size, summary="Bars.", unit="points"))

    posts = [each.text for each in drawn.iter("text") if "1,204" in (each.text or "")]
    assert set(posts) == {"1,204 posts" if size is charts.DESKTOP else "1,204"}
    bars = list(drawn.iter("rect"))
    feet = {round(float(bar.attrib["y"]) + float(bar.attrib["height"]), 0) for bar in bars}
    assert len(bars) == 8
    assert len(feet) == 1
    assert float(bars[0].attrib["height"]) > float(bars[1].attrib["height"])
    for text in drawn.iter("text"):
        width = len(text.text or "") * size.font * 0.6
        start = {"end": width, "middle": width / 2, None: 0.0}[text.get("text-anchor")]
        left = float(text.attrib["x"]) - start
        assert left >= 0, text.text
        assert left + width <= size.width, text.text
        assert 0 < float(text.attrib["y"]) <= size.height, text.text


def test_a_post_as_predicted_lies_on_the_diagonal() -> None:
    drawn = ET.fromstring(
        scatter_chart([Spot(50, 50, is_inside=True)], size=charts.DESKTOP, summary="One.")
    )

    (dot,) = drawn.iter("circle")
    line = next(each for each in drawn.iter("line") if each.get("class") == "diagonal")
    middle = (float(line.attrib["x1"]) + float(line.attrib["x2"])) / 2
    height = (float(line.attrib["y1"]) + float(line.attrib["y2"])) / 2
    assert (float(dot.attrib["cx"]), float(dot.attrib["cy"])) == pytest.approx(
        (middle, height), abs=0.1
    )


def test_hostile_labels_stay_text() -> None:
    drawn = bar_chart(
        [Group(HOSTILE, 3, (Bar(1, 1, 0, 2),))],
        size=charts.PHONE,
        summary=HOSTILE,
        unit=HOSTILE,
        reference=(1, HOSTILE),
    )

    assert "<script" not in drawn
    assert ET.fromstring(drawn).attrib["aria-label"] == HOSTILE


def test_large_numbers_are_short_in_charts() -> None:
    said = [charts.tick(each) for each in (0, 12.5, 1200, 9_999, 12_500, 400_000, 1_250_000)]

    assert said == ["0", "12.5", "1,200", "9,999", "12.5k", "400k", "1.25M"]
