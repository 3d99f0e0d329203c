"""Edits that wait: shown old beside new, then saved together or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from litestar import Response, post
from litestar.params import FromPath, FromQuery, URLEncodedBody
from litestar.response import Redirect
from sqlalchemy.exc import DBAPIError

from viral.errors import BadInput, ViralError
from viral.features.studio.edits import (
    MOST_EDITS,
    Author,
    Conflict,
    Edit,
    explain_refusal,
    fault_of,
    save_edits,
)
from viral.features.studio.rows import key_address, read_key
from viral.features.studio.shapes import Field, Shape
from viral.features.studio.values import parse
from viral.features.users.sessions import Identity
from viral.web.dashboard.flashes import send_back
from viral.web.dashboard.rendering import count
from viral.web.dashboard.views import Flash
from viral.web.dependencies import Person, Wired
from viral.web.forms import Form
from viral.web.recognition import caller_of
from viral.web.requests import WebRequest
from viral.web.studio.addresses import row_address, table_address
from viral.web.studio.gate import writing
from viral.web.studio.row import readable_shape
from viral.web.studio.shell import Frame, Framed, show
from viral.web.studio.start import local_address


class EditedCell(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A cell as a browser sends it."""

    key: str
    column: str
    old: str | None
    new: str | None


class EditsForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Edits as JSON, and the query of the grid that they were made in."""

    edits: str
    query: str = ""


@dataclass(frozen=True, slots=True)
class EditView:
    """An edit in the review; `problem` says why it cannot be saved as it is."""

    edit: Edit
    problem: str


@dataclass(frozen=True, slots=True)
class RowEdits:
    """The edits of one row."""

    key: str
    url: str
    edits: tuple[EditView, ...]


@dataclass(frozen=True, slots=True)
class ReviewView:
    """What the page of the review shows; `sent` are the edits as they came."""

    shape: Shape
    rows: tuple[RowEdits, ...]
    edits: int
    sent: str
    query: str
    back: str
    problem: str = ""

    @property
    def may_save(self) -> bool:
        return not any(each.problem for row in self.rows for each in row.edits)


@post("/tables/{name:str}/review", include_in_schema=False, status_code=200)
async def review(
    request: WebRequest,
    identity: Person,
    frame: Framed,
    name: FromPath[str],
    data: URLEncodedBody[EditsForm],
) -> Response[str]:
    """Show edits of a grid, old beside new; nothing is written."""
    shape = readable_shape(name, identity)
    return show_review(request, frame, shape, read_edits(shape, data.edits), data.query)


@post("/tables/{name:str}/row", include_in_schema=False, status_code=200)
async def review_row(
    request: WebRequest, identity: Person, frame: Framed, name: FromPath[str], key: FromQuery[str]
) -> Response[str] | Redirect:
    """Show what a row's form changes, old beside new; nothing is written."""
    shape = readable_shape(name, identity)
    form = {str(field): str(value) for field, value in (await request.form()).items()}
    edits = edits_of_form(shape, read_key(shape, key), form)
    if not edits:
        return send_back(request, Flash("info", "Nothing is changed."), row_address(name, key))
    return show_review(request, frame, shape, edits, "")


@post("/tables/{name:str}/save", include_in_schema=False)
async def save(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    frame: Framed,
    name: FromPath[str],
    data: URLEncodedBody[EditsForm],
) -> Response[str] | Redirect:
    """Save edits in one transaction, unless one of their cells has changed in the meantime."""
    shape = readable_shape(name, identity)
    edits = read_edits(shape, data.edits)
    try:
        async with writing(request, runtime, identity) as session:
            author = author_of(request, identity)
            conflicts = await save_edits(session, shape, identity.tenant_id, edits, author)
    except ViralError as error:
        problem = f"{error.message} {error.hint}"
        return show_review(request, frame, shape, edits, data.query, problem=problem)
    except DBAPIError as error:
        refusal = explain_refusal(shape, error)
        if refusal is None:
            raise
        return show_review(request, frame, shape, edits, data.query, problem=refusal)
    if conflicts:
        return show_review(request, frame, shape, edits, data.query, conflicts=conflicts)
    rows = len({each.key for each in edits})
    said = f"{count(len(edits), 'cell')} of {count(rows, 'row')} saved."
    return send_back(request, Flash("success", said), _back(shape, data.query))


