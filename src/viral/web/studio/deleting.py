"""Deleting rows: first what goes along and what stands in the way, then the deed."""

from __future__ import annotations

from dataclasses import dataclass

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect
from sqlalchemy.exc import DBAPIError

from viral.errors import BadInput, NotAllowed
from viral.features.studio.edits import MOST_EDITS, delete_rows, explain_refusal
from viral.features.studio.fate import Fate, foretell_deletion
from viral.features.studio.rows import key_address, read_key, read_row
from viral.features.studio.shapes import Shape
from viral.features.users.sessions import Identity
from viral.runtime import Runtime
from viral.web.dashboard.flashes import send_back
from viral.web.dashboard.rendering import count
from viral.web.dashboard.views import Flash
from viral.web.dependencies import Person, Wired
from viral.web.requests import WebRequest
from viral.web.studio.addresses import table_address
from viral.web.studio.changes import author_of
from viral.web.studio.gate import reading, writing
from viral.web.studio.row import name_of, readable_shape
from viral.web.studio.shell import Frame, Framed, show


@dataclass(frozen=True, slots=True)
class DeleteView:
    """What the page asks: these rows, with what goes along; `seen` is what the person was told."""

    shape: Shape
    rows: tuple[tuple[str, str], ...]
    fate: Fate
    seen: str
    back: str
    problem: str = ""


@get("/tables/{name:str}/delete", include_in_schema=False)
async def ask_deletion(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    frame: Framed,
    name: FromPath[str],
    key: FromQuery[list[str] | None] = None,
) -> Response[str]:
    """Say what a deletion takes along; nothing is deleted."""
    shape = _deletable(name, identity)
    if not key:
        note = Flash("info", "No row is selected.", hint="Select rows at their left, or with X.")
        return send_back(request, note, table_address(name))
    return await _ask(request, runtime, identity, frame, shape, _keys(shape, key))


@post("/tables/{name:str}/delete", include_in_schema=False)
async def delete(
    request: WebRequest, runtime: Wired, identity: Person, frame: Framed, name: FromPath[str]
) -> Response[str] | Redirect:
    """Delete rows, unless more goes along by now than the person was told."""
    shape = _deletable(name, identity)
    form = await request.form()
    keys = _keys(shape, [str(each) for each in form.getall("key", [])])
    is_as_told, problem = False, "What goes along has changed since you looked."
    fate = Fate((), ())
    try:
        async with writing(request, runtime, identity) as session:
            fate = await foretell_deletion(session, shape, identity.tenant_id, keys)
            is_as_told = _seen(fate) == form.get("seen") and not fate.in_the_way
            if is_as_told:
                author = author_of(request, identity)
                await delete_rows(session, shape, identity.tenant_id, keys, author)
    except DBAPIError as error:
        refusal = explain_refusal(shape, error)
        if refusal is None:
            raise
        is_as_told, problem = False, refusal
    if not is_as_told:
        return await _ask(request, runtime, identity, frame, shape, keys, problem=problem)
    along = f", and {count(fate.total, 'row')} that went along" if fate.total else ""
    note = Flash("success", f"{count(len(keys), 'row')} of {name} deleted{along}.")
    return send_back(request, note, table_address(name))


async def _ask(
    request: WebRequest,
    runtime: Runtime,
    identity: Identity,
    frame: Frame,
    shape: Shape,
    keys: list[tuple[str, ...]],
    *,
    problem: str = "",
) -> Response[str]:
    async with reading(runtime, identity) as session:
        rows = [
            (key_address(key), name_of(shape, await read_row(session, shape, frame.tenant_id, key)))
            for key in keys
        ]
        fate = await foretell_deletion(session, shape, frame.tenant_id, keys)
    back = table_address(shape.name)
    view = DeleteView(shape, tuple(rows), fate, _seen(fate), back, problem)
    status = 409 if problem else 200
    return show(request, "studio/delete.html", frame, status=status, view=view)


def _deletable(name: str, identity: Identity) -> Shape:
    shape = readable_shape(name, identity)
    if shape.why_no_delete:
        raise NotAllowed(shape.why_no_delete)
    return shape


def _keys(shape: Shape, texts: list[str]) -> list[tuple[str, ...]]:
    keys = list(dict.fromkeys(read_key(shape, each) for each in texts))
    if not 0 < len(keys) <= MOST_EDITS:
        raise BadInput(f"Between 1 and {MOST_EDITS} rows are deleted at once.")
    return keys


def _seen(fate: Fate) -> str:
    return ",".join(f"{each.table}={each.rows}" for each in fate.along)
