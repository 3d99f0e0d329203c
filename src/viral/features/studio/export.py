"""Rows as CSV or JSON, a part at a time: an export of millions needs no more memory than one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import msgspec
from sqlalchemy import select

from viral.database.values import harmless
from viral.features.studio.rows import Place, Query, condition, key_order, own_rows, past_place
from viral.features.studio.values import as_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.studio.shapes import Field, Shape

Format = Literal["csv", "json"]
PART = 1000


async def export_rows(
    session: AsyncSession, shape: Shape, tenant_id: UUID, query: Query, form: Format
) -> AsyncIterator[bytes]:
    """Yield the rows that pass the filters, by key, in columns that may be seen.

    CSV: null is empty, an empty text is "", and a text that a spreadsheet would run as a formula
    begins with an apostrophe. JSON keeps every value as it is.
    """
    fields = shape.read
    yield _csv_line([field.name for field in fields]) if form == "csv" else b"[\n"
    is_first = True
    query = replace(query, sort=None, place=None)
    while True:
        part = await _part(session, shape, tenant_id, query)
        lines = []
        for values in part:
            if form == "csv":
                lines.append(_csv_line(_cells(fields, values)))
            else:
                lines.append((b"" if is_first else b",\n") + _object(fields, values))
            is_first = False
        if lines:
            yield b"".join(lines)
        if len(part) < PART:
            break
        named = {field.name: value for field, value in zip(fields, part[-1], strict=True)}
        key = tuple(str(as_text(named[field.name])) for field in shape.key)
        query = replace(query, place=Place(key))
    if form == "json":
        yield b"\n]\n"


async def _part(
    session: AsyncSession, shape: Shape, tenant_id: UUID, query: Query
) -> list[tuple[object, ...]]:
    wanted = select(*(field.column for field in shape.read)).where(
        *own_rows(shape, tenant_id), *(condition(shape, each) for each in query.filters)
    )
    if query.place is not None:
        wanted = wanted.where(past_place(shape, query, query.place))
    found = await session.execute(wanted.order_by(*key_order(shape, query)).limit(PART))
    return [tuple(row) for row in found]


def _cells(fields: Sequence[Field], values: Sequence[object]) -> list[str | None]:
    return [
        as_text(harmless(value) if field.kind == "text" else value)
        for field, value in zip(fields, values, strict=True)
    ]


def _csv_line(cells: Sequence[str | None]) -> bytes:
    """Write a line as RFC 4180 has it."""
    return (",".join(map(_csv_cell, cells)) + "\r\n").encode()


def _csv_cell(text: str | None) -> str:
    if text is None:
        return ""
    if text == "" or any(sign in text for sign in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def _object(fields: Sequence[Field], values: Sequence[object]) -> bytes:
    named = {field.name: value for field, value in zip(fields, values, strict=True)}
    return msgspec.json.Encoder(decimal_format="number").encode(named)
