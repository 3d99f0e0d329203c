"""Writing rows: edits that know the value they were made from, new rows, deletions.

Whoever calls owns the transaction. Nothing is written when a row has changed in the meantime.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from sqlalchemy import Text, and_, cast, delete, insert, null, or_, select, update

from viral.database.faults import sqlstate_of
from viral.errors import BadInput, NotAllowed, NotFound
from viral.features.audit import note
from viral.features.studio.rows import key_address, own_rows, with_key
from viral.features.studio.shapes import TENANT
from viral.features.studio.values import as_text, parse
from viral.schema.encrypted import EncryptedText, SealedSecret

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import ColumnElement
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.audit import Action
    from viral.features.studio.shapes import Field, Shape

MOST_EDITS = 500


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes, and from where, for the log of deeds."""

    user_id: UUID
    address: str


@dataclass(frozen=True, slots=True)
class Edit:
    """A cell that is to change: the value it was shown with, and the one it gets."""

    key: tuple[str, ...]
    column: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class Conflict:
    """A cell that somebody else has changed since; `now` is None for null, or for a row gone."""

    edit: Edit
    now: str | None
    is_gone: bool = False


def fault_of(shape: Shape, edit: Edit) -> str:
    """Say why an edit cannot be saved; empty when it can be tried."""
    try:
        field = _editable(shape, edit.column)
        parse(field, edit.old)
        parse(field, edit.new)
        with_key(shape, edit.key)
    except (BadInput, NotAllowed, NotFound) as error:
        return error.message
    return ""


async def save_edits(
    session: AsyncSession, shape: Shape, tenant_id: UUID, edits: Sequence[Edit], author: Author
) -> list[Conflict]:
    """Save all edits, or none when the answer names cells that are not as they were.

    The rows are locked, in the order of their keys, before the first is written.
    """
    if len(edits) > MOST_EDITS:
        raise BadInput(f"{len(edits)} edits at once are too many: {MOST_EDITS} at most.")
    ordered = sorted(edits, key=lambda each: each.key)
    by_row = [(key, list(of_row)) for key, of_row in groupby(ordered, lambda each: each.key)]
    conflicts: list[Conflict] = []
    for key, of_row in by_row:
        conflicts += await _conflicts(session, shape, tenant_id, key, of_row)
    if conflicts:
        return conflicts
    for key, of_row in by_row:
        fields = [_editable(shape, edit.column) for edit in of_row]
        values = {
            field.column: _stored(field, edit.new)
            for field, edit in zip(fields, of_row, strict=True)
        }
        await session.execute(
            update(shape.table)
            .where(*own_rows(shape, tenant_id), with_key(shape, key))
            .values(values)
        )
        columns = ", ".join(sorted(edit.column for edit in of_row))
        await _note(session, "changed row", shape, key, author, columns=columns)
    return []


async def add_row(
    session: AsyncSession,
    shape: Shape,
    tenant_id: UUID,
    texts: Mapping[str, str | None],
    author: Author,
) -> tuple[str, ...]:
    """Add a row of the texts that are given; the rest gets its default. Return the row's key."""
    if shape.why_no_insert:
        raise NotAllowed(shape.why_no_insert)
    values: dict[str, object] = {}
    for name, text in texts.items():
        field = shape.field(name)
        if not field.may_insert:
            raise NotAllowed(f"viral_app may not write {name}.")
        values[name] = _stored(field, text)
    if TENANT in shape.table.c:
        values[TENANT] = tenant_id
    for field in shape.fields:
        if isinstance(field.column.type, EncryptedText) and not field.is_nullable:
            # An account without its token: connecting it is the dashboard's.
            values[field.name] = SealedSecret(b"")
    # Past the session, which would name every column, those too that the role may not write.
    connection = await session.connection()
    made = await connection.execute(
        insert(shape.table).values(values).returning(*(each.column for each in shape.key))
    )
    key = tuple(str(as_text(value)) for value in made.one())
    await _note(session, "added row", shape, key, author)
    return key


