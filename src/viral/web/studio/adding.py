"""A new row: a form by type, with the id made here and what the database fills in left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from viral.errors import NotAllowed, ViralError
from viral.features.studio.edits import add_row, explain_refusal
from viral.features.studio.rows import recent_names
from viral.features.studio.shapes import Field, Shape
from viral.schema.base import uuid7
from viral.web.dashboard.flashes import send_back
from viral.web.dashboard.views import Flash
from viral.web.dependencies import Person, Wired
from viral.web.requests import WebRequest
from viral.web.studio.changes import author_of, typed_text
from viral.web.studio.gate import reading, writing
from viral.web.studio.row import address_of_row, readable_shape
from viral.web.studio.shell import Frame, Framed, show


@dataclass(frozen=True, slots=True)
class NewField:
    """A column of a new row; `default` is what stands there when nothing is typed."""

    field: Field
    text: str
    default: str
    is_null: bool
    choices: tuple[tuple[str, str], ...] = ()

    @property
    def is_needed(self) -> bool:
        return not self.default


@get("/tables/{name:str}/new", include_in_schema=False)
async def show_new(
    request: WebRequest, runtime: Wired, identity: Person, frame: Framed, name: FromPath[str]
) -> Response[str]:
    """Show the form of a new row."""
    shape = readable_shape(name, identity)
    if shape.why_no_insert:
        raise NotAllowed(shape.why_no_insert)
    async with reading(runtime, identity) as session:
        fields = await _fields(session, shape, frame, {})
    return show(request, "studio/new.html", frame, shape=shape, fields=fields, problem="")


@post("/tables/{name:str}/new", include_in_schema=False)
async def add(
    request: WebRequest, runtime: Wired, identity: Person, frame: Framed, name: FromPath[str]
) -> Response[str] | Redirect:
    """Add a row, or show the form again with what was wrong."""
    shape = readable_shape(name, identity)
    form = {str(field): str(value) for field, value in (await request.form()).items()}
    try:
        async with writing(request, runtime, identity) as session:
            author = author_of(request, identity)
            texts = texts_of(shape, form)
            key = await add_row(session, shape, identity.tenant_id, texts, author)
    except ViralError as error:
        problem: str | None = f"{error.message} {error.hint}"
    except DBAPIError as error:
        problem = explain_refusal(shape, error)
        if problem is None:
            raise
    else:
        return send_back(request, Flash("success", "The row is added."), address_of_row(shape, key))
    async with reading(runtime, identity) as session:
        fields = await _fields(session, shape, frame, form)
    return show(
        request, "studio/new.html", frame, status=422, shape=shape, fields=fields, problem=problem
    )


def texts_of(shape: Shape, form: Mapping[str, str]) -> dict[str, str | None]:
    """Return what was typed, by column; what is left empty gets its default, or null."""
    texts: dict[str, str | None] = {}
    for field in shape.read:
        if not field.may_insert:
            continue
        text = typed_text(field, form)
        is_left_out = not text and (f"null.{field.name}" in form or field.kind != "text")
        if not is_left_out:
            texts[field.name] = text
        elif not _default(field):
            texts[field.name] = None
    return texts


async def _fields(
    session: AsyncSession, shape: Shape, frame: Frame, form: Mapping[str, str]
) -> list[NewField]:
    fields = []
    for field in shape.read:
        if not field.may_insert:
            continue
        choices: list[tuple[str, str]] = []
        if field.target is not None:
            choices = await recent_names(session, field.target.table, frame.tenant_id)
        made = str(uuid7()) if field.name == "id" else ""
        default = _default(field)
        is_null = f"null.{field.name}" in form if form else bool(default)
        text = form.get(f"new.{field.name}", made)
        fields.append(NewField(field, text, default, is_null, tuple(choices)))
    return fields


def _default(field: Field) -> str:
    """Say what an empty field becomes; empty where a value is needed."""
    if field.has_default:
        default = getattr(field.column.server_default, "arg", None)
        return f"default: {default}" if isinstance(default, str) and default else "default"
    return "null" if field.is_nullable else ""
