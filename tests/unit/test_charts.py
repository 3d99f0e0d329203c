"""Charts: points in their places, labels inside the box, hostile text inert."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from itertools import pairwise

import pytest
from markupsafe import Markup

from viral.web.dashboard import charts

HOSTILE = '"/><script>alert(1)</script>'


def draw(
    *lines: Sequence[tuple[float, float]],
    names: Sequence[str] = ("learning", "without", "third", "fourth", "fifth"),
    size: charts.Size = charts.DESKTOP,
    rules: Sequence[charts.Rule] = (),
    summary: str = "A chart.",
) -> ET.Element:
    series = [charts.Series(name, tuple(line)) for name, line in zip(names, lines, strict=False)]
    return ET.fromstring(
        charts.line_chart(
            series, size=size, summary=summary, unit="points", x_title="results", rules=rules
        )
    )


def dots(chart: ET.Element) -> list[tuple[float, float]]:
    return [(float(each.attrib["cx"]), float(each.attrib["cy"])) for each in chart.iter("circle")]


def y_of(chart: ET.Element, label: str) -> float:
    """Find the height of the grid line that carries a label."""
    parts = list(chart)
    at = next(i for i, each in enumerate(parts) if i and each.text == label)
    return float(parts[at - 1].attrib["y1"])


def texts(chart: ET.Element, css: str | None = None) -> list[str]:
    found = [each for each in chart.iter("text") if css is None or each.get("class") == css]
    return [each.text or "" for each in found]


def test_points_land_where_the_grid_says() -> None:
    chart = draw([(0, 0), (5, 10), (10, 20)])

    (left, bottom), (middle, half), (right, top) = dots(chart)

    assert (bottom, half, top) == (y_of(chart, "0"), y_of(chart, "10"), y_of(chart, "20"))
    assert middle == pytest.approx((left + right) / 2, abs=0.1)


def test_the_scale_starts_at_zero_however_high_the_line_runs() -> None:
    chart = draw([(0, 95), (1, 99)])

    assert "0" in texts(chart)
    assert y_of(chart, "0") > y_of(chart, "100")


@pytest.mark.parametrize("size", [charts.DESKTOP, charts.PHONE])
@pytest.mark.parametrize("highest", [0.3, 7, 99.9, 1234.5, 987654.0])
def test_every_label_stays_inside_the_box(size: charts.Size, highest: float) -> None:
    chart = draw(
        [(1, 0), (9999, highest)],
        [(1, highest), (9999, highest)],
        size=size,
        rules=[charts.Rule(9999, "7 changes")],
    )

    for text in chart.iter("text"):
        width = len(text.text or "") * size.font * 0.6
        x = float(text.attrib["x"])
        start = {"end": x - width, "middle": x - width / 2, None: x}[text.get("text-anchor")]
        assert start >= 0, text.text
        assert start + width <= size.width, text.text
        assert size.font * 0.8 <= float(text.attrib["y"]) <= size.height, text.text


def test_text_is_never_laid_out_below_eleven_pixels() -> None:
    narrowest_card = 320 - 2 * 16 - 2 * 16 - 2

    assert charts.PHONE.font * narrowest_card / charts.PHONE.width >= 11
    assert charts.DESKTOP.font * 588 / charts.DESKTOP.width >= 11


def test_labels_of_lines_that_end_together_do_not_overlap() -> None:
    chart = draw(*[[(0, 10), (1, 10 + i / 100)] for i in range(4)])

    names = [
        each for each in chart.iter("text") if (each.get("class") or "").startswith("end end-")
    ]
    heights = sorted(float(each.attrib["y"]) for each in names)

    assert len(heights) == 4
    gaps = [after - before for before, after in pairwise(heights)]
    assert min(gaps) >= 2 * charts.DESKTOP.font


def test_series_keep_their_colour_when_one_is_empty() -> None:
    chart = draw([], [(0, 1), (1, 2)])

    assert [each.get("class") for each in chart.iter("path")] == ["line line-2"]
    assert texts(chart, "end end-2") == ["without"]


def test_no_points_draw_nothing() -> None:
    drawn = charts.line_chart(
        [charts.Series("a", ())], size=charts.PHONE, summary="", unit="", x_title=""
    )

    assert drawn == Markup("")


def test_one_point_draws_a_dot_and_its_value() -> None:
    chart = draw([(7, 12.34)])

    assert len(dots(chart)) == 1
    assert texts(chart, "end-value") == ["12.3"]
    assert "7" in texts(chart)


def test_points_are_marked_only_when_they_are_few() -> None:
    assert len(dots(draw([(i, 1) for i in range(19)]))) == 19
    assert dots(draw([(i, 1) for i in range(20)])) == []


def test_a_chart_refuses_a_fifth_line() -> None:
    with pytest.raises(ValueError, match="4 lines"):
        draw(*[[(0, 1)]] * 5)


def test_rules_outside_the_lines_are_left_out() -> None:
    chart = draw([(10, 1), (20, 1)], rules=[charts.Rule(5, "early"), charts.Rule(15, "in time")])

    assert [each.get("class") for each in chart.iter("line")].count("rule") == 1
    assert texts(chart, "rule-label") == ["in time"]


def test_rule_labels_are_shown_all_or_none() -> None:
    crowd = [charts.Rule(15, "2 changes"), charts.Rule(15.1, "3 changes")]

    assert texts(draw([(10, 1), (20, 1)], rules=crowd), "rule-label") == []


def test_a_rule_label_that_would_leave_the_box_is_left_out() -> None:
    edge = [charts.Rule(20, "a label much longer than the margin beside the plot")]

    assert texts(draw([(10, 1), (20, 1)], rules=edge), "rule-label") == []


def test_a_long_label_at_either_end_of_the_axis_is_moved_inside() -> None:
    label = "Wednesday 25 November"
    drawn = charts.line_chart(
        [charts.Series("a", ((0, 1), (1, 1)))],
        size=charts.DESKTOP,
        summary="A chart.",
        unit="",
        x_title="",
        x_labels=[(0, label), (1, label)],
    )
    first, last = (
        float(each.attrib["x"]) for each in ET.fromstring(drawn).iter("text") if each.text == label
    )

    half = len(label) * charts.DESKTOP.font * 0.6 / 2

    assert first - half >= 0
    assert last + half <= charts.DESKTOP.width


def test_the_crosshair_knows_every_x_once() -> None:
    chart = draw([(0, 1), (1, 2), (2, 3)], [(0, 1), (2, 3)])

    crosshair = next(each for each in chart.iter("line") if each.get("class") == "crosshair")
    xs = [float(x) for x in crosshair.attrib["data-xs"].split()]

    assert xs == [x for x, _ in dots(chart)[:3]]


def test_hostile_text_stays_text() -> None:
    drawn = charts.line_chart(
        [charts.Series(HOSTILE, ((0, 1), (1, 2)))],
        size=charts.DESKTOP,
        summary=HOSTILE,
        unit=HOSTILE,
        x_title=HOSTILE,
        rules=[charts.Rule(0.5, HOSTILE)],
        x_labels=[(0.5, HOSTILE)],
    )

    assert "<script" not in drawn + charts.score_ring(1, label=HOSTILE)
    assert ET.fromstring(drawn).attrib["aria-label"] == HOSTILE


@pytest.mark.parametrize(
    ("high", "steps"),
    [
        (0, [0, 1]),
        (1.2, [0, 0.25, 0.5, 0.75, 1.0, 1.25]),
        (20, [0, 5, 10, 15, 20]),
        (20.1, [0, 5, 10, 15, 20, 25]),
        (100, [0, 20, 40, 60, 80, 100]),
    ],
)
def test_steps_are_round_and_reach_the_top(high: float, steps: list[float]) -> None:
    assert charts.nice_steps(high) == pytest.approx(steps)


@pytest.mark.parametrize(
    ("last", "labels"),
    [(81, "20 30 40 50 60 70 80"), (90, "20 40 60 80"), (22, "20 21 22"), (20, "20")],
)
def test_whole_labels_are_round_and_at_most_seven(last: int, labels: str) -> None:
    chart = draw([(20, 1000), (last, 1000)])

    shown = [each for each in texts(chart) if re.fullmatch(r"\d\d", each)]

    assert shown == labels.split()


def test_contribution_bars_share_a_zero_and_a_scale() -> None:
    up, down = (ET.fromstring(bar) for bar in charts.contribution_bars([30, -10], width=160))

    zero = float(up[1].attrib["x1"])
    assert zero == float(down[1].attrib["x1"]) == 40
    assert (float(up[0].attrib["x"]), float(up[0].attrib["width"])) == (40, 120)
    assert (float(down[0].attrib["x"]), float(down[0].attrib["width"])) == (0, 40)


def test_contributions_of_nothing_draw_bars_without_length() -> None:
    (bar,) = charts.contribution_bars([0.0])

    assert ET.fromstring(bar)[0].attrib["width"] == "0"
    assert charts.contribution_bars([]) == []


@pytest.mark.parametrize(
    ("points", "total"),
    [
        ([50.33, 4.14, -1.25, 18.16], 71.38),
        ([50.0, 0.04, 0.04, 0.04], 50.12),
        ([-0.06, -0.06, -0.06], -0.18),
        ([33.333, 33.333, 33.334], 100.0),
    ],
)
def test_rounded_points_add_up_to_the_rounded_total(points: list[float], total: float) -> None:
    rounded = charts.balanced(points, total=total)

    assert round(sum(rounded), 6) == round(total, 1)
    assert max(abs(a - b) for a, b in zip(points, rounded, strict=True)) < 0.1


def test_a_ring_shows_the_rounded_score_and_never_overruns() -> None:
    ring = ET.fromstring(charts.score_ring(123.4, label="Predicted score"))

    assert texts(ring) == ["100"]
    assert ring[1].attrib["stroke-dasharray"] == "100 100"


def test_a_sparkline_needs_two_values_and_ends_at_the_last() -> None:
    assert charts.sparkline([3.0]) == Markup("")

    line = ET.fromstring(charts.sparkline([0, 10], width=100, height=40))

    assert line[0].attrib["d"] == "M3 37L97 3"
    assert dots(line) == [(97, 3)]


def test_a_meter_stops_at_full() -> None:
    drawn = charts.meter(1.4, level="spent", label="7 of 5")

    assert re.findall(r'meter-value" width="(\d+)"', drawn) == ["100"]