async def delete_rows(
    session: AsyncSession,
    shape: Shape,
    tenant_id: UUID,
    keys: Sequence[tuple[str, ...]],
    author: Author,
) -> None:
    """Delete rows with what goes along; NotFound, and nothing deleted, when one is gone."""
    if shape.why_no_delete:
        raise NotAllowed(shape.why_no_delete)
    which = or_(*(with_key(shape, key) for key in keys))
    gone = await session.execute(
        delete(shape.table)
        .where(*own_rows(shape, tenant_id), which)
        .returning(*(field.column for field in shape.key))
    )
    if len(gone.all()) != len(set(keys)):
        raise NotFound("A row that was to be deleted is gone. Nothing was deleted.")
    for key in keys:
        await _note(session, "deleted row", shape, key, author)


def explain_refusal(shape: Shape, error: DBAPIError) -> str | None:
    """Say in words what a refused statement ran into, without the values; None when unknown."""
    cause = error.orig.__cause__ if error.orig is not None else None
    constraint = str(getattr(cause, "constraint_name", None) or "")
    table = str(getattr(cause, "table_name", None) or shape.name)
    column = str(getattr(cause, "column_name", None) or "a column")
    named = _columns_of(shape, constraint)
    is_here = table == shape.name
    texts = {
        "23514": f"{table} does not take this: {_rule_of(shape, constraint) or constraint}.",
        "23505": f"Another row of {table} has this already: {named}.",
        "23503": f"There is no such row: {named} points at none."
        if is_here
        else f"Rows of {table} point at it ({constraint}). Delete or change those first.",
        "23502": f"{column} needs a value.",
        "42501": f"viral_app may not write this in {shape.name}.",
        "57014": "PostgreSQL stopped it: it took longer than a statement of Studio may.",
    }
    return texts.get(sqlstate_of(error) or "")


def _editable(shape: Shape, column: str) -> Field:
    field = shape.field(column)
    if shape.why_no_update or not field.may_update:
        raise NotAllowed(shape.why_no_update or f"{column} cannot be changed here.")
    return field


async def _conflicts(
    session: AsyncSession,
    shape: Shape,
    tenant_id: UUID,
    key: tuple[str, ...],
    edits: Sequence[Edit],
) -> list[Conflict]:
    """Lock a row, and name the cells that are not as the edits saw them."""
    fields = [_editable(shape, edit.column) for edit in edits]
    same = [_is_still(field, edit.old) for field, edit in zip(fields, edits, strict=True)]
    wanted = (
        select(*same, *(field.column for field in fields))
        .where(*own_rows(shape, tenant_id), with_key(shape, key))
        .with_for_update()
    )
    row = (await session.execute(wanted)).one_or_none()
    if row is None:
        return [Conflict(edit, None, is_gone=True) for edit in edits]
    answers, values = row[: len(edits)], row[len(edits) :]
    return [
        Conflict(edit, as_text(value))
        for edit, is_same, value in zip(edits, answers, values, strict=True)
        if not is_same
    ]


def _is_still(field: Field, old: str | None) -> ColumnElement[bool]:
    if old is None:
        # JSON has a null of its own, which is shown alike.
        is_json = field.kind == "json"
        column = field.column
        return column.is_(None) | (cast(column, Text) == "null") if is_json else column.is_(None)
    return and_(field.column.is_not(None), field.column == parse(field, old))


def _stored(field: Field, text: str | None) -> object:
    """Read a text; a missing value is SQL's NULL for JSON too."""
    value = parse(field, text)
    return null() if value is None else value


async def _note(
    session: AsyncSession,
    action: Action,
    shape: Shape,
    key: tuple[str, ...],
    author: Author,
    *,
    columns: str | None = None,
) -> None:
    await note(
        session,
        action,
        f"{shape.name} {key_address(key)}",
        user_id=author.user_id,
        address=author.address,
        columns=columns,
    )


def _rule_of(shape: Shape, constraint: str) -> str:
    return next(
        (
            str(getattr(each, "sqltext", ""))
            for each in shape.table.constraints
            if str(each.name) == constraint
        ),
        "",
    )


def _columns_of(shape: Shape, constraint: str) -> str:
    """Name the columns of a key, or the key where it is an index of its own."""
    for each in shape.table.constraints:
        if str(each.name) == constraint:
            names = [str(c.name) for c in getattr(each, "columns", ()) if c.name != TENANT]
            return ", ".join(names) or constraint
    return constraint
