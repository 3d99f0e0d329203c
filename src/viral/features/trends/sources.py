"""Where trends are fetched from: the table of sources, and the schedule that lives by it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sqlalchemy import delete, exists, select, text
from sqlalchemy.dialects.postgresql import insert

from viral.errors import AlreadyExists, BadInput, NotFound
from viral.features.jobs.schedules import Schedule, add_schedule
from viral.features.jobs.types import JobType
from viral.features.trends.kinds import kind_of, region_of
from viral.schema.content import TrendSource
from viral.schema.operations import JobSchedule
from viral.schema.vocabulary import category_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

TRENDS_FETCH = JobType("trends-fetch", time_limit_s=900.0)
# Each source has an interval of its own; the schedule only looks which ones are due.
SCHEDULE = Schedule("trends-fetch", TRENDS_FETCH, "*/15 * * * *", missed="skip")
LONGEST_URL = 2000
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}", re.ASCII)
_LIST = "See `viral trends sources list`."


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSource:
    """A source as it is asked for; `url` is for the kinds that have none of their own."""

    name: str
    kind: str
    url: str | None = None
    section: str | None = None
    region: str | None = None
    category: str | None = None


async def list_sources(session: AsyncSession) -> Sequence[TrendSource]:
    """List all sources by name."""
    return (await session.scalars(select(TrendSource).order_by(TrendSource.name))).all()


async def find_source(session: AsyncSession, name: str) -> TrendSource:
    """Find one source; it is locked until the session ends."""
    found = await session.scalar(
        select(TrendSource).where(TrendSource.name == name).with_for_update()
    )
    if found is None:
        raise NotFound(f"There is no source {name[:60]!r}.", hint=_LIST)
    return found


async def add_source(session: AsyncSession, wanted: NewSource) -> TrendSource:
    """Make a source, enabled and due; the schedule begins with the first one."""
    if not _NAME.fullmatch(wanted.name):
        raise BadInput(
            f"{wanted.name[:60]!r} cannot be a source's name.",
            hint="Use lower-case letters, digits and -, at most 60.",
        )
    kind = kind_of(wanted.kind)
    if kind.url:
        if wanted.url is not None:
            raise BadInput(
                f"A source of the kind {kind.name} has its own address.",
                hint="Leave --url out; choose with --section and --region.",
            )
        url = kind.address(section=wanted.section, region=wanted.region)
    else:
        if wanted.section is not None:
            raise BadInput(f"A source of the kind {kind.name} has no sections.")
        url = _address(wanted.url, may_be_file=kind.name == "csv")
    await _take_turn(session)
    made: TrendSource | None = await session.scalar(
        insert(TrendSource)
        .values(
            name=wanted.name,
            kind=kind.name,
            url=url,
            category=category_of(wanted.category) if wanted.category else None,
            region=region_of(wanted.region) if wanted.region else None,
        )
        .on_conflict_do_nothing()
        .returning(TrendSource)
    )
    if made is None:
        raise AlreadyExists(f"There is a source {wanted.name!r}.", hint=_LIST)
    await _keep_schedule(session)
    return made


async def enable_source(session: AsyncSession, name: str) -> TrendSource:
    """Let a source be fetched, at once and with a clean slate."""
    await _take_turn(session)
    source = await find_source(session, name)
    if not source.is_enabled:
        source.is_enabled = True
        source.failures, source.last_error = 0, None
    await session.flush()
    await _keep_schedule(session)
    return source


async def disable_source(session: AsyncSession, name: str) -> TrendSource:
    """Let a source be fetched no more; what it named stays."""
    await _take_turn(session)
    source = await find_source(session, name)
    source.is_enabled = False
    await session.flush()
    await _keep_schedule(session)
    return source


async def remove_source(session: AsyncSession, name: str) -> None:
    """Forget a source; what it named stays."""
    await _take_turn(session)
    await find_source(session, name)
    await session.execute(delete(TrendSource).where(TrendSource.name == name))
    await _keep_schedule(session)


async def _take_turn(session: AsyncSession) -> None:
    """Wait for others who change sources; each would judge the schedule by what was before."""
    await session.execute(text("LOCK TABLE trend_sources IN SHARE ROW EXCLUSIVE MODE"))


async def _keep_schedule(session: AsyncSession) -> None:
    """Make the schedule where a source is enabled, and take it away where none is.

    One that is there stays as it is: somebody may have paused it, or changed its moments.
    """
    is_wanted = await session.scalar(select(exists().where(TrendSource.is_enabled)))
    is_there = await session.scalar(select(exists().where(JobSchedule.name == SCHEDULE.name)))
    if is_wanted and not is_there:
        await add_schedule(session, SCHEDULE)
    elif is_there and not is_wanted:
        await session.execute(delete(JobSchedule).where(JobSchedule.name == SCHEDULE.name))


def _address(url: str | None, *, may_be_file: bool) -> str:
    """Check the address of a feed or a file; what may be called is decided by each call anew."""
    if not url or len(url) > LONGEST_URL or not url.isprintable():
        raise BadInput(
            "A source of this kind needs its address.", hint="Name it with --url, in one line."
        )
    try:
        parts = urlsplit(url)
        is_web = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        is_web = False
    if is_web or (may_be_file and url.startswith("/")):
        return url
    raise BadInput(
        "That is no address of a source.",
        hint="Write http:// or https://, or for csv the whole path of a file, from / on.",
    )
