"""/api/v1/performance: results of published videos."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec
from litestar import post
from litestar.datastructures import UploadFile
from litestar.params import JSONBody, MultipartBody

from viral.errors import BadInput
from viral.features.performance.imports import ImportReport
from viral.web.dependencies import Transaction, Wired
from viral.web.forms import Form
from viral.web.uploads import LARGEST_BYTES, read_content, read_upload, take_in


class ResultIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What became of one video by one day; what is left out is not known, never zero."""

    id: str
    platform: str
    published_at: str
    views: int
    observed_on: str | None = None
    concept_id: UUID | None = None
    category: str | None = None
    title: str | None = None
    tags: list[str] = []
    duration_s: int | None = None
    likes: int | None = None
    comments: int | None = None
    shares: int | None = None
    followers: int | None = None
    sound: str | None = None
    hook_type: str | None = None


class ImportFile(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A CSV, JSON or JSON Lines file, in the field `file`."""

    file: UploadFile


class RowLeftOut(msgspec.Struct, frozen=True):
    """A row that cannot be used, where, and what to do about it."""

    line: int
    column: str
    value: str
    reason: str


class ResultsStored(msgspec.Struct, frozen=True):
    """What became of the rows; learning from those that are stored is asked for.

    Early ones were read within two days of publication: the learner waits for a later reading.
    """

    stored: int
    known: int
    early: int
    rejects: list[RowLeftOut]


@post("/performance", operation_id="add_results")
async def add_results(
    runtime: Wired, session: Transaction, data: JSONBody[list[ResultIn]]
) -> ResultsStored:
    """Store results; a video whose counts of that day are known is left as it is.

    Rows with values that cannot be used are listed by their place, the others are stored.
    """
    if not data:
        raise BadInput("There are no results in the list.", hint="Send one object a video.")
    found = await read_content(
        msgspec.json.encode(data), suffix=".json", name="The list", now=runtime.clock()
    )
    return _stored(await take_in(session, found, data_source="api"))


@post("/performance/imports", operation_id="import_results", request_max_body_size=LARGEST_BYTES)
async def add_file(
    runtime: Wired, session: Transaction, data: MultipartBody[ImportFile]
) -> ResultsStored:
    """Store the results of a file of up to 50 MB; the columns are those of the list of results."""
    found = await read_upload(data.file, now=runtime.clock())
    return _stored(await take_in(session, found, data_source="file"))


def _stored(report: ImportReport) -> ResultsStored:
    return ResultsStored(
        stored=report.stored,
        known=report.known,
        early=report.early,
        rejects=[
            RowLeftOut(each.line, each.column, each.value, each.reason) for each in report.rejects
        ],
    )


ROUTES: Final = (add_results, add_file)
