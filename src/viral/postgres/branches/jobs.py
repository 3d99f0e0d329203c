"""The jobs that a copy of a database brings along: its parent runs them, the copy does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.postgres.branches.clone import administering

if TYPE_CHECKING:
    from viral.database.urls import ServerUrl

REASON = "copied while its parent had yet to run it; `viral jobs retry` runs it here, too"
_THERE = "SELECT to_regclass('public.job_queue') IS NOT NULL"
_CANCEL = """
UPDATE public.job_queue
SET status = 'canceled', worker_id = NULL, completed_at = now(), error_message = $1
WHERE status IN ('pending', 'blocked', 'running')
"""
# What names reserved jobs makes lists show them as running.
_LET_GO = """
DO $$ BEGIN
  IF to_regclass('public.job_reservations') IS NOT NULL THEN
    DELETE FROM public.job_reservations;
  END IF;
END $$
"""


async def cancel_copied_jobs(admin: ServerUrl, database: str) -> None:
    """Cancel what waits or runs in a copy that nobody uses yet, with the reason.

    Otherwise a worker of the branch would do once more what its parent's worker does: call Claude
    or a platform for the same order. A database without a queue has none.
    """
    async with administering(admin.for_database(database)) as connection, connection.transaction():
        if await connection.fetchval(_THERE):
            await connection.execute(_CANCEL, REASON)
            await connection.execute(_LET_GO)
