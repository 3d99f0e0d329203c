"""Where a page of a list ended, sealed for one list of one tenant."""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec

from viral.errors import BadInput
from viral.web.site import Site

Kind = TypeVar("Kind", bound=msgspec.Struct)


class Place(msgspec.Struct, frozen=True, array_like=True):
    """The last row of a page, in a list that goes back in time."""

    created_at: datetime
    id: UUID


def cursor_at(site: Site, tenant_id: UUID, place: msgspec.Struct, *, purpose: str) -> str:
    """Seal a place; `purpose` names the list."""
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
