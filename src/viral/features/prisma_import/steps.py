"""The parts of an import: a step reads one table of the source and makes rows of ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from viral.features.prisma_import.fields import SourceRow, Unusable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from viral.features.prisma_import.report import Report
    from viral.schema.base import Base

NOT_IMPORTED = "points to no row that is imported"


class Entry(NamedTuple):
    """One row of ours, by column, and the id of the source row that it comes from."""

    table: type[Base]
    source_id: str
    values: dict[str, object]


class KnownConcept(NamedTuple):
    """A concept that others may refer to."""

    id: UUID
    title: str
    made_at: datetime


class KnownVideo(NamedTuple):
    """A video that posts and snapshots may refer to."""

    id: UUID
    tenant_id: UUID
    concept: str


class KnownKey(NamedTuple):
    """An API key that requests may name in plain text."""

    id: UUID
    tenant_id: UUID
    user_id: UUID


class KnownCritique(NamedTuple):
    """A critique that adjustments may rest on."""

    id: UUID
    tenant_id: UUID
    platform: str


@dataclass(slots=True)
class Known:
    """What one pass has accepted so far, by the source's ids; later rows refer to it.

    `taken` holds the values that may occur once, with the id of the row that has them.
    """

    report: Report
    now: datetime
    key_hmac: Callable[[str], bytes]
    taken: dict[tuple[object, ...], UUID]
    slugs: dict[UUID, str]
    tenants: dict[str, UUID] = field(default_factory=dict)
    keys: dict[str, KnownKey] = field(default_factory=dict)
    concepts: dict[tuple[UUID, str], KnownConcept] = field(default_factory=dict)
    variants: dict[tuple[UUID, str, str], UUID] = field(default_factory=dict)
    videos: dict[str, KnownVideo] = field(default_factory=dict)
    accounts: dict[str, tuple[UUID, UUID]] = field(default_factory=dict)
    posted: dict[tuple[UUID, str, str], datetime] = field(default_factory=dict)
    critiques: dict[str, KnownCritique] = field(default_factory=dict)

    def tenant_of(self, row: SourceRow) -> UUID:
        """Return the tenant of a row that must have one."""
        tenant_id = self.tenants.get(row.text("tenantId"))
        if tenant_id is None:
            raise Unusable("tenantId", NOT_IMPORTED)
        return tenant_id

    def take(self, column: str, *key: object, row_id: UUID) -> None:
        """Take a value that may occur once; refuse it when another row has it."""
        if self.taken.setdefault((column, *key), row_id) != row_id:
            raise Unusable(column, "another row has the same")


@dataclass(frozen=True, slots=True)
class Step:
    """One table of the source, in an order in which nothing refers forward.

    `query` gives its rows with a column `id`; `tables` are those that its entries go to,
    parents first.
    """

    name: str
    make: Callable[[SourceRow, Known], list[Entry]]
    tables: tuple[type[Base], ...]
    order: str
    query: str = ""

    @property
    def rows(self) -> str:
        """The query of all rows."""
        return self.query or f'SELECT * FROM "{self.name}"'  # noqa: S608 - names are ours