def show_review(
    request: WebRequest,
    frame: Frame,
    shape: Shape,
    edits: Sequence[Edit],
    query: str,
    *,
    problem: str = "",
    conflicts: Sequence[Conflict] = (),
) -> Response[str]:
    """Show edits by row; with what became of them if they could not be saved."""
    said = {(each.edit.key, each.edit.column): _conflict(each) for each in conflicts}
    rows: dict[tuple[str, ...], list[EditView]] = {}
    for edit in edits:
        fault = said.get((edit.key, edit.column)) or fault_of(shape, edit)
        rows.setdefault(edit.key, []).append(EditView(edit, fault))
    sent = [EditedCell(key_address(e.key), e.column, e.old, e.new) for e in edits]
    view = ReviewView(
        shape=shape,
        rows=tuple(
            RowEdits(key_address(key), row_address(shape.name, key_address(key)), tuple(views))
            for key, views in rows.items()
        ),
        edits=len(edits),
        sent=msgspec.json.encode(sent).decode(),
        query=query,
        back=_back(shape, query),
        problem=problem,
    )
    status = 409 if conflicts else 422 if problem or not view.may_save else 200
    return show(request, "studio/review.html", frame, status=status, review=view)


def read_edits(shape: Shape, text: str) -> list[Edit]:
    """Read the edits that a browser sends."""
    try:
        cells = msgspec.json.decode(text, type=list[EditedCell])
    except msgspec.MsgspecError as error:
        raise BadInput("These are no edits of Studio.", hint="Load the table again.") from error
    if not 0 < len(cells) <= MOST_EDITS:
        raise BadInput(f"Between 1 and {MOST_EDITS} cells are saved at once.")
    return [Edit(read_key(shape, each.key), each.column, each.old, each.new) for each in cells]


def edits_of_form(shape: Shape, key: tuple[str, ...], form: Mapping[str, str]) -> list[Edit]:
    """Compare what a row's form sends with what it was made from, column by column."""
    try:
        was = msgspec.json.decode(form.get("was", ""), type=dict[str, str | None])
    except msgspec.MsgspecError as error:
        raise BadInput("This is no form of Studio.", hint="Load the row again.") from error
    edits = []
    for field in shape.read:
        if field.may_update and f"new.{field.name}" in form and field.name in was:
            new = typed_text(field, form)
            if not _is_same(field, was[field.name], new):
                edits.append(Edit(key, field.name, was[field.name], new))
    return edits


def typed_text(field: Field, form: Mapping[str, str]) -> str | None:
    """Return what was typed for a column; None for null. Browsers send lines with CR LF."""
    text = form.get(f"new.{field.name}", "").replace("\r\n", "\n")
    if text or (field.kind == "text" and f"null.{field.name}" not in form):
        return text
    return None


def author_of(request: WebRequest, identity: Identity) -> Author:
    """Say who writes."""
    return Author(identity.user_id, caller_of(request).address)


def _is_same(field: Field, old: str | None, new: str | None) -> bool:
    if field.kind == "text" and old is not None:
        return old.replace("\r\n", "\n") == new
    try:
        return parse(field, old) == parse(field, new)
    except BadInput:
        return False


def _conflict(conflict: Conflict) -> str:
    if conflict.is_gone:
        return "The row is gone, or cannot be changed."
    now = "null" if conflict.now is None else conflict.now
    return f"Somebody has changed it since: it is {now} now."


def _back(shape: Shape, query: str) -> str:
    return local_address(table_address(shape.name) + (f"?{query}" if query else ""))
