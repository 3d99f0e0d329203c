"""Learning: the forms that feed it, and the data of its curve."""

from __future__ import annotations

from typing import Final

from litestar import Response, get, post
from litestar.datastructures import UploadFile
from litestar.params import MultipartBody, URLEncodedBody
from litestar.response import Redirect
from sqlalchemy.ext.asyncio import AsyncSession

from viral.features.jobs.queue import ask_for_reflexion
from viral.features.performance.imports import ImportReport
from viral.features.reflexion.status import count_results, scored_results
from viral.web.dashboard.curve import CSV_URL
from viral.web.dashboard.figures import csv_answer
from viral.web.dashboard.flashes import send_back
from viral.web.dashboard.rendering import count
from viral.web.dashboard.views import Flash
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.forms import Form
from viral.web.requests import WebRequest
from viral.web.uploads import LARGEST_BYTES, read_upload, take_in

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
    return send_back(request, await import_note(session, report))


@post("/reflexion/runs", opt={"page": "/reflexion"}, include_in_schema=False)
async def learn(
    request: WebRequest,
    session: Transaction,
    data: URLEncodedBody[Form],  # noqa: ARG001 - its shape is checked
) -> Redirect:
    """Ask for learning from the results that wait, if any do."""
    _, waiting = await count_results(session)
    if not waiting:
        return send_back(request, Flash("info", "Nothing waits: there is no result to learn from."))
    await ask_for_reflexion(session)
    said = (
        f"Learning from {count(waiting, 'result')} has begun. What it finds appears on this page."
    )
    return send_back(request, Flash("info", said))


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


async def import_note(session: AsyncSession, report: ImportReport) -> Flash:
    """Say what became of rows, and when what was stored is learned from."""
    said = f"{count(report.stored, 'result')} stored"
    if report.known:
        said += f", {report.known:,} known before"
    if report.stored:
        said += f". {await _when_learned(session, report)}"
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


async def _when_learned(session: AsyncSession, report: ImportReport) -> str:
    _, waiting = await count_results(session)
    ripe = report.stored - report.early
    said = []
    if ripe and waiting:
        are = "is" if waiting == 1 else "are"
        which = "It" if waiting == 1 else "They"
        if waiting != report.stored:
            which = count(waiting, "waiting result")
        said.append(f"{which} {are} learned from in a moment")
    elif ripe:
        said.append("Nothing of it waits: a video is learned from once")
    if report.early:
        was = "was" if report.early == 1 else "were"
        said.append(
            f"{report.early:,} {was} read within two days of publication:"
            " learning waits until you add a later reading"
        )
    return ". ".join(said)


ROUTES: Final = (import_file, learn, learning_csv)
