"""Reading rows: a page by its place in the order, one row, what points at it.

No count of a whole table, and no offset: a page of a table of millions costs what a page costs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import quote, unquote

from sqlalchemy import Text, and_, cast, func, literal, not_, or_, select, tuple_
from sqlalchemy.dialects.postgresql import JSONB

from viral.errors import BadInput, NotFound
from viral.features.studio.shapes import TENANT, shape_of
from viral.features.studio.values import LONGEST_SHOWN, as_text, parse
from viral.schema.tenants import Tenant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import ColumnElement, Select, UnaryExpression
    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.studio.shapes import Field, Shape

ROWS_SHOWN = 50
MOST_COUNTED = 100
# What of a text decides its place in an order.
_SORTED_BY = 200

Operator = Literal[
    "is", "is not", "contains", "starts with", "at least", "at most", "above", "below",
    "is null", "is not null",
]  # fmt: skip
OPERATORS: tuple[Operator, ...] = get_args(Operator)
_OF_TEXT: tuple[Operator, ...] = ("is", "is not", "contains", "starts with")
_OF_NUMBER: tuple[Operator, ...] = ("is", "is not", "at least", "at most", "above", "below")
_NULLS: tuple[Operator, ...] = ("is null", "is not null")


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on one column."""

    column: str
    operator: Operator
    text: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: behind a row, or before it; `value` is what it was sorted by."""

    key: tuple[str, ...]
    value: str | None = None
    is_before: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """What a grid shows: rows that pass all filters, in an order, from a place on."""

    filters: tuple[Filter, ...] = ()
    sort: str | None = None
    is_descending: bool = True
    place: Place | None = None
    size: int = ROWS_SHOWN


@dataclass(frozen=True, slots=True)
class Cell:
    """A value as text; `is_cut` where it is longer than a grid shows."""

    text: str | None
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its key as text, and the cells of the columns that may be seen."""

    key: tuple[str, ...]
    cells: Mapping[str, Cell]
    # Beyond the cells: what the order went by.
    sorted_by: str | None = None

    @property
    def address(self) -> str:
        return key_address(self.key)


@dataclass(frozen=True, slots=True)
class RowPage:
    """Some rows, and whether there are more on either side."""

    rows: tuple[Row, ...]
    has_next: bool
    has_previous: bool


def key_address(key: Iterable[str]) -> str:
    """Write a key as one word."""
    return ",".join(quote(part, safe="") for part in key)


def read_key(shape: Shape, address: str) -> tuple[str, ...]:
    """Read a key from its word; BadInput when it is none of this table."""
    key = tuple(unquote(part) for part in address.split(","))
    if len(key) != len(shape.key):
        raise BadInput(f"This is no key of {shape.name}.")
    for field, text in zip(shape.key, key, strict=True):
        parse(field, text)
    return key


def operators_of(field: Field) -> tuple[Operator, ...]:
    """List the conditions that a column knows."""
    nulls = _NULLS if field.is_nullable else ()
    match field.kind:
        case "text":
            return _OF_TEXT + nulls
        case "integer" | "float" | "numeric" | "time" | "date":
            return _OF_NUMBER + nulls
        case "json":
            return ("contains", *nulls)
    return ("is", "is not", *nulls)


def own_rows(shape: Shape, tenant_id: UUID) -> list[ColumnElement[bool]]:
    """Name the tenant: PostgreSQL can use its indexes; the policies decide."""
    table = shape.table
    if any(each.name == TENANT for each in shape.read):
        return [table.c[TENANT] == tenant_id]
    return [table.c.id == tenant_id] if table is Tenant.__table__ else []


def with_key(shape: Shape, key: Sequence[str]) -> ColumnElement[bool]:
    """Say which row."""
    return and_(
        *(field.column == parse(field, text) for field, text in zip(shape.key, key, strict=True))
    )


async def read_page(session: AsyncSession, shape: Shape, tenant_id: UUID, query: Query) -> RowPage:
    """Read a page and one row more, which tells whether there is another."""
    is_backwards = query.place is not None and query.place.is_before
    sorted_by = _order(shape, query)
    wanted = _select(shape, sorted_by).where(*own_rows(shape, tenant_id))
    wanted = wanted.where(*(condition(shape, each) for each in query.filters))
    if query.place is not None:
        wanted = wanted.where(past_place(shape, query, query.place))
    wanted = wanted.order_by(*key_order(shape, query))
    found = (await session.execute(wanted.limit(query.size + 1))).all()
    rows = [_row(shape, tuple(each)) for each in found[: query.size]]
    has_more = len(found) > query.size
    if is_backwards:
        return RowPage(tuple(reversed(rows)), has_next=True, has_previous=has_more)
    return RowPage(tuple(rows), has_next=has_more, has_previous=query.place is not None)


async def read_row(
    session: AsyncSession, shape: Shape, tenant_id: UUID, key: Sequence[str]
) -> dict[str, object]:
    """Read all that may be seen of one row; NotFound for a foreign one as for none."""
    wanted = select(*(each.column for each in shape.read)).where(
        *own_rows(shape, tenant_id), with_key(shape, key)
    )
    row = (await session.execute(wanted)).one_or_none()
    if row is None:
        raise NotFound(f"There is no such row in {shape.name}.")
    return {field.name: value for field, value in zip(shape.read, row, strict=True)}


