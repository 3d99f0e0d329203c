"""`viral concepts vary`, `variants` and `select`: other tellings of a concept."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from viral.cli.concepts import AsJson, Id, Slug, concept_id_of
from viral.cli.output import out, print_json
from viral.cli.tenant_sessions import tenant_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viral.schema.content import Concept, ConceptVariant


def vary(
    concept: Id,
    tenant: Slug = None,
    count: Annotated[
        int, typer.Option("--count", help="Variants there are to be, 2 to 5, with the concept.")
    ] = 3,
    seed: Annotated[
        int | None, typer.Option("--seed", help="The same seed and history give the same.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell a concept in other ways: title, hook, type of hook and caption. A is the concept itself.

    Example: viral concepts vary 0199f3a0-5c1e-7b60-8b58-0f2f3c1f2a77 --tenant demo --count 3
    """
    found, variants = asyncio.run(_vary(tenant, concept, count=count, seed=seed))
    _tell(found, variants, as_json=as_json)


def variants(concept: Id, tenant: Slug = None, as_json: AsJson = False) -> None:
    """List the variants of a concept; the one with a star is to be posted.

    Example: viral concepts variants 0199f3a0-5c1e-7b60-8b58-0f2f3c1f2a77 --tenant demo
    """
    found, known = asyncio.run(_variants(tenant, concept))
    _tell(found, known, as_json=as_json)


def select(
    concept: Id,
    label: Annotated[str, typer.Argument(metavar="LETTER", help="The variant's letter.")],
    tenant: Slug = None,
) -> None:
    """Choose the variant that is posted, before its result is in: the learner learns of that one.

    Example: viral concepts select 0199f3a0-5c1e-7b60-8b58-0f2f3c1f2a77 B --tenant demo
    """
    chosen = asyncio.run(_select(tenant, concept, label))
    out.print(Text.assemble("To be posted as ", (chosen.label, "bold"), f": {chosen.title}"))


async def _vary(
    slug: str | None, concept: str, *, count: int, seed: int | None
) -> tuple[Concept, list[ConceptVariant]]:
    from random import Random

    from viral.features.generations.concepts import find_concept
    from viral.features.generations.tellings import Telling
    from viral.features.generations.variants import vary_concept

    concept_id = concept_id_of(concept)
    async with tenant_session(slug) as (runtime, session):
        rng = Random(seed)  # noqa: S311 - a choice of words, no secret
        telling = Telling(runtime.offline_writer, rng, runtime.clock(), runtime.hashed)
        found = await vary_concept(session, concept_id, count=count, telling=telling)
        return await find_concept(session, concept_id), found


async def _variants(slug: str | None, concept: str) -> tuple[Concept, list[ConceptVariant]]:
    from viral.features.generations.concepts import find_concept
    from viral.features.generations.variants import variants_of

    concept_id = concept_id_of(concept)
    async with tenant_session(slug) as (_, session):
        found = await find_concept(session, concept_id)
        return found, (await variants_of(session, [concept_id])).get(concept_id, [])


async def _select(slug: str | None, concept: str, label: str) -> ConceptVariant:
    from viral.features.generations.variants import select_variant

    concept_id = concept_id_of(concept)
    async with tenant_session(slug) as (_, session):
        return await select_variant(session, concept_id, label)


def _tell(concept: Concept, variants: Sequence[ConceptVariant], *, as_json: bool) -> None:
    if as_json:
        from viral.features.generations.variants import variant_document

        print_json([variant_document(each) for each in variants])
        return
    if not variants:
        out.print(f"It is told in one way. Other ways: viral concepts vary {concept.id}")
    for each in variants:
        mark = "★" if each.is_selected else " "
        out.print(Text(f"{mark} {each.label}  {each.hook_type or 'unknown'}", style="bold"))
        for name, line in (("title", each.title), ("hook", each.hook), ("caption", each.caption)):
            if line:
                out.print(Text(f"     {name:<9}{line}"))
