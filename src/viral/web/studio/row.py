"""One row: all its columns, what it names, what points at it; its preview; its documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from litestar import MediaType, Response, get
from litestar.params import FromPath, FromQuery
from sqlalchemy.ext.asyncio import AsyncSession

from viral.errors import NotFound
from viral.features.studio.rows import (
    MOST_COUNTED,
    Filter,
    condition,
    count_some,
    key_address,
    own_rows,
    read_key,
    read_row,
    recent_names,
)
from viral.features.studio.shapes import Field, Shape, referrers, shape_of
from viral.features.studio.values import as_text, pretty
from viral.features.users.sessions import Identity
from viral.web.dependencies import Person, Wired
from viral.web.requests import WebRequest
from viral.web.studio.addresses import row_address, table_address, where_text
from viral.web.studio.cells import short_text, target_of
from viral.web.studio.gate import may_read, reading
from viral.web.studio.rendering import render
from viral.web.studio.shell import Frame, Framed, reader_of, show

_PREVIEWED = 6
_LONG = 60


@dataclass(frozen=True, slots=True)
class FieldView:
    """A column of a row, as it is read and edited; `choices` are rows that it may name."""

    field: Field
    text: str | None
    href: str = ""
    preview: str = ""
    is_editable: bool = False
    choices: tuple[tuple[str, str], ...] = ()

    @property
    def is_long(self) -> bool:
        is_text = self.field.kind == "text"
        text = self.text or ""
        return self.field.kind == "json" or (is_text and (len(text) > _LONG or "\n" in text))


@dataclass(frozen=True, slots=True)
class Related:
    """Rows elsewhere that point at this one; `said` counts them, up to a hundred."""

    table: str
    column: str
    said: str
    url: str


@dataclass(frozen=True, slots=True)
class RowPageView:
    """All that the page of a row shows."""

    shape: Shape
    key: str
    name: str
    fields: tuple[FieldView, ...]
    related: tuple[Related, ...]
    may_edit: bool


@get("/tables/{name:str}/row", include_in_schema=False)
async def show_row(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    frame: Framed,
    name: FromPath[str],
    key: FromQuery[str],
) -> Response[str]:
    """Show one row, as a form where it may be changed."""
    shape = readable_shape(name, identity)
    parts = read_key(shape, key)
    may_edit = frame.is_writing and not shape.why_no_update
    async with reading(runtime, identity, shape) as session:
        values = await read_row(session, shape, frame.tenant_id, parts)
        related = await _related(session, shape, frame, values)
        fields = [
            await field_view(session, frame, each, values.get(each.name), may_edit=may_edit)
            for each in shape.fields
        ]
    view = RowPageView(
        shape=shape,
        key=key_address(parts),
        name=name_of(shape, values),
        fields=tuple(fields),
        related=related,
        may_edit=may_edit,
    )
    return show(request, "studio/row.html", reader_of(frame, shape), row=view)


@get("/tables/{name:str}/preview", include_in_schema=False)
async def show_preview(
    runtime: Wired, identity: Person, name: FromPath[str], key: FromQuery[str]
) -> Response[str]:
    """Send a few columns of a row, as a part of a page."""
    shape = readable_shape(name, identity)
    async with reading(runtime, identity, shape) as session:
        values = await read_row(session, shape, identity.tenant_id, read_key(shape, key))
    told = [
        each for each in shape.read if each.target is None and each.kind not in {"uuid", "json"}
    ]
    pairs = [(each.name, short_text(each, as_text(values[each.name]))) for each in told]
    pairs = [each for each in pairs if each[1]][:_PREVIEWED]
    html = render("studio/preview.html", table=shape.name, name=name_of(shape, values), pairs=pairs)
    return Response(html, media_type=MediaType.HTML)


@get("/tables/{name:str}/document/{column:str}", include_in_schema=False)
async def show_document(
    runtime: Wired,
    identity: Person,
    name: FromPath[str],
    column: FromPath[str],
    key: FromQuery[str],
) -> Response[str]:
    """Send a JSON document of a row, pretty-printed, as a part of a page."""
    shape = readable_shape(name, identity)
    field = shape.field(column)
    async with reading(runtime, identity, shape) as session:
        values = await read_row(session, shape, identity.tenant_id, read_key(shape, key))
    html = render("studio/document.html", document=pretty(values[field.name]))
    return Response(html, media_type=MediaType.HTML)


def readable_shape(name: str, identity: Identity) -> Shape:
    """Return a table whose rows somebody may see; NotFound for the others."""
    shape = shape_of(name)
    if not may_read(shape, identity):
        raise NotFound(f"{name} is {shape.why_unreadable}.")
    return shape


def name_of(shape: Shape, values: Mapping[str, object]) -> str:
    """Call a row by its label, or by the end of its id."""
    said = as_text(values[shape.label.name]) if shape.label is not None else None
    return said or str(values[shape.key[0].name])[-8:]


async def field_view(
    session: AsyncSession, frame: Frame, field: Field, value: object, *, may_edit: bool
) -> FieldView:
    """Prepare a column for reading or editing; what it may name is offered, newest first."""
    text = pretty(value) if field.kind == "json" and value is not None else as_text(value)
    is_editable = may_edit and field.may_update
    href, preview = target_of(field, text) if text else ("", "")
    choices: list[tuple[str, str]] = []
    if is_editable and field.target is not None:
        choices = await recent_names(session, field.target.table, frame.tenant_id)
    return FieldView(field, text, href, preview, is_editable, tuple(choices))


async def _related(
    session: AsyncSession, shape: Shape, frame: Frame, values: Mapping[str, object]
) -> tuple[Related, ...]:
    """Count what points at a row, up to a hundred of each."""
    found = []
    for each in referrers(shape.table):
        other = shape_of(str(each.table))
        element = next(e for e in each.constraint.elements if e.parent.name == each.column)
        value = as_text(values.get(element.column.name))
        if other.why_unreadable or value is None or each.column not in {f.name for f in other.read}:
            continue
        wanted = Filter(each.column, "is", value)
        conditions = [*own_rows(other, frame.tenant_id), condition(other, wanted)]
        count = await count_some(session, other, *conditions)
        said = f"{MOST_COUNTED}+" if count > MOST_COUNTED else str(count)
        url = f"{table_address(other.name)}?{urlencode({'where': where_text(wanted)})}"
        found.append(Related(other.name, each.column, said, url))
    return tuple(found)


def address_of_row(shape: Shape, key: tuple[str, ...]) -> str:
    return row_address(shape.name, key_address(key))
