"""`viral concepts`: written from trends, with predictions; found, kept and taken along."""

from __future__ import annotations

import asyncio
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from uuid import UUID

import typer
from rich.text import Text

from viral.cli.output import err, out, print_json, progress_bar
from viral.cli.tenant_sessions import tenant_session
from viral.errors import BadFile, BadInput
from viral.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import TextIO

    from viral.features.generations.history import ConceptFilter
    from viral.schema.content import Concept, ConceptVariant, Prediction

Slug = Annotated[
    str | None, typer.Option("--tenant", help="The tenant's slug; needed when there are several.")
]
OfCategory = Annotated[str | None, typer.Option("--category", help="Only this category.")]
Favorites = Annotated[bool, typer.Option("--favorites", help="Only favourites.")]
Words = Annotated[
    str, typer.Option("--search", help="Words that all stand in title, hook, caption or script.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The concept's id, see list.")]

group = typer.Typer(no_args_is_help=True, help="Concepts: ideas for videos, with predictions.")


@group.callback()
def _group() -> None:
    """Concepts: ideas for videos, with predictions."""


@group.command()
def generate(
    tenant: Slug = None,
    count: Annotated[int, typer.Option("--count", help="How many, 1 to 100.")] = 3,
    category: Annotated[str | None, typer.Option("--category", help="One category.")] = None,
    platform: Annotated[
        str | None, typer.Option("--platform", help="tiktok, youtube or instagram; all if unset.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="The same seed and history give the same.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write concepts from trends and predict their scores, with reasons.

    Example: viral concepts generate --tenant demo --count 3 --category food
    """
    with progress_bar("Writing") as advance:
        concepts, told = asyncio.run(
            _generate(
                tenant,
                count=count,
                category=category,
                platform=platform,
                seed=seed,
                advance=lambda wanted, done: advance("Writing candidates", done, wanted),
            )
        )
    if as_json:
        from viral.features.generations.exports import concept_document

        print_json([concept_document(concept) for concept in concepts])
        return
    for concept in concepts:
        _show(concept, told.get(concept.id))


@group.command("list")
def list_(
    tenant: Slug = None,
    search: Words = "",
    category: OfCategory = None,
    favorites: Favorites = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many.")] = 20,
    after: Annotated[
        str | None, typer.Option("--after", metavar="ID", help="Go on behind this concept.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List concepts, the newest first.

    Example: viral concepts list --tenant demo --search "chickpeas crispy" --favorites
    """
    found = asyncio.run(
        _list(
            tenant,
            search,
            category,
            only_favorites=favorites,
            limit=limit,
            after=None if after is None else concept_id_of(after),
        )
    )
    if as_json:
        from viral.features.generations.exports import concept_document

        print_json([concept_document(concept) for concept in found])
    elif found:
        for each in found:
            _show_line(each)
        if len(found) == limit:
            err.print(f"Go on with --after {found[-1].id}.")
    else:
        out.print("There is no such concept.")


@group.command()
def favorite(
    concept: Id,
    tenant: Slug = None,
    off: Annotated[bool, typer.Option("--off", help="No longer.")] = False,
) -> None:
    """Make a concept a favourite, or no longer one.

    Example: viral concepts favorite 0199f3a0-5c1e-7b60-8b58-0f2f3c1f2a77 --tenant demo
    """
    title = asyncio.run(_favorite(tenant, concept_id_of(concept), is_favorite=not off))
    out.print(Text.assemble((title, "bold"), " is no favourite." if off else " is a favourite."))


@group.command()
def export(
    tenant: Slug = None,
    as_format: Annotated[
        Literal["csv", "json"], typer.Option("--format", help="json is one object a line.")
    ] = "csv",
    file: Annotated[
        Path | None, typer.Option("--out", help="A file; standard output if unset.")
    ] = None,
    search: Words = "",
    category: OfCategory = None,
    favorites: Favorites = False,
) -> None:
    """Write all concepts, or those that are found, as CSV or JSON.

    Example: viral concepts export --tenant demo --format json --out concepts.jsonl
    """
    try:
        with _opened(file) as text:
            written = asyncio.run(
                _export(tenant, search, category, text, only_favorites=favorites, form=as_format)
            )
    except OSError as error:
        raise BadFile(
            f"{file} cannot be written: {error.strerror}.", hint="Name a file that is not there."
        ) from error
    err.print(f"{written:,} concepts are written.")


async def _list(
    slug: str | None,
    search: str,
    category: str | None,
    *,
    only_favorites: bool,
    limit: int,
    after: UUID | None,
) -> list[Concept]:
    from viral.features.generations.concepts import find_concept
    from viral.features.generations.history import all_concepts

    async with tenant_session(slug) as (_, session):
        wanted = _filter(search, category, only_favorites=only_favorites)
        before = None
        if after is not None:
            last = await find_concept(session, after)
            before = last.created_at, last.id
        pages = all_concepts(session, wanted, most=limit, before=before)
        return [concept async for page in pages for concept in page]


async def _favorite(slug: str | None, concept_id: UUID, *, is_favorite: bool) -> str:
    from viral.features.generations.history import keep_concept

    async with tenant_session(slug) as (_, session):
        return (await keep_concept(session, concept_id, is_favorite=is_favorite)).title


async def _export(
    slug: str | None,
    search: str,
    category: str | None,
    text: TextIO,
    *,
    only_favorites: bool,
    form: Literal["csv", "json"],
) -> int:
    from viral.features.generations.exports import export_concepts

    written = 0
    async with tenant_session(slug) as (_, session):
        wanted = _filter(search, category, only_favorites=only_favorites)
        async for part, count in export_concepts(session, wanted, form=form):
            text.write(part)
            written += count
    return written


def _opened(file: Path | None) -> AbstractContextManager[TextIO]:
    if file is None:
        return nullcontext(sys.stdout)
    return file.open("x", encoding="utf-8", newline="")


def _filter(search: str, category: str | None, *, only_favorites: bool) -> ConceptFilter:
    from viral.features.generations.history import ConceptFilter
    from viral.schema.vocabulary import category_of

    return ConceptFilter(
        search, None if category is None else category_of(category), only_favorites
    )


def concept_id_of(text: str) -> UUID:
    """Read a concept's id; raises BadInput."""
    try:
        return UUID(text)
    except ValueError:
        raise BadInput(
            f"{text[:60]!r} is no concept's id.", hint="See `viral concepts list`."
        ) from None


async def _generate(
    slug: str | None,
    *,
    count: int,
    category: str | None,
    platform: str | None,
    seed: int | None,
    advance: Callable[[int, int], None],
) -> tuple[list[Concept], dict[UUID, ConceptVariant]]:
    """Write concepts; give them with the variants that an experiment drew, by concept."""
    from random import Random

    from viral.features.generations.concepts import generate_concepts
    from viral.features.generations.variants import selected_variants
    from viral.features.tenants import find_tenant
    from viral.runtime import open_runtime
    from viral.schema.vocabulary import category_of, platform_of

    async with open_runtime(load_settings()) as runtime:
        async with runtime.system.session_without_tenant() as session:
            tenant = await find_tenant(session, slug)
        concepts = await generate_concepts(
            runtime.app,
            tenant.id,
            count=count,
            writer=runtime.writer,
            rng=Random(seed),  # noqa: S311 - a choice of words, no secret
            now=runtime.clock(),
            hashed=runtime.hashed,
            category=None if category is None else category_of(category),
            platform=None if platform is None else platform_of(platform),
            budget=runtime.budget,
            progress=advance,
        )
        async with runtime.app.tenant_session(tenant.id) as session:
            return concepts, await selected_variants(session, [each.id for each in concepts])


def _show_line(concept: Concept) -> None:
    """Print a concept in two lines, which fit a narrow terminal; the score is its best one."""
    star = "★" if concept.is_favorite else " "
    best = max((each.score for each in concept.predictions), default=None)
    score = "-" if best is None else f"{best:.1f}"
    out.print(Text.assemble(f"{star} {score:>5}  ", (concept.title, "bold")))
    facts = (f"{concept.created_at:%Y-%m-%d}", concept.category, concept.hook_type or "")
    out.print(Text(f"  {concept.id}  {'  '.join(facts)}", style="dim"))


def _show(concept: Concept, told: ConceptVariant | None) -> None:
    out.print(Text.assemble((concept.title, "bold"), f"  [{concept.category}]"))
    out.print(Text(f"“{concept.hook}”"))
    if told is not None:
        out.print(Text(f"  The experiment tells it as {told.label} ({told.hook_type}):"))
        out.print(Text(f"  {told.title}"))
        out.print(Text(f"  “{told.hook}”"))
    for each in concept.predictions:
        band = f"{each.score:5.1f}  likely {each.low:.0f} to {each.high:.0f}"
        out.print(Text(f"  {each.platform:<10}{band}"))
    out.print(Text(f"    The score on {concept.predictions[0].platform} is the sum of:"))
    for line in _reasons(concept.predictions[0]):
        out.print(Text(f"    {line}", style="dim"))
    if concept.post_at is not None:
        here = concept.post_at.astimezone()
        zone = f", {here:%H:%M %Z} here" if here.utcoffset() else ""
        out.print(Text(f"  Post at    {concept.post_at:%a %d %b %H:%M} UTC{zone}"))
    out.print(Text(f"  {concept.why_it_works}", style="dim"))
    out.print()


def _reasons(prediction: Prediction) -> list[str]:
    from viral.features.scoring.predictions import reasons_of

    return [f"{reason.points:+6.1f}  {reason.label}" for reason in reasons_of(prediction.reasons)]
