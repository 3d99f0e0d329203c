"""`viral trends`: what concepts are made from."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli import trend_sources
from viral.cli.output import err, out, print_json, print_table
from viral.settings import load_settings

if TYPE_CHECKING:
    from viral.features.trends import Topic
    from viral.features.trends.fetching import Outcome
    from viral.features.trends.files import TrendsFile

group = typer.Typer(no_args_is_help=True, help="Trends: what people talk about.")
group.add_typer(trend_sources.group, name="sources")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_BARS = "▁▂▃▄▅▆▇█"
_HISTORY = timedelta(days=7)
_POINTS = 12


@group.callback()
def _group() -> None:
    """Trends: what people talk about."""


@group.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV, JSON, or an RSS or Atom feed.")],
    category: Annotated[
        str | None, typer.Option("--category", help="For entries that name none.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Import trends from a file; one that its source named before is refreshed.

    Example: viral trends import trends.csv
    """
    found, stored = asyncio.run(_import(file, category))
    if as_json:
        rejects = [{"number": each.number, "reason": each.reason} for each in found.rejects]
        print_json({"stored": stored, "rejects": rejects})
    else:
        out.print(f"{stored:,} trends are in.")
        for reject in found.rejects[:20]:
            err.print(f"entry {reject.number} is left out: {reject.reason}", markup=False)
    if found.rejects:
        raise typer.Exit(1)


@group.command()
def fetch(
    source: Annotated[str | None, typer.Option("--source", help="This one alone.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask the enabled sources that are due for their trends; exit 1 when one fails.

    Example: viral trends fetch --source world-news
    """
    outcomes = asyncio.run(_fetch(source, is_told=not as_json))
    if as_json:
        print_json([asdict(each) for each in outcomes])
    elif not outcomes:
        out.print("No source is enabled. Add one: viral trends sources add --help")
    if any(each.status == "failed" for each in outcomes):
        raise typer.Exit(1)


@group.command("list")
def list_(
    category: Annotated[str | None, typer.Option("--category", help="One category.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="How many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the topics of the newest days, strongest first, with their scores of a week.

    Example: viral trends list --category food
    """
    rows = asyncio.run(_list(category, limit))
    if as_json:
        print_json([_topic_document(topic, history) for topic, history in rows])
        return
    if not rows:
        out.print("There is no trend. Import some, or add a source: viral trends --help")
        return
    print_table(
        ("topic", "category", "score", "per hour", "history", "sources", "seen (UTC)"),
        [
            (
                topic.trend.topic,
                topic.trend.category,
                topic.score,
                None if topic.trend.velocity is None else f"{topic.trend.velocity:+.1f}",
                sparkline(history),
                ", ".join(topic.sources),
                f"{topic.trend.observed_at.astimezone(UTC):%Y-%m-%d %H:%M}",
            )
            for topic, history in rows
        ],
    )


def sparkline(scores: list[float]) -> str:
    """Draw the last scores between their lowest and highest; a level line where they are one."""
    last = scores[-_POINTS:]
    if not last:
        return ""
    low, span = min(last), max(last) - min(last)
    steps = len(_BARS) - 1
    return "".join(_BARS[round((each - low) / span * steps) if span else 0] for each in last)


async def _import(file: Path, category: str | None) -> tuple[TrendsFile, int]:
    from viral.features.trends import import_trends
    from viral.features.trends.files import read_trends
    from viral.runtime import open_runtime

    found = read_trends(file, category=category)
    async with (
        open_runtime(load_settings()) as runtime,
        runtime.system.session_without_tenant() as session,
    ):
        return found, await import_trends(session, found.rows, now=runtime.clock())


async def _fetch(source: str | None, *, is_told: bool) -> list[Outcome]:
    from viral.adapters.trends.reader import open_reader
    from viral.features.trends.fetching import fetch_trends
    from viral.runtime import open_runtime

    def tell(outcome: Outcome) -> None:
        if is_told:
            out.print(_line(outcome), markup=False)

    async with open_runtime(load_settings()) as runtime, open_reader() as reader:
        return await fetch_trends(runtime.system, reader, name=source, tell=tell)


async def _list(category: str | None, limit: int) -> list[tuple[Topic, list[float]]]:
    from viral.features.trends import list_topics
    from viral.features.trends.history import history_of
    from viral.runtime import open_runtime
    from viral.schema.vocabulary import category_of

    wanted = category_of(category) if category else None
    async with (
        open_runtime(load_settings()) as runtime,
        runtime.system.session_without_tenant() as session,
    ):
        topics = await list_topics(session, limit=limit, category=wanted)
        since = runtime.clock() - _HISTORY
        history = await history_of(session, [each.trend.id for each in topics], since=since)
    return [(each, history.get(each.trend.id, [])) for each in topics]


def _line(outcome: Outcome) -> str:
    """Say in one line what became of a source."""
    counts = f"{outcome.new} new, {outcome.refreshed} refreshed, {outcome.same} same"
    if outcome.left_out:
        counts += f", {outcome.left_out} left out"
    if outcome.guessed:
        counts += f", {outcome.guessed} of no known category"
    words = {
        "fetched": counts,
        "unchanged": "nothing changed",
        "failed": f"failed: {outcome.error}",
        "waiting": "not due yet",
        "removed": "removed meanwhile",
    }[outcome.status]
    return f"{outcome.name}: {words}; next {_moment(outcome.next_at)}"


def _moment(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _topic_document(topic: Topic, history: list[float]) -> dict[str, object]:
    trend = topic.trend
    return {
        "topic": trend.topic,
        "category": trend.category,
        "score": topic.score,
        "velocity": trend.velocity,
        "sources": list(topic.sources),
        "keywords": trend.keywords,
        "url": trend.url,
        "engagement_count": trend.engagement_count,
        "observed_at": trend.observed_at,
        "history": history,
    }
