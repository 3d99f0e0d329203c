"""Moments that programs send: with their time zone, and within what the database keeps."""

from __future__ import annotations

from datetime import UTC, datetime

from viral.errors import BadInput


def in_utc(moment: datetime) -> datetime:
    """Return a moment in UTC; BadInput without an offset, and at the ends of time.

    Without one it would mean another moment on another machine.
    """
    if moment.tzinfo is None:
        raise BadInput(
            f"{moment.isoformat()} names no time zone.", hint=f"Write {moment.isoformat()}Z."
        )
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise BadInput(
            f"{moment.isoformat()} cannot be kept.", hint="Choose a year from 2 to 9998."
        ) from error
