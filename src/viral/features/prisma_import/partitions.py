"""The months of measurements that are older, or further ahead, than the product made itself."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import text

from viral.schema.operations import ApiUsage, SystemMetric
from viral.schema.results import AnalyticsSnapshot
from viral.schema.security import OWNER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy.ext.asyncio import AsyncConnection

    from viral.features.prisma_import.steps import Entry
    from viral.schema.base import Base

TIMES: dict[type[Base], str] = {
    AnalyticsSnapshot: "snapshot_at",
    ApiUsage: "requested_at",
    SystemMetric: "recorded_at",
}


class Partitions:
    """Makes months as `viral.make_partitions` does, in the same form and with the same names."""

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
                months[f"{entry.table.__tablename__}_{moment:%Y%m}"] = entry.table, moment
        missing = [name for name in sorted(months) if name not in self._known]
        made = [name for name in missing if await self._make(name, *months[name])]
        self._known |= set(missing)
        return made

    async def _make(self, name: str, table: type[Base], moment: datetime) -> bool:
        async with self._migrator.begin():
            await self._migrator.execute(text(f"SET LOCAL ROLE {OWNER}"))
            await self._migrator.execute(text("SET LOCAL lock_timeout = '10s'"))
            if await self._migrator.scalar(
                text(f"SELECT to_regclass('public.{name}') IS NOT NULL")
            ):
                return False
            for statement in _statements(name, table.__tablename__, moment):
                await self._migrator.execute(text(statement))
        return True


def _statements(name: str, parent: str, moment: datetime) -> Iterator[str]:
    first = moment.date().replace(day=1)
    after = (first + timedelta(days=32)).replace(day=1)
    yield (
        f"CREATE TABLE public.{name} PARTITION OF public.{parent}"
        f" FOR VALUES FROM ('{first} 00:00:00+00') TO ('{after} 00:00:00+00')"
    )
    yield f"ALTER TABLE public.{name} ENABLE ROW LEVEL SECURITY"
    yield f"ALTER TABLE public.{name} FORCE ROW LEVEL SECURITY"
