"""GET /migrations: where the database stands in its history; nothing is run from here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from litestar import MediaType, Response, get
from litestar.params import FromPath, FromQuery

from viral.database import migrate
from viral.database.bookkeeping import Record
from viral.database.drift import find_drift
from viral.database.history import Revision, read_history
from viral.database.migrate import Status
from viral.database.urls import ServerUrl
from viral.errors import NotFound, ShadowRefused
from viral.servers import migrator_url
from viral.web.dashboard.rendering import count
from viral.web.dependencies import Person, Wired
from viral.web.requests import WebRequest
from viral.web.studio.console.page import PART
from viral.web.studio.gate import reading
from viral.web.studio.rendering import render
from viral.web.studio.shell import provide_frame, show

PAGE = "/migrations"
State = Literal["applied", "pending", "half done"]


@dataclass(frozen=True, slots=True)
class Row:
    """A migration of the history; without a record nobody noted when it was applied."""

    id: str
    name: str
    state: State
    finished_at: datetime | None
    duration: str
    by: str
    steps: str


@dataclass(frozen=True, slots=True)
class Drift:
    """What differs from the migrations; `unseen` says why nobody could look."""

    differences: tuple[str, ...] = ()
    unseen: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """The page; `drift` is None where nobody looked for it."""

    current: str | None
    verdict: str
    kind: Literal["ok", "wa", "er"]
    command: str
    broken: tuple[str, ...]
    rows: tuple[Row, ...]
    drift: Drift | None


@dataclass(frozen=True, slots=True)
class Script:
    """A file of a migration."""

    name: str
    text: str
    lines: int


@get(PAGE, include_in_schema=False)
async def show_migrations(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    drift: FromQuery[bool] = False,  # noqa: FBT002 - a query's own
) -> Response[str]:
    """Show what is applied and pending; with `drift` also what was changed past it."""
    url = migrator_url(runtime.settings, runtime.secrets)
    status = await migrate.status(url)
    found = await _drift(url, status) if drift else None
    async with reading(runtime, identity) as session:
        frame = await provide_frame(request, runtime, identity, session)
    return show(request, "console/migrations.html", frame, standing=standing_of(status, found))


@get(f"{PAGE}/{{revision:str}}", include_in_schema=False)
async def show_migration(
    request: WebRequest, runtime: Wired, identity: Person, revision: FromPath[str]
) -> Response[str]:
    """Show the files of a migration, as a page or as a part of one."""
    history = read_history()
    found = history.find(revision)
    if found is None:
        raise NotFound("There is no such migration.")
    scripts = tuple(_scripts(found))
    if PART in request.headers:
        html = render("console/migration_text.html", migration=found, scripts=scripts)
        return Response(html, media_type=MediaType.HTML)
    async with reading(runtime, identity) as session:
        frame = await provide_frame(request, runtime, identity, session)
    return show(request, "console/migration.html", frame, migration=found, scripts=scripts)


def standing_of(status: Status, drift: Drift | None) -> Standing:
    """Say where the database stands, and which command goes on from there."""
    kind: Literal["ok", "wa", "er"] = "ok"
    verdict, command = "All migrations are applied.", ""
    if status.half_done is not None:
        kind, verdict, command = "er", f"Half done: {status.half_done}", "viral migrate deploy"
    elif status.broken:
        kind, verdict = "er", "The files are not those that were applied."
        command = "viral migrate status"
    elif drift is not None and drift.differences:
        kind, verdict = "wa", "The database was changed past its migrations."
        command = "viral migrate diff --from database --to migrations --script"
    elif status.pending:
        kind, command = "wa", "viral migrate deploy"
        verdict = f"{count(len(status.pending), 'migration')} not applied yet."
    elif drift is not None and not drift.unseen:
        verdict = "The database is as its migrations say."
    return Standing(
        current=status.current,
        verdict=verdict,
        kind=kind,
        command=command,
        broken=tuple(status.broken),
        rows=tuple(_rows(status)),
        drift=drift,
    )


async def _drift(url: ServerUrl, status: Status) -> Drift:
    """Compare the database with what its history makes of an empty one."""
    if status.half_done is not None:
        return Drift(unseen="The database stands between two migrations.")
    if status.broken:
        return Drift(unseen="The files are not those that were applied.")
    try:
        return Drift(tuple(map(str, await find_drift(url))))
    except ShadowRefused as error:
        return Drift(unseen=f"{error.message} {error.hint}")


def _rows(status: Status) -> Iterator[Row]:
    records = {each.revision: each for each in status.records}
    half = next((each for each in status.records if each.state != "applied"), None)
    for revision in read_history().revisions:
        record = records.get(revision.id)
        state: State = "pending" if revision.id in status.pending else "applied"
        if half is not None and half.revision == revision.id:
            state = "half done"
        yield _row(revision, state, record)


def _row(revision: Revision, state: State, record: Record | None) -> Row:
    took = record.duration_s if record is not None else None
    return Row(
        id=revision.id,
        name=revision.name.partition(f"_{revision.id}_")[2].replace("_", " ") or revision.name,
        state=state,
        finished_at=record.finished_at if record is not None else None,
        duration="" if took is None else f"{took:,.1f} s",
        by=record.applied_by if record is not None and state == "applied" else "",
        steps="" if record is None else f"{record.steps_done} of {record.steps_total}",
    )


def _scripts(revision: Revision) -> Iterator[Script]:
    """Read the file of a revision and its SQL, in the order of their names, the way back last."""
    folder = revision.path.with_suffix("")
    paths = sorted(folder.glob("*.sql"), key=lambda path: (path.name == "down.sql", path.name))
    for path in (revision.path, *paths):
        text = path.read_text("utf-8")
        yield Script(path.name, text, text.count("\n"))
