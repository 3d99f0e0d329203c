"""Moments and durations as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from viral.errors import BadInput

_DURATION = re.compile(
    r"(?P<number>[1-9][0-9]{0,4})\s*(?P<unit>[smhdw])"
    r"(?:(?<=s)ec(?:ond)?s?|(?<=m)in(?:ute)?s?|(?<=h)ours?|(?<=d)ays?|(?<=w)eeks?)?(?: ago)?"
)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def past(text: str, now: datetime) -> datetime:
    """Read a moment that has been: ISO 8601, without a zone in the machine's, or `2h` ago."""
    moment = _moment(text, now, sign=-1)
    if moment > now:
        raise BadInput(f"{text!r} has not come yet.", hint="Name a moment of the past.")
    return moment


def future(text: str, now: datetime) -> datetime:
    """Read a moment to come: ISO 8601, or a duration from now."""
    moment = _moment(text, now, sign=1)
    if moment <= now:
        raise BadInput(f"{text!r} is over already.", hint="Name a duration, such as 7d.")
    return moment


def age(duration: timedelta) -> str:
    """Write a duration in its largest unit."""
    seconds = int(duration.total_seconds())
    return next((f"{seconds // size} {unit}" for size, unit in _STEPS if seconds >= size), "now")


def _moment(text: str, now: datetime, *, sign: int) -> datetime:
    if found := _DURATION.fullmatch(text.strip()):
        return now + sign * timedelta(**{_UNITS[found["unit"]]: int(found["number"])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(
            f"{text!r} is no moment.", hint="Write 2026-11-23T14:05:00, or a duration such as 2h."
        ) from None
    return moment.astimezone(UTC)
