"""Moments of a cron expression in a time zone, as Debian's cron reads it (cronsim)."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from viral.errors import BadInput

FIELDS = 5
HINT = "Write minute, hour, day, month, weekday, such as '0 3 * * *' for 3 at night."


def next_moment(cron: str, time_zone: str, *, after: datetime) -> datetime:
    """Return the first moment after another, in UTC; raise BadInput for what is no expression.

    Where clocks go forward, a moment in the hour that is left out comes right after it; where they
    go back, a fixed hour comes once.
    """
    if (fields := len(cron.split())) != FIELDS:
        raise BadInput(f"{cron!r} has {fields} fields, not {FIELDS}.", hint=HINT)
    try:
        moments = CronSim(cron, after.astimezone(ZoneInfo(time_zone)))
        # In the hour that comes twice, it begins with what has been the first time.
        return next(then for moment in moments if (then := moment.astimezone(UTC)) > after)
    except (CronSimError, StopIteration) as error:
        raise BadInput(
            f"{cron!r} is no cron expression: {error or 'it never comes'}.",
            hint=HINT,
        ) from error
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadInput(
            f"There is no time zone {time_zone!r}.", hint="Write it as Europe/Berlin or UTC."
        ) from error
