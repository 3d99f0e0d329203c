"""Jobs that come by themselves: each moment of a cron expression once, whoever passes it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from viral.errors import BadInput
from viral.features.jobs.cron import next_moment
from viral.features.jobs.types import MAX_ATTEMPTS
from viral.schema.base import uuid7
from viral.worker.handlers import HANDLERS

if TYPE_CHECKING:
    from viral.database.engine import Database

log = structlog.get_logger(__name__)

# A moment passed by less than this was not missed, only late.
LATE = timedelta(minutes=1)
_FIRE = "SELECT viral.fire_schedule($1, $2, $3, $4, $5)"


async def fire_due(worker: Database) -> int:
    """Pass the moments that have come by the database's clock; return how many jobs were made.

    A moment that was missed is made up for once, however many there were, or left out, as the
    schedule says. Two workers at once: the second finds the moment passed.
    """
    fired = 0
    for row in await worker.call("SELECT * FROM viral.due_schedules()"):
        moment: datetime = row["moment"]
        is_wanted = row["missed"] == "once" or moment - row["due_at"] < LATE
        try:
            then = next_moment(row["cron"], row["time_zone"], after=moment)
        except BadInput as error:
            # The others must not wait for somebody to mend this one.
            log.warning("schedule.unreadable", schedule=row["name"], reason=error.message)
            continue
        job_id = uuid7() if is_wanted else None
        handled = HANDLERS.get(row["job_type"])
        tries = MAX_ATTEMPTS if handled is None else handled.job_type.max_attempts
        (passed,) = (await worker.call(_FIRE, row["id"], row["due_at"], then, job_id, tries))[0]
        fired += passed and is_wanted
    return fired