async def count_some(session: AsyncSession, shape: Shape, *conditions: ColumnElement[bool]) -> int:
    """Count rows, up to one more than `MOST_COUNTED`."""
    some = select(literal(1)).select_from(shape.table).where(*conditions).limit(MOST_COUNTED + 1)
    return await session.scalar(select(func.count()).select_from(some.subquery())) or 0


async def recent_names(
    session: AsyncSession, name: str, tenant_id: UUID, *, limit: int = 20
) -> list[tuple[str, str]]:
    """List the newest rows of a table with what they are called, to choose from."""
    shape = shape_of(name)
    if shape.why_unreadable or len(shape.key) != 1:
        return []
    label = shape.label
    shown = shape.key[0].column if label is None else func.left(label.column, 80)
    wanted = (
        select(shape.key[0].column, shown)
        .where(*own_rows(shape, tenant_id))
        .order_by(shape.key[0].column.desc())
        .limit(limit)
    )
    return [(str(key), str(said)) for key, said in await session.execute(wanted)]


def condition(shape: Shape, wanted: Filter) -> ColumnElement[bool]:
    """Turn a filter into SQL; every value is a parameter."""
    field = shape.field(wanted.column)
    if wanted.operator not in operators_of(field):
        raise BadInput(f"{field.name} knows no condition {wanted.operator[:40]!r}.")
    if wanted.operator in _NULLS:
        is_null = field.column.is_(None)
        return is_null if wanted.operator == "is null" else not_(is_null)
    if field.kind == "json":
        value = parse(replace(field, document=None), wanted.text)
        return field.column.op("@>")(literal(value, JSONB))
    return _COMPARISONS[wanted.operator](field.column, parse(field, wanted.text))


_COMPARISONS: dict[Operator, Callable[[Any, Any], ColumnElement[bool]]] = {
    "is": lambda column, value: column == value,
    "is not": lambda column, value: column.is_distinct_from(value),
    "contains": lambda column, value: column.icontains(value, autoescape=True),
    "starts with": lambda column, value: column.startswith(value, autoescape=True),
    "at least": lambda column, value: column >= value,
    "at most": lambda column, value: column <= value,
    "above": lambda column, value: column > value,
    "below": lambda column, value: column < value,
}


def _select(shape: Shape, sorted_by: ColumnElement[object] | None) -> Select[*tuple[Any, ...]]:
    columns = [_shown(each) for each in shape.read]
    return select(*columns) if sorted_by is None else select(*columns, sorted_by)


def key_order(shape: Shape, query: Query) -> list[UnaryExpression[object]]:
    """Return the order of a page: by its sort, then by the key; backwards before a place."""
    is_backwards = query.place is not None and query.place.is_before
    is_falling = query.is_descending is not is_backwards
    sorted_by = _order(shape, query)
    order = [] if sorted_by is None else [sorted_by]
    order += [field.column for field in shape.key]
    return [each.desc() if is_falling else each.asc() for each in order]


def _shown(field: Field) -> ColumnElement[object]:
    """Cut what is long in the database: a page of large documents is no large page."""
    if field.kind == "json":
        return func.left(cast(field.column, Text), LONGEST_SHOWN + 1, type_=Text)
    if field.kind == "text":
        return func.left(field.column, LONGEST_SHOWN + 1, type_=Text)
    return field.column


def _order(shape: Shape, query: Query) -> ColumnElement[object] | None:
    """Return what the rows are sorted by before their key; None: by the key alone."""
    if query.sort is None:
        return None
    field = shape.field(query.sort)
    if not field.is_sortable:
        raise BadInput(f"{field.name} has no order.")
    return func.left(field.column, _SORTED_BY, type_=Text) if field.kind == "text" else field.column


def past_place(shape: Shape, query: Query, place: Place) -> ColumnElement[bool]:
    """Say which rows come behind a place, or before it.

    PostgreSQL puts NULL above every value.
    """
    is_falling = query.is_descending is not place.is_before
    columns = tuple_(*(field.column for field in shape.key))
    values = tuple_(
        *(
            literal(parse(field, text), field.column.type)
            for field, text in zip(shape.key, place.key, strict=True)
        )
    )
    by_key = columns < values if is_falling else columns > values
    by = _order(shape, query)
    if by is None or query.sort is None:
        return by_key
    if place.value is None:
        same = and_(by.is_(None), by_key)
        return or_(same, by.is_not(None)) if is_falling else same
    value = parse(shape.field(query.sort), place.value)
    further = by < value if is_falling else or_(by > value, by.is_(None))
    return or_(further, and_(by == value, by_key))


def _row(shape: Shape, values: tuple[object, ...]) -> Row:
    texts = {field.name: as_text(value) for field, value in zip(shape.read, values, strict=False)}
    cells = {field.name: _cell(field, texts[field.name]) for field in shape.read}
    key = tuple(str(texts[field.name]) for field in shape.key)
    extra = values[len(shape.read) :]
    return Row(key, cells, as_text(extra[0]) if extra else None)


def _cell(field: Field, text: str | None) -> Cell:
    if text is None or field.kind not in {"text", "json"} or len(text) <= LONGEST_SHOWN:
        return Cell(text)
    return Cell(text[:LONGEST_SHOWN], is_cut=True)
