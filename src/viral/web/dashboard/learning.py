"""Learning: its curve and the data of it, and the forms that feed it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime

from litestar import Response, get, post
from litestar.datastructures import UploadFile
from litestar.params import MultipartBody, URLEncodedBody
from litestar.response import Redirect

from viral.features.jobs.queue import ask_for_reflexion
from viral.features.performance.imports import ImportReport
from viral.features.reflexion.status import FEWEST_RESULTS, WINDOW, ScoredResult, scored_results
from viral.web.dashboard.figures import csv_answer
from viral.web.dashboard.flashes import send_back
from viral.web.dashboard.rendering import count
from viral.web.dashboard.views import CurvePoint, CurveRule, Flash, LearningCurve
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.forms import Form
from viral.web.requests import WebRequest
from viral.web.uploads import LARGEST_BYTES, read_upload, take_in

MOST_POINTS = 120
CSV_URL = "/learning.csv"
REJECTS_NAMED = 3


class ImportForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of results."""

    file: UploadFile


@post(
    "/performance/imports",
    opt={"page": "/performance"},
    include_in_schema=False,
    request_max_body_size=LARGEST_BYTES,
)
async def import_file(
    request: WebRequest,
    runtime: Wired,
    session: Transaction,
    data: MultipartBody[ImportForm],
) -> Redirect:
    """Take in a file of results; rows that cannot be used are named."""
    found = await read_upload(data.file, now=runtime.clock())
    report = await take_in(session, found, data_source="file")
    return send_back(request, import_note(report))


@post("/reflexion/runs", opt={"page": "/reflexion"}, include_in_schema=False)
async def learn(
    request: WebRequest,
    session: Transaction,
    data: URLEncodedBody[Form],  # noqa: ARG001 - its shape is checked
) -> Redirect:
    """Ask for learning from the results that wait."""
    await ask_for_reflexion(session)
    return send_back(
        request, Flash("info", "Learning has begun. What it finds appears on this page.")
    )


@get(CSV_URL, include_in_schema=False)
async def learning_csv(runtime: Wired, identity: Person) -> Response[str]:
    """Send the data of the curve, unrounded and complete."""
    results = await runtime.reading.read(identity.tenant_id, scored_results)
    return csv_answer(
        "learning",
        (
            "result",
            "platform",
            "measured_on",
            "predicted",
            "actual",
            "is_inside",
            "error_with_learning",
            "error_without_learning",
        ),
        (
            (
                each.number,
                each.platform,
                each.measured_at.date(),
                each.predicted,
                each.actual,
                each.is_inside,
                each.error,
                each.error_without_learning,
            )
            for each in results
        ),
    )


def learning_curve(
    results: Sequence[ScoredResult], changes: Sequence[tuple[datetime, int]]
) -> LearningCurve:
    """Draw rolling errors, with a rule wherever adjustments were published."""
    if len(results) < FEWEST_RESULTS:
        return LearningCurve(window=WINDOW, results_needed=FEWEST_RESULTS - len(results))
    points = list(_rolling(results))
    return LearningCurve(
        window=WINDOW,
        points=tuple(_thinned(points)),
        rules=tuple(_rules(results, changes)),
        csv_url=CSV_URL,
    )


def _rolling(results: Sequence[ScoredResult]) -> Iterator[CurvePoint]:
    for end in range(FEWEST_RESULTS, len(results) + 1):
        last = results[max(0, end - WINDOW) : end]
        yield CurvePoint(
            number=last[-1].number,
            measured_at=last[-1].measured_at,
            with_learning=sum(each.error for each in last) / len(last),
            without_learning=sum(each.error_without_learning for each in last) / len(last),
        )


def _thinned(points: Sequence[CurvePoint]) -> Sequence[CurvePoint]:
    """Keep points evenly spread, first and last among them: a page shows no more than that."""
    if len(points) <= MOST_POINTS:
        return points
    step = (len(points) - 1) / (MOST_POINTS - 1)
    return [points[round(place * step)] for place in range(MOST_POINTS)]


def _rules(
    results: Sequence[ScoredResult], changes: Sequence[tuple[datetime, int]]
) -> Iterator[CurveRule]:
    measured = sorted(each.measured_at for each in results)
    by_place: dict[int, int] = {}
    for applied_at, changed in changes:
        place = bisect_right(measured, applied_at)
        by_place[place] = by_place.get(place, 0) + changed
    for place, changed in by_place.items():
        if place >= FEWEST_RESULTS:
            yield CurveRule(place, count(changed, "change"))


def import_note(report: ImportReport) -> Flash:
    """Say what became of rows."""
    said = f"{count(report.stored, 'result')} stored"
    if report.known:
        said += f", {report.known:,} known before"
    if report.early:
        said += f"; {report.early:,} read within two days of publication, so add them again later"
    if not report.rejects:
        return Flash("success" if report.stored else "info", f"{said}.")
    named = "; ".join(
        f"line {each.line}{', ' + each.column if each.column else ''}: {each.reason}"
        for each in report.rejects[:REJECTS_NAMED]
    )
    more = len(report.rejects) - REJECTS_NAMED
    named += f"; and {more:,} more" if more > 0 else ""
    return Flash(
        "info" if report.stored or report.known else "error",
        f"{said}. {count(len(report.rejects), 'row')} left out: {named}.",
        code="rows_left_out",
    )
