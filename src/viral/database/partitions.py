"""Partitions of a month, in the form and with the names that `viral.make_partitions` gives them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import text

from viral.schema.security import OWNER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from sqlalchemy.ext.asyncio import AsyncConnection


def partition_name(parent: str, day: date) -> str:
    """Name the partition that holds the month of a day."""
    return f"{parent}_{day:%Y%m}"


async def make_month(migrator: AsyncConnection, parent: str, day: date) -> bool:
    """Make the partition of a day's month in a transaction of its own; False if it was there."""
    name = partition_name(parent, day)
    async with migrator.begin():
        await migrator.execute(text(f"SET LOCAL ROLE {OWNER}"))
        await migrator.execute(text("SET LOCAL lock_timeout = '10s'"))
        if await migrator.scalar(text(f"SELECT to_regclass('public.{name}') IS NOT NULL")):
            return False
        for statement in _statements(name, parent, day):
            await migrator.execute(text(statement))
    return True


def _statements(name: str, parent: str, day: date) -> Iterator[str]:
    first = day.replace(day=1)
    after = (first + timedelta(days=32)).replace(day=1)
    yield (
        f"CREATE TABLE public.{name} PARTITION OF public.{parent}"
        f" FOR VALUES FROM ('{first} 00:00:00+00') TO ('{after} 00:00:00+00')"
    )
    yield f"ALTER TABLE public.{name} ENABLE ROW LEVEL SECURITY"
    yield f"ALTER TABLE public.{name} FORCE ROW LEVEL SECURITY"
