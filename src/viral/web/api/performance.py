"""/api/v1/performance: results of published videos."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import partial
from typing import Annotated, Final, TypeAlias
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.datastructures import UploadFile
from litestar.params import FromQuery, JSONBody, MultipartBody, QueryParameter

from viral.errors import BadInput
from viral.features.performance.imports import ImportReport
from viral.features.performance.readings import list_readings
from viral.features.performance.weeks import WeekOfPosts, posts_by_week
from viral.schema.results import PerformanceFeedback
from viral.schema.vocabulary import Platform, category_of
from viral.web.cursors import Place, cut_page, place_of
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.forms import Form
from viral.web.requests import WebRequest
from viral.web.site import Site
from viral.web.uploads import LARGEST_BYTES, read_content, read_upload, take_in

PURPOSE = "results"
MOST_RESULTS = 200
MOST_WEEKS = 104


VideoId: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        description="The id of the video at its platform.", extra={"named_elsewhere": True}
    ),
]


class ResultIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What became of one video by one day; what is left out is not known, never zero."""

    id: VideoId
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


class ResultOut(msgspec.Struct, frozen=True):
    """The counts of one video, as they were read on one day.

    The scores are null until the learner took it in; `engagement_rate` is a share of the views.
    """

    id: UUID
    video: VideoId
    platform: str
    concept_id: UUID
    variant_id: UUID | None
    title: str
    category: str
    published_at: datetime
    observed_on: date
    reported_at: datetime
    source: str
    views: int
    likes: int | None
    comments: int | None
    shares: int | None
    followers: int | None
    engagement_rate: float
    engagement_score: float | None
    reach_score: float | None


class ResultsPage(msgspec.Struct, frozen=True):
    """Results, those that came in last first; `next_cursor` leads on and is null at the end."""

    results: list[ResultOut]
    next_cursor: str | None


@get("/performance", operation_id="list_results")
async def get_results(
    request: WebRequest,
    identity: Person,
    session: Transaction,
    limit: Annotated[int, QueryParameter(ge=1, le=MOST_RESULTS)] = 50,
    cursor: FromQuery[str | None] = None,
    platform: FromQuery[Platform | None] = None,
    concept_id: FromQuery[UUID | None] = None,
) -> ResultsPage:
    """List results, those that came in last first, a page at a time."""
    site: Site = request.app.state.site
    found = await list_readings(
        session,
        limit=limit + 1,
        before=place_of(site, identity.tenant_id, cursor, purpose=PURPOSE),
        platform=platform,
        concept_id=concept_id,
    )
    rows, next_cursor = cut_page(
        site,
        identity.tenant_id,
        found,
        limit,
        lambda last: Place(last.reported_at, last.id),
        purpose=PURPOSE,
    )
    return ResultsPage([_result(each) for each in rows], next_cursor)


@get("/performance/weeks", operation_id="list_weeks")
async def get_weeks(
    runtime: Wired,
    identity: Person,
    weeks: Annotated[int, QueryParameter(ge=1, le=MOST_WEEKS)] = 12,
    platform: FromQuery[Platform | None] = None,
    category: FromQuery[str | None] = None,
) -> list[WeekOfPosts]:
    """List what posts reached from week to week, by platform and by category."""
    return await runtime.reading.read(
        identity.tenant_id,
        partial(
            posts_by_week,
            since=runtime.clock() - timedelta(weeks=weeks),
            platform=platform,
            category=None if category is None else category_of(category),
        ),
    )


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


def _result(reading: PerformanceFeedback) -> ResultOut:
    return ResultOut(
        id=reading.id,
        video=reading.external_id,
        platform=reading.platform,
        concept_id=reading.concept_id,
        variant_id=reading.variant_id,
        title=reading.concept_title,
        category=reading.category,
        published_at=reading.published_at,
        observed_on=reading.observed_on,
        reported_at=reading.reported_at,
        source=reading.data_source,
        views=reading.views,
        likes=reading.likes,
        comments=reading.comments,
        shares=reading.shares,
        followers=reading.followers,
        engagement_rate=reading.engagement_rate,
        engagement_score=reading.engagement_score,
        reach_score=reading.reach_score,
    )


ROUTES: Final = (get_results, get_weeks, add_results, add_file)
