"""Where a page of a list ended, sealed for one list of one tenant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar
from uuid import UUID

import msgspec

from viral.errors import BadInput
from viral.web.site import Site

Kind = TypeVar("Kind", bound=msgspec.Struct)
Row = TypeVar("Row")


class Place(msgspec.Struct, frozen=True, array_like=True):
    """The last row of a page, in a list that goes back in time."""

    created_at: datetime
    id: UUID


class Made(Protocol):
    """A row that has the moment in which it was made."""

    @property
    def created_at(self) -> datetime: ...
    @property
    def id(self) -> UUID: ...


def when_made(row: Made) -> Place:
    """Tell where a row stands in a list that goes back in time."""
    return Place(row.created_at, row.id)


def cut_page(
    site: Site,
    tenant_id: UUID,
    found: Sequence[Row],
    limit: int,
    place: Callable[[Row], msgspec.Struct],
    *,
    purpose: str,
) -> tuple[Sequence[Row], str | None]:
    """Return a page's rows, and a cursor to the next page where one row more was found.

    `place` tells where in the list a row stands, and `purpose` names the list.
    """
    rows = found[:limit]
    if len(found) <= limit:
        return rows, None
    return rows, cursor_at(site, tenant_id, place(rows[-1]), purpose=purpose)


def cursor_at(site: Site, tenant_id: UUID, place: msgspec.Struct, *, purpose: str) -> str:
    """Seal a place."""
    return site.seals.seal(purpose, str(tenant_id), msgspec.json.encode(place))


def place_of(
    site: Site, tenant_id: UUID, cursor: str | None, *, purpose: str
) -> tuple[datetime, UUID] | None:
    """Open a cursor of a list that goes back in time, as `place_at` does."""
    place = place_at(site, tenant_id, cursor, Place, purpose=purpose)
    return None if place is None else (place.created_at, place.id)


def place_at(
    site: Site, tenant_id: UUID, cursor: str | None, kind: type[Kind], *, purpose: str
) -> Kind | None:
    """Open a cursor; BadInput when it was made for another tenant, for another list, or by hand."""
    if cursor is None:
        return None
    content = site.seals.open(purpose, str(tenant_id), cursor)
    if content is None:
        raise BadInput("The cursor is not one of yours.", hint="Begin without a cursor.")
    return msgspec.json.decode(content, type=kind)
