"""One round over the sources: who is due is asked, what came is stored, who failed waits longer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Literal, Protocol

import structlog
from sqlalchemy import func, select, update

from viral.errors import BadInput, ViralError
from viral.features.trends import TrendRow, import_trends
from viral.features.trends.categories import guess_category
from viral.features.trends.history import let_go
from viral.features.trends.kinds import LONGEST_WAIT, kinds
from viral.features.trends.sources import find_source
from viral.schema.content import Trend, TrendSource

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.database.engine import Database

log = structlog.get_logger(__name__)

Status = Literal["fetched", "unchanged", "failed", "waiting", "removed"]
# Whoever asks a source has it for so long; if they die, it is asked again after that.
CLAIM = timedelta(minutes=5)
# A server that asks for more is asked again after that.
LONGEST_ASKED = 7 * LONGEST_WAIT
LONGEST_ERROR = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A source as its reader sees it; `at` is the database's time."""

    name: str
    kind: str
    url: str
    category: str | None
    region: str | None
    etag: str | None
    last_modified: str | None
    failures: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a source answered.

    `rows` is None when nothing changed since `etag` and `last_modified`; a category of "" there is
    unknown. A `refusal` says why there is nothing, and `wait_s` how long the server wants to be
    left alone.
    """

    rows: tuple[TrendRow, ...] | None = None
    left_out: int = 0
    etag: str | None = None
    last_modified: str | None = None
    refusal: str | None = None
    wait_s: float = 0.0


class SourceReader(Protocol):
    """Asks one source, in bounded time; a ViralError is a failure of that source alone."""

    async def read(self, asked: Asked) -> Reading:
        """Ask a source for its trends."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one source in a round. `guessed` trends had no known word and no category."""

    name: str
    status: Status
    new: int = 0
    refreshed: int = 0
    same: int = 0
    left_out: int = 0
    guessed: int = 0
    error: str | None = None
    next_at: datetime | None = None


def _ignore(_: Outcome) -> None:
    """Tell nobody."""


