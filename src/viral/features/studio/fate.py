"""What a deletion takes along, and what stands in its way, counted before it is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, false, func, not_, or_, select, tuple_

from viral.features.studio.rows import own_rows, with_key
from viral.features.studio.shapes import shape_of
from viral.schema.tables import METADATA

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import ColumnElement, ForeignKeyConstraint, Table
    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.studio.shapes import Shape

Doomed = dict["Table", "ColumnElement[bool]"]


@dataclass(frozen=True, slots=True)
class Count:
    """Rows of a table."""

    table: str
    rows: int


@dataclass(frozen=True, slots=True)
class Fate:
    """What a deletion means for other tables; it is refused while anything is in its way."""

    along: tuple[Count, ...]
    in_the_way: tuple[Count, ...]

    @property
    def total(self) -> int:
        return sum(each.rows for each in self.along)


async def foretell_deletion(
    session: AsyncSession, shape: Shape, tenant_id: UUID, keys: Sequence[tuple[str, ...]]
) -> Fate:
    """Count, per table, the rows that would go along, and those that refuse it.

    Tables come parents first, so what is doomed above is known when a table's turn comes.
    """
    chosen = or_(*(with_key(shape, key) for key in keys))
    doomed: Doomed = {shape.table: and_(*own_rows(shape, tenant_id), chosen)}
    for table in METADATA.sorted_tables:
        goes = [_points_at(each, doomed) for each in _into(table, doomed) if _cascades(each)]
        if goes:
            doomed[table] = or_(*goes)
    along, in_the_way = [], []
    for table in METADATA.sorted_tables:
        if shape_of(str(table)).why_unreadable:
            continue
        if table in doomed and table is not shape.table:
            along.append(Count(str(table), await _count(session, table, doomed[table])))
        stays = [_points_at(each, doomed) for each in _into(table, doomed) if not _cascades(each)]
        if stays:
            spared = not_(func.coalesce(doomed.get(table, false()), false()))
            in_the_way.append(Count(str(table), await _count(session, table, or_(*stays), spared)))
    return Fate(
        tuple(each for each in along if each.rows), tuple(each for each in in_the_way if each.rows)
    )


def _into(table: Table, doomed: Doomed) -> list[ForeignKeyConstraint]:
    """List a table's foreign keys that lead to tables with doomed rows, and not to itself."""
    return [
        each
        for each in sorted(table.foreign_key_constraints, key=lambda each: str(each.name))
        if each.referred_table in doomed and each.referred_table is not table
    ]


def _cascades(constraint: ForeignKeyConstraint) -> bool:
    return constraint.ondelete == "CASCADE"


def _points_at(constraint: ForeignKeyConstraint, doomed: Doomed) -> ColumnElement[bool]:
    parent = constraint.referred_table
    here = tuple_(*(element.parent for element in constraint.elements))
    there = select(*(element.column for element in constraint.elements)).where(doomed[parent])
    return here.in_(there)


async def _count(session: AsyncSession, table: Table, *conditions: ColumnElement[bool]) -> int:
    counted = select(func.count()).select_from(table).where(*conditions)
    return await session.scalar(counted) or 0
