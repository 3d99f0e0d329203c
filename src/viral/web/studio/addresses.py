"""Addresses of Studio's pages: what a grid shows stands in them, so back, reload, sharing work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode
from uuid import UUID

import msgspec

from viral.errors import BadInput
from viral.features.studio.rows import OPERATORS, Filter, Operator, Place, Query
from viral.features.studio.shapes import Shape
from viral.web.site import Site

_OPERATORS: dict[str, Operator] = {each.replace(" ", "-"): each for each in OPERATORS}


def table_address(name: str) -> str:
    return f"/tables/{quote(name)}"


def row_address(name: str, key: str, page: str = "row") -> str:
    return f"{table_address(name)}/{page}?{urlencode({'key': key})}"


def slug(operator: Operator) -> str:
    """Write a condition as one word of an address."""
    return operator.replace(" ", "-")


def where_text(each: Filter) -> str:
    """Write a filter as one part of an address: `status:is:queued`."""
    return f"{each.column}:{slug(each.operator)}:{each.text}"


def read_filter(text: str) -> Filter:
    """Read a filter from its part of an address."""
    column, _, rest = text.partition(":")
    operator, _, value = rest.partition(":")
    if operator not in _OPERATORS:
        raise BadInput(f"There is no condition {operator[:40]!r}.")
    return Filter(column, _OPERATORS[operator], value)


@dataclass(frozen=True, slots=True)
class GridAddress:
    """The address of a grid; a cursor in it is sealed for one tenant, one table and one order."""

    shape: Shape
    query: Query

    def url(self, *, cursor: str = "") -> str:
        """Write it; without a cursor it leads to the first page."""
        pairs = [("where", where_text(each)) for each in self.query.filters]
        if self.query.sort is not None:
            pairs.append(("sort", ("-" if self.query.is_descending else "") + self.query.sort))
        if cursor:
            pairs.append(("cursor", cursor))
        return table_address(self.shape.name) + (f"?{urlencode(pairs)}" if pairs else "")

    def sorted_by(self, column: str, *, is_descending: bool) -> str:
        query = replace(self.query, sort=column, is_descending=is_descending, place=None)
        return GridAddress(self.shape, query).url()

    def without(self, filter_: Filter) -> str:
        left = tuple(each for each in self.query.filters if each != filter_)
        return GridAddress(self.shape, replace(self.query, filters=left, place=None)).url()

    def seal(self, site: Site, tenant_id: UUID, place: Place) -> str:
        """Make a cursor."""
        return site.seals.seal(self._purpose, str(tenant_id), msgspec.json.encode(place))

    def open(self, site: Site, tenant_id: UUID, cursor: str) -> Place:
        """Read a cursor; BadInput when it is another tenant's, another order's, or made by hand."""
        content = site.seals.open(self._purpose, str(tenant_id), cursor)
        if content is None:
            raise BadInput("The cursor is not one of yours.", hint="Begin without a cursor.")
        return msgspec.json.decode(content, type=Place)

    @property
    def _purpose(self) -> str:
        order = f"{self.query.sort} {self.query.is_descending}" if self.query.sort else "by key"
        return f"studio {self.shape.name} {order}"
