"""`viral trends sources`: where trends are fetched from; without any, nothing is."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from viral.cli.output import out, print_json, print_table
from viral.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.schema.content import TrendSource

group = typer.Typer(no_args_is_help=True, help="Sources: where trends are fetched from.")

_T = TypeVar("_T")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(help="The source's name.")]


@group.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the sources, when each is asked next, and why it failed.

    Example: viral trends sources list
    """
    sources = asyncio.run(_list())
    if as_json:
        print_json([_document(each) for each in sources])
        return
    if not sources:
        out.print("There is no source yet. Add one: viral trends sources add --help")
        return
    print_table(
        ("name", "kind", "address", "category", "last (UTC)", "next (UTC)", "last error"),
        [
            (
                each.name,
                each.kind,
                each.url,
                each.category,
                _minute(each.fetched_at),
                _minute(each.next_fetch_at) if each.is_enabled else "disabled",
                each.last_error,
            )
            for each in sources
        ],
    )


@group.command()
def kinds(as_json: AsJson = False) -> None:
    """List the kinds of sources with their limits. Example: viral trends sources kinds."""
    from viral.features.trends.kinds import kinds

    known = kinds().values()
    if as_json:
        print_json(
            [
                {
                    "kind": each.name,
                    "title": each.title,
                    "interval_minutes": each.interval_minutes,
                    "calls_a_day": each.calls_a_day or None,
                    "needs": list(each.needs),
                    "sections": list(each.sections),
                    "note": each.note,
                    "checked_on": each.checked_on,
                }
                for each in known
            ]
        )
        return
    print_table(
        ("kind", "what", "at most every", "needs", "limits", "checked on"),
        [
            (
                each.name,
                each.title,
                f"{each.interval_minutes} min",
                ", ".join(each.needs) or None,
                each.note,
                each.checked_on,
            )
            for each in known
        ],
    )


@group.command()
def add(
    name: Name,
    kind: Annotated[str, typer.Option("--kind", help="See `viral trends sources kinds`.")],
    url: Annotated[
        str | None, typer.Option("--url", help="Of a feed, or of a CSV file, which may be a path.")
    ] = None,
    section: Annotated[
        str | None, typer.Option("--section", help="A chart, community or topic of the service.")
    ] = None,
    region: Annotated[
        str | None, typer.Option("--region", help="Two letters; US if unset.")
    ] = None,
    category: Annotated[
        str | None, typer.Option("--category", help="For trends whose words are not clear.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add a source, enabled; the first one starts the schedule `trends-fetch`.

    Example: viral trends sources add world-news --kind feed --url https://example.com/rss
    """
    from viral.features.trends.sources import NewSource, add_source

    if url is not None and "://" not in url:
        # A path is kept whole: the worker has another folder.
        url = str(Path(url).absolute())
    wanted = NewSource(
        name=name, kind=kind, url=url, section=section, region=region, category=category
    )
    made = asyncio.run(_change(lambda session: add_source(session, wanted)))
    _tell(made, f"{name} is enabled. Ask it now: viral trends fetch --source {name}", as_json)


@group.command()
def remove(name: Name, as_json: AsJson = False) -> None:
    """Forget a source; its trends stay. Example: viral trends sources remove world-news."""
    from viral.features.trends.sources import remove_source

    asyncio.run(_change(lambda session: remove_source(session, name)))
    if as_json:
        print_json({"name": name, "is_removed": True})
    else:
        out.print(f"{name} is removed; the trends it named stay.", markup=False)


@group.command()
def enable(name: Name, as_json: AsJson = False) -> None:
    """Let a source be asked again. Example: viral trends sources enable world-news."""
    from viral.features.trends.sources import enable_source

    made = asyncio.run(_change(lambda session: enable_source(session, name)))
    _tell(made, f"{name} is enabled.", as_json)


@group.command()
def disable(name: Name, as_json: AsJson = False) -> None:
    """Ask a source no more; without any, the schedule ends.

    Example: viral trends sources disable world-news
    """
    from viral.features.trends.sources import disable_source

    made = asyncio.run(_change(lambda session: disable_source(session, name)))
    _tell(made, f"{name} is disabled.", as_json)


async def _list() -> list[TrendSource]:
    from viral.features.trends.sources import list_sources

    async with _desk() as session:
        return list(await list_sources(session))


async def _change(deed: Callable[[AsyncSession], Awaitable[_T]]) -> _T:
    async with _desk() as session:
        return await deed(session)


@asynccontextmanager
async def _desk() -> AsyncIterator[AsyncSession]:
    """Open a transaction of the operator's."""
    from viral.runtime import open_runtime

    async with (
        open_runtime(load_settings()) as runtime,
        runtime.system.session_without_tenant() as session,
    ):
        yield session


def _tell(source: TrendSource, words: str, as_json: bool) -> None:
    if as_json:
        print_json(_document(source))
    else:
        out.print(words, markup=False)


def _document(source: TrendSource) -> dict[str, object]:
    return {
        "name": source.name,
        "kind": source.kind,
        "url": source.url,
        "category": source.category,
        "region": source.region,
        "is_enabled": source.is_enabled,
        "fetched_at": source.fetched_at,
        "next_fetch_at": source.next_fetch_at,
        "failures": source.failures,
        "last_error": source.last_error,
    }


def _minute(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"