async def fetch_trends(
    system: Database,
    reader: SourceReader,
    *,
    name: str | None = None,
    tell: Callable[[Outcome], None] = _ignore,
) -> list[Outcome]:
    """Ask all enabled sources that are due, or the named one, and store what they say.

    Sources of one kind are asked one after the other, with the kind's pause between them; kinds
    at the same time. No transaction is open while a source is asked.
    """
    async with system.session_without_tenant() as session:
        now: datetime = (await session.execute(select(func.now()))).scalar_one()
        await let_go(session, now=now)
        sources = await _enabled(session, name)
        of_kind = {
            kind: [each.name for each in group]
            for kind, group in groupby(sources, key=lambda each: each.kind)
        }
        counted = select(TrendSource.kind, func.count().label("sharers")).where(
            TrendSource.is_enabled
        )
        grouped = await session.execute(counted.group_by(TrendSource.kind))
        counts = {row.kind: row.sharers for row in grouped}

    async def ask(kind: str, names: Sequence[str]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for place, each in enumerate(names):
            if place and outcomes[-1].status != "waiting":
                await asyncio.sleep(kinds()[kind].pause_s)
            outcomes.append(await _fetch(system, reader, each, sharers=counts[kind]))
            tell(outcomes[-1])
        return outcomes

    # A fault of ours in one kind must not stop the others; it is raised when all are done.
    rounds = await asyncio.gather(
        *(ask(kind, names) for kind, names in of_kind.items()), return_exceptions=True
    )
    outcomes: list[Outcome] = []
    for each in rounds:
        if isinstance(each, BaseException):
            raise each
        outcomes += each
    return sorted(outcomes, key=lambda each: each.name)


async def _enabled(session: AsyncSession, name: str | None) -> Sequence[TrendSource]:
    if name is not None:
        source = await find_source(session, name)
        if not source.is_enabled:
            raise BadInput(
                f"The source {name} is disabled.", hint=f"viral trends sources enable {name}"
            )
        return [source]
    by_kind = select(TrendSource).order_by(TrendSource.kind, TrendSource.name)
    return (await session.scalars(by_kind.where(TrendSource.is_enabled))).all()


async def _fetch(system: Database, reader: SourceReader, name: str, *, sharers: int) -> Outcome:
    async with system.session_without_tenant() as session:
        asked = await _claim(session, name)
        if asked is None:
            next_at = await session.scalar(
                select(TrendSource.next_fetch_at).where(TrendSource.name == name)
            )
            status: Status = "removed" if next_at is None else "waiting"
            return Outcome(name=name, status=status, next_at=next_at)
    try:
        reading = await reader.read(asked)
    except ViralError as error:
        reading = Reading(refusal=f"{error.message} {error.hint}".strip())
    async with system.session_without_tenant() as session:
        outcome = await _store(session, asked, reading, sharers=sharers)
    log.info(
        "trends.fetched",
        source=name,
        kind=asked.kind,
        status=outcome.status,
        new=outcome.new,
        refreshed=outcome.refreshed,
    )
    return outcome


async def _claim(session: AsyncSession, name: str) -> Asked | None:
    """Take a source that is due, so that nobody else asks it at the same time."""
    claimed = await session.execute(
        update(TrendSource)
        .where(
            TrendSource.name == name,
            TrendSource.is_enabled,
            TrendSource.next_fetch_at <= func.now(),
        )
        .values(next_fetch_at=func.now() + CLAIM)
        .returning(TrendSource, func.now())
        .execution_options(synchronize_session=False)
    )
    row = claimed.one_or_none()
    if row is None:
        return None
    source, at = row
    return Asked(
        name=source.name,
        kind=source.kind,
        url=source.url or "",
        category=source.category,
        region=source.region,
        etag=source.etag,
        last_modified=source.last_modified,
        failures=source.failures,
        at=at,
    )


async def _store(session: AsyncSession, asked: Asked, reading: Reading, *, sharers: int) -> Outcome:
    """Store a reading and when the source is due again, unless the source is gone by now."""
    failures = 0 if reading.refusal is None else asked.failures + 1
    kind = kinds()[asked.kind]
    wait = kind.back_off(sharers, failures=failures) if failures else kind.interval(sharers)
    if reading.wait_s > 0:
        asked_s = min(reading.wait_s, LONGEST_ASKED.total_seconds())
        wait = max(wait, timedelta(seconds=asked_s))
    values: dict[str, object] = {
        "next_fetch_at": asked.at + wait,
        "failures": failures,
        "last_error": reading.refusal and reading.refusal[:LONGEST_ERROR],
    }
    if reading.refusal is None:
        values |= {"fetched_at": asked.at}
    if reading.rows is not None:
        values |= {"etag": reading.etag, "last_modified": reading.last_modified}
    kept = await session.scalar(
        update(TrendSource)
        .where(TrendSource.name == asked.name)
        .values(values)
        .returning(TrendSource.name)
    )
    if kept is None:
        return Outcome(name=asked.name, status="removed")
    outcome = Outcome(name=asked.name, status="unchanged", next_at=asked.at + wait)
    if reading.refusal is not None:
        return replace(outcome, status="failed", error=reading.refusal[:LONGEST_ERROR])
    if reading.rows is None:
        return outcome
    rows, guessed = _categorised(reading.rows, asked)
    new, refreshed = await _differences(session, asked.name, rows)
    await import_trends(session, rows, now=asked.at)
    return replace(
        outcome,
        status="fetched",
        new=new,
        refreshed=refreshed,
        same=len(rows) - new - refreshed,
        left_out=reading.left_out,
        guessed=guessed,
    )


def _categorised(rows: Sequence[TrendRow], asked: Asked) -> tuple[list[TrendRow], int]:
    """Give each row its category; count those that stand under one for want of any sign."""
    found: dict[str, TrendRow] = {}
    guessed = 0
    for row in rows:
        own = row.category or asked.category
        guess = guess_category(row.topic, row.keywords, own=own)
        guessed += guess.confidence == "low" and own is None
        found[row.external_id] = replace(
            row, category=guess.category, source=asked.name, region=row.region or asked.region
        )
    return list(found.values()), guessed


async def _differences(
    session: AsyncSession, source: str, rows: Sequence[TrendRow]
) -> tuple[int, int]:
    """Count the rows that are new, and those that are known with other figures or words."""
    ids = [row.external_id for row in rows]
    stored = select(Trend.external_id, Trend.topic, Trend.score, Trend.engagement_count)
    found = await session.execute(stored.where(Trend.source == source, Trend.external_id.in_(ids)))
    known = {row[0]: tuple(row[1:]) for row in found}
    new = sum(row.external_id not in known for row in rows)
    changed = sum(
        row.external_id in known
        and known[row.external_id] != (row.topic, row.score, row.engagement_count)
        for row in rows
    )
    return new, changed
