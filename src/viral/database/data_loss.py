"""What a migration would lose, counted before it is lost."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from viral.database.backfill import rls_suspended
from viral.database.faults import sqlstate_of
from viral.database.scripts import Risk, Step
from viral.errors import DataLossRefused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from viral.database.steps import AnyStep

# Makes a copy to come back to, under a name, and says where it is.
RestorePoint = Callable[[str], Awaitable[str]]

# undefined_table, undefined_column: a step that is still to come makes them.
_NOT_THERE = {"42P01", "42703"}
_DROP_TABLE = re.compile(r"^\s*DROP TABLE (?:IF EXISTS )?([^;]+?)(?: CASCADE)?;", re.MULTILINE)
_NOT_PERMITTED = "42501"
# A view knows the tables of its query, however the query is written.
_VIEW = "viral.at_risk"
_TABLES = """
SELECT DISTINCT c.oid::regclass::text
FROM pg_rewrite AS w
JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
JOIN pg_class AS c ON d.refclassid = 'pg_class'::regclass AND c.oid = d.refobjid
WHERE w.ev_class = :view ::regclass AND c.relkind IN ('r', 'p') AND c.relrowsecurity
  AND pg_get_userbyid(c.relowner) = 'viral_owner'
"""


def risks_of(step: AnyStep) -> tuple[Risk, ...]:
    """Return what a step says it would lose; where it says nothing, the tables that it drops."""
    if step.risks or not isinstance(step, Step):
        return step.risks
    tables = [name.strip() for names in _DROP_TABLE.findall(step.sql) for name in names.split(",")]
    return tuple(Risk(f"rows of {name}", f"SELECT count(*) FROM {name}") for name in tables)  # noqa: S608 - names from the migration itself


async def count_at_risk(connection: AsyncConnection, risk: Risk) -> int:
    """Count in the caller's transaction; what viral_owner may not read belongs to viral_auth."""
    try:
        async with connection.begin_nested():
            return int((await connection.exec_driver_sql(risk.query)).scalar_one())
    except DBAPIError as error:
        if sqlstate_of(error) != _NOT_PERMITTED:
            raise
    await connection.exec_driver_sql("SET LOCAL ROLE viral_auth")
    count = int((await connection.exec_driver_sql(risk.query)).scalar_one())
    await connection.exec_driver_sql("SET LOCAL ROLE viral_owner")
    return count


class LossGuard:
    """Counts what is at risk: refuses, or makes a restore point once and lets it be lost."""

    def __init__(
        self,
        connection: AsyncConnection,
        *,
        is_accepted: bool,
        restore_point: RestorePoint | None,
        name: str,
    ) -> None:
        self._connection = connection
        self._is_accepted = is_accepted
        self._make_restore_point = restore_point
        self._name = name
        self.restore_point: str | None = None

    async def look_ahead(self, risks: Iterable[Risk]) -> None:
        """Count before anything is done; what is not there yet has nothing to lose."""
        there = [risk for risk in risks if await self._is_there(risk)]
        await self.check(there)

    async def check(self, risks: Iterable[Risk]) -> None:
        """Count, and raise DataLossRefused for a loss that nobody accepted."""
        counts = [(risk, await self._count(risk)) for risk in risks]
        lost = [f"{risk.what}: {count:,}" for risk, count in counts if count]
        if not lost:
            return
        if not self._is_accepted:
            raise DataLossRefused(f"This would be lost: {'; '.join(lost)}.")
        if self._make_restore_point is not None and self.restore_point is None:
            self.restore_point = await self._make_restore_point(self._name)

    async def _count(self, risk: Risk) -> int:
        connection = self._connection
        async with rls_suspended(connection, *await self._tables_of(risk)), connection.begin():
            return await count_at_risk(connection, risk)

    async def _is_there(self, risk: Risk) -> bool:
        try:
            await self._tables_of(risk)
        except DBAPIError as error:
            if sqlstate_of(error) in _NOT_THERE:
                return False
            raise
        return True

    async def _tables_of(self, risk: Risk) -> list[str]:
        """List the tables of viral_owner that a query reads; viral_auth sees its own rows."""
        async with self._connection.begin() as transaction:
            await self._connection.exec_driver_sql(f"CREATE VIEW {_VIEW} AS {risk.query}")
            tables = list(await self._connection.scalars(text(_TABLES), {"view": _VIEW}))
            await transaction.rollback()
        return tables
