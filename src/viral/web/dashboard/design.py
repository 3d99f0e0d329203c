"""GET /design: the components in their states, in both themes; served in development only."""

from __future__ import annotations

from litestar import Response, get
from litestar.enums import MediaType
from litestar.template.base import csrf_token

from viral.web.dashboard.charts import DESKTOP, PHONE, Rule, Series, line_chart
from viral.web.dashboard.figures import Figure, Reading
from viral.web.dashboard.rendering import render
from viral.web.dashboard.views import Failure, Flash, Page, ShownOnce
from viral.web.dependencies import Wired
from viral.web.requests import WebRequest

ICONS = (
    "home",
    "generate",
    "concepts",
    "learning",
    "changes",
    "noticed",
    "critiques",
    "trends",
    "performance",
    "jobs",
    "metrics",
    "more",
    "theme",
    "keys",
    "settings",
    "people",
    "api-keys",
    "account",
    "activity",
    "open",
    "check",
    "search",
    "close",
    "leave",
)
FLASHES = (
    Flash("success", "5 concepts are ready."),
    Flash("info", "A worker will learn from 3 results.", hint="Start one with `viral worker`."),
    Flash("error", "The file has no column views.", "bad_input", request_id="71ab0c29"),
)
FAILURE = Failure("The changes could not be read.", "Try again.", "server_unreachable", "71ab0c29")
UNMEASURED = Figure("How fast are requests answered?", "", empty="Nothing measured in this time.")
LINES = (
    ((1, 16.0), (2, 15.2), (3, 13.9), (4, 12.1), (5, 11.0)),
    ((1, 16.1), (2, 16.0), (3, 15.4), (4, 15.9), (5, 15.2)),
)


@get("/design", include_in_schema=False)
async def show_design(request: WebRequest, runtime: Wired) -> Response[str]:
    """Show every component twice, side by side."""
    page = Page(now=runtime.clock(), csrf_token=csrf_token({"request": request}))
    html = render(
        "design.html",
        page=page,
        figure=_figure(),
        unmeasured=UNMEASURED,
        failed=FAILURE,
        icons=ICONS,
        samples=FLASHES,
        secret=ShownOnce("vd_live_0123456789", "Nightly import"),
    )
    return Response(html, media_type=MediaType.HTML)


def _figure() -> Figure:
    names = ("learning", "without")
    series = [Series(name, points) for name, points in zip(names, LINES, strict=True)]
    rows = [(f"{x}", f"{y}", f"{other}") for (x, y), (_, other) in zip(*LINES, strict=True)]
    charts = tuple(
        line_chart(
            series,
            size=size,
            summary="Predictions with learning miss by 11 points, without by 15.2.",
            unit="points",
            x_title="results, in order",
            rules=(Rule(3, "2 changes"),),
        )
        for size in (DESKTOP, PHONE)
    )
    return Figure(
        title="Does the error fall?",
        caption="Mean miss in points. Dotted line: changes published.",
        charts=charts,
        columns=("Result", "Learning", "Without"),
        readings=tuple(
            Reading(each, f"Result {each[0]}: learning {each[1]}, without {each[2]}.")
            for each in rows
        ),
    )
