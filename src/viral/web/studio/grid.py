"""A table as a grid: filters, order and place in the address; cells that can be edited."""

from __future__ import annotations

from dataclasses import dataclass, replace

from litestar import Response, get
from litestar.params import FromPath, FromQuery
from sqlalchemy.exc import DBAPIError

from viral.errors import BadInput, NotFound
from viral.features.studio.edits import explain_refusal
from viral.features.studio.rows import (
    OPERATORS,
    ROWS_SHOWN,
    Filter,
    Place,
    Query,
    Row,
    RowPage,
    operators_of,
    read_page,
)
from viral.features.studio.shapes import Field, Shape, shape_of
from viral.web.dependencies import Person, Wired
from viral.web.requests import WebRequest
from viral.web.site import Site
from viral.web.studio.addresses import GridAddress, read_filter, slug, table_address, where_text
from viral.web.studio.cells import CellView, cell_view
from viral.web.studio.gate import may_read, reading
from viral.web.studio.shell import Frame, Framed, reader_of, show

_OPERATOR_WORDS = tuple((slug(each), each) for each in OPERATORS)
_SIGNS = {"at least": "≥", "at most": "≤", "above": ">", "below": "<"}


@dataclass(frozen=True, slots=True)
class ColumnView:
    """A column's head: `order` is ascending, descending or empty."""

    field: Field
    order: str
    sort_url: str
    operators: str


@dataclass(frozen=True, slots=True)
class RowView:
    """A row of the grid."""

    key: str
    name: str
    cells: tuple[CellView, ...]


@dataclass(frozen=True, slots=True)
class FilterView:
    """A filter that is in force, in words, and the address without it."""

    words: str
    where: str
    remove_url: str


@dataclass(frozen=True, slots=True)
class GridView:
    """All that the page of a table shows."""

    shape: Shape
    columns: tuple[ColumnView, ...]
    rows: tuple[RowView, ...]
    filters: tuple[FilterView, ...]
    url: str
    clear_url: str
    sort: str
    is_first: bool
    next_url: str
    previous_url: str
    may_edit: bool
    problem: str = ""


@get("/tables/{name:str}", include_in_schema=False)
async def show_table(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    frame: Framed,
    name: FromPath[str],
    where: FromQuery[list[str] | None] = None,
    column: FromQuery[str] = "",
    operator: FromQuery[str] = "",
    value: FromQuery[str] = "",
    sort: FromQuery[str] = "",
    cursor: FromQuery[str] = "",
) -> Response[str]:
    """Show rows of a table, newest first; `column`, `operator`, `value` add a filter."""
    shape = shape_of(name)
    if not may_read(shape, identity):
        return show(request, "studio/unreadable.html", frame, shape=shape)
    asked = [*(where or [])]
    if column:
        asked.append(f"{column}:{operator}:{value}")
    query, page, problem = Query(), RowPage((), has_next=False, has_previous=False), ""
    try:
        query = read_query(asked, sort)
        if cursor:
            site: Site = request.app.state.site
            place = GridAddress(shape, query).open(site, frame.tenant_id, cursor)
            query = replace(query, place=place)
        async with reading(runtime, identity, shape) as session:
            page = await read_page(session, shape, frame.tenant_id, query)
    except (BadInput, NotFound) as error:
        problem = f"{error.message} {error.hint}"
    except DBAPIError as error:
        problem = explain_refusal(shape, error) or ""
        if not problem:
            raise
    view = _view(request, frame, shape, query, page, problem)
    return show(
        request,
        "studio/grid.html",
        reader_of(frame, shape),
        status=422 if problem else 200,
        grid=view,
        operators=_OPERATOR_WORDS,
    )


def read_query(where: list[str], sort: str) -> Query:
    """Read filters and order from an address; by its key a table starts with its newest rows."""
    filters = tuple(dict.fromkeys(read_filter(each) for each in where))
    is_descending = sort.startswith("-") or not sort
    column = sort.removeprefix("-") or None
    return Query(filters, column, is_descending=is_descending, size=ROWS_SHOWN)


def words_of(wanted: Filter) -> str:
    """Say a filter in words."""
    sign = _SIGNS.get(wanted.operator, wanted.operator)
    if wanted.operator in {"is null", "is not null"}:
        return f"{wanted.column} {sign}"
    return f"{wanted.column} {sign} {wanted.text or chr(34) * 2}"


def _view(
    request: WebRequest, frame: Frame, shape: Shape, query: Query, page: RowPage, problem: str
) -> GridView:
    address = GridAddress(shape, query)

    def beside(row: Row, *, is_before: bool) -> str:
        site: Site = request.app.state.site
        place = Place(row.key, row.sorted_by, is_before)
        return address.url(cursor=address.seal(site, frame.tenant_id, place))

    return GridView(
        shape=shape,
        columns=tuple(_column(address, field) for field in shape.shown),
        rows=tuple(_row(shape, row, is_writing=frame.is_writing) for row in page.rows),
        filters=tuple(
            FilterView(words_of(each), where_text(each), address.without(each))
            for each in query.filters
        ),
        url=address.url(),
        clear_url=table_address(shape.name),
        sort=("-" if query.is_descending else "") + query.sort if query.sort else "",
        is_first=query.place is None,
        next_url=beside(page.rows[-1], is_before=False) if page.has_next and page.rows else "",
        previous_url=beside(page.rows[0], is_before=True)
        if page.has_previous and page.rows
        else "",
        may_edit=frame.is_writing and not shape.why_no_update,
        problem=problem,
    )


def _column(address: GridAddress, field: Field) -> ColumnView:
    order, sort_url = "", ""
    is_sorted = address.query.sort == field.name
    if is_sorted:
        order = "descending" if address.query.is_descending else "ascending"
    if field.is_sortable:
        is_descending = is_sorted and not address.query.is_descending
        sort_url = address.sorted_by(field.name, is_descending=is_descending)
    operators = " ".join(map(slug, operators_of(field))) if field.is_shown else ""
    return ColumnView(field, order, sort_url, operators)


def _row(shape: Shape, row: Row, *, is_writing: bool) -> RowView:
    cells = tuple(cell_view(shape, field, row, is_writing=is_writing) for field in shape.shown)
    label = shape.label
    name = row.cells[label.name].text if label is not None else None
    return RowView(row.address, name or row.key[0][-8:], cells)
