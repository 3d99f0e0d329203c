"""Many rows in one statement: COPY is refused under row security, arrays are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from sqlalchemy import ARRAY, Table, bindparam, column, func, select
from sqlalchemy.dialects.postgresql import Insert, insert

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import TableValuedAlias

    from viral.schema.base import Base

# SQLAlchemy keeps the plain names of columns for its own parameters.
_PREFIX = "rows_"


def unnested(table: type[Base], names: Sequence[str]) -> TableValuedAlias:
    """Return parallel arrays, one parameter a column, as a table named `rows`."""
    types = {name: table.__table__.c[name].type for name in names}
    # One dimension: a list within is one JSON value, not a deeper array.
    arrays = [bindparam(_PREFIX + name, type_=ARRAY(types[name], dimensions=1)) for name in names]
    return (
        func.unnest(*arrays)
        .table_valued(*(column(name, types[name]) for name in names), name="rows")
        .render_derived()
    )


def bulk_insert(table: type[Base], names: Sequence[str]) -> Insert:
    """Return `INSERT ... SELECT FROM unnest(...)` for the named columns."""
    rows = select(unnested(table, names))
    # The table, not the class: the ORM would read the names as its own bulk insert.
    return insert(_core(table)).from_select(list(names), rows, include_defaults=False)


def as_arrays(rows: Iterable[Sequence[object]], names: Sequence[str]) -> dict[str, list[object]]:
    """Turn rows into the parameters of such a statement."""
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return {_PREFIX + name: list(each) for name, each in zip(names, columns, strict=True)}


def _core(table: type[Base]) -> Table:
    # Declared as any selectable; a mapped class of ours always stands for a table.
    return cast("Table", table.__table__)
