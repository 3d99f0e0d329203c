"""The months of measurements that are older, or further ahead, than the product made itself."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from viral.database.partitions import make_month, partition_name
from viral.schema.operations import ApiUsage, SystemMetric
from viral.schema.results import AnalyticsSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from viral.features.prisma_import.steps import Entry
    from viral.schema.base import Base

TIMES: dict[type[Base], str] = {
    AnalyticsSnapshot: "snapshot_at",
    ApiUsage: "requested_at",
    SystemMetric: "recorded_at",
}


class Partitions:
    """Makes the months that an import needs, each looked for once."""

    def __init__(self, migrator: AsyncConnection) -> None:
        self._migrator = migrator
        self._known: set[str] = set()

    async def make_for(self, entries: Iterable[Entry]) -> list[str]:
        """Make the months that rows need; the names of those that were missing."""
        months = {}
        for entry in entries:
            if (column := TIMES.get(entry.table)) is not None:
                moment = entry.values[column]
                assert isinstance(moment, datetime)
                parent = entry.table.__tablename__
                months[partition_name(parent, moment)] = parent, moment.date()
        missing = [name for name in sorted(months) if name not in self._known]
        made = [name for name in missing if await make_month(self._migrator, *months[name])]
        self._known |= set(missing)
        return made
