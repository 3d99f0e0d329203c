"""`viral concepts`: written from trends, with predictions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from viral.cli.output import out, print_json
from viral.settings import load_settings

if TYPE_CHECKING:
    from viral.schema.content import Concept, Prediction

group = typer.Typer(no_args_is_help=True, help="Concepts: ideas for videos, with predictions.")


@group.callback()
def _group() -> None:
    """Concepts: ideas for videos, with predictions."""


@group.command()
def generate(
    tenant: Annotated[str, typer.Option("--tenant", help="The tenant's slug.")],
    count: Annotated[int, typer.Option("--count", help="How many, 1 to 100.")] = 3,
    category: Annotated[str | None, typer.Option("--category", help="One category.")] = None,
    platform: Annotated[
        str | None, typer.Option("--platform", help="tiktok, youtube or instagram; all if unset.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="The same seed and history give the same.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write concepts from trends and predict their scores, with reasons.

    Example: viral concepts generate --tenant demo --count 3 --category food
    """
    concepts = asyncio.run(
        _generate(tenant, count=count, category=category, platform=platform, seed=seed)
    )
    if as_json:
        print_json([_document(concept) for concept in concepts])
        return
    for concept in concepts:
        _show(concept)


async def _generate(
    slug: str, *, count: int, category: str | None, platform: str | None, seed: int | None
) -> list[Concept]:
    from random import Random

    from viral.features.generations.concepts import generate_concepts
    from viral.features.tenants import find_tenant
    from viral.runtime import open_runtime
    from viral.schema.vocabulary import category_of, platform_of

    async with open_runtime(load_settings()) as runtime:
        async with runtime.system.session_without_tenant() as session:
            tenant = await find_tenant(session, slug)
        return await generate_concepts(
            runtime.app,
            tenant.id,
            count=count,
            writer=runtime.writer,
            rng=Random(seed),  # noqa: S311 - a choice of words, no secret
            now=runtime.clock(),
            hashed=runtime.hashed,
            category=None if category is None else category_of(category),
            platform=None if platform is None else platform_of(platform),
        )


def _show(concept: Concept) -> None:
    out.print(Text.assemble((concept.title, "bold"), f"  [{concept.category}]"))
    out.print(Text(f"“{concept.hook}”"))
    for each in concept.predictions:
        band = f"{each.score:5.1f}  likely {each.low:.0f} to {each.high:.0f}"
        out.print(Text(f"  {each.platform:<10}{band}"))
    out.print(Text(f"    The score on {concept.predictions[0].platform} is the sum of:"))
    for line in _reasons(concept.predictions[0]):
        out.print(Text(f"    {line}", style="dim"))
    out.print()


def _reasons(prediction: Prediction) -> list[str]:
    from viral.features.scoring.predictions import reasons_of

    return [f"{reason.points:+6.1f}  {reason.label}" for reason in reasons_of(prediction.reasons)]


def _document(concept: Concept) -> dict[str, object]:
    return {
        "id": concept.id,
        "title": concept.title,
        "hook": concept.hook,
        "hook_type": concept.hook_type,
        "category": concept.category,
        "script": concept.script,
        "caption": concept.caption,
        "hashtags": concept.hashtags,
        "duration_s": concept.duration_s,
        "post_at": concept.post_at,
        "why_it_works": concept.why_it_works,
        "prompts": concept.prompts,
        "trend": concept.trend,
        "predictions": [
            {
                "platform": each.platform,
                "score": each.score,
                "low": each.low,
                "high": each.high,
                "reasons": each.reasons,
            }
            for each in concept.predictions
        ],
    }
