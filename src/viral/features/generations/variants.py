"""Variants of a concept: written, listed, and the one selected that is to be posted."""

from __future__ import annotations

from string import ascii_uppercase
from typing import TYPE_CHECKING

from sqlalchemy import select

from viral.errors import BadInput, NotFound, NothingToWriteAbout
from viral.features.generations.brief import lately_said
from viral.features.generations.concepts import find_concept
from viral.features.generations.leanings import promising_types
from viral.features.generations.tellings import as_drafted, as_written, retell
from viral.schema.content import ConceptVariant, Experiment, Generation
from viral.schema.results import PerformanceFeedback
from viral.schema.tenants import Tenant
from viral.schema.vocabulary import platform_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.generations.tellings import Telling
    from viral.schema.content import Concept
    from viral.schema.vocabulary import Platform

FEWEST, MOST = 2, 5


async def vary_concept(
    session: AsyncSession, concept_id: UUID, *, count: int, telling: Telling
) -> list[ConceptVariant]:
    """Tell a concept in other ways until there are `count` variants; return all of them.

    The first is the concept as it is. Others have hooks of other types, the promising first, and
    repeat no phrase. They are not counted against the quota. Raises BadInput for a concept that
    has as many, that an experiment tells, or that was not written from a trend.
    """
    concept = await find_concept(session, concept_id)
    # Whoever writes at the same time could use the same phrases, and the same letters.
    await session.execute(select(Tenant.id).with_for_update())
    known = (await variants_of(session, [concept_id])).get(concept_id, [])
    _check(concept, known, count)
    if not known:
        known = [as_written(concept, "A", source=await _source(session, concept))]
        known[0].is_selected = True
        session.add(known[0])
    platforms = [platform_of(each.platform) for each in concept.predictions]
    drafts = await retell(
        concept,
        hook_types=await _other_types(session, known, platforms, telling),
        count=count - len(known),
        platform=platforms[0] if len(platforms) == 1 else None,
        said=await lately_said(session),
        telling=telling,
    )
    if not drafts:
        raise NothingToWriteAbout(
            f"Every way to tell {concept.title!r} was used lately.", hint="Vary another concept."
        )
    letters = (each for each in ascii_uppercase if each not in {one.label for one in known})
    written = [
        as_drafted(concept, label, draft) for label, draft in zip(letters, drafts, strict=False)
    ]
    session.add_all(written)
    await session.flush()
    return [*known, *written]


async def variants_of(
    session: AsyncSession, concept_ids: Iterable[UUID]
) -> dict[UUID, list[ConceptVariant]]:
    """Find the variants of concepts, by concept, in the order of their letters."""
    query = (
        select(ConceptVariant)
        .where(ConceptVariant.concept_id.in_(list(concept_ids)))
        .order_by(ConceptVariant.concept_id, ConceptVariant.label)
    )
    found: dict[UUID, list[ConceptVariant]] = {}
    for each in await session.scalars(query):
        found.setdefault(each.concept_id, []).append(each)
    return found


async def selected_variants(
    session: AsyncSession, concept_ids: Iterable[UUID]
) -> dict[UUID, ConceptVariant]:
    """Find the variant that is to be posted, of the concepts that have variants."""
    found = await variants_of(session, concept_ids)
    return {
        concept_id: each
        for concept_id, variants in found.items()
        for each in variants
        if each.is_selected
    }


async def select_variant(session: AsyncSession, concept_id: UUID, label: str) -> ConceptVariant:
    """Choose the variant that is posted; raises BadInput where that is fixed.

    It is by an experiment that runs, which gave the concept its arm by lot, and by a result.
    """
    await find_concept(session, concept_id)
    variants = (await variants_of(session, [concept_id])).get(concept_id, [])
    chosen = next((each for each in variants if each.label == label.upper()), None)
    if chosen is None:
        known = ", ".join(each.label for each in variants)
        raise NotFound(
            f"The concept has no variant {label[:10]!r}.",
            hint=f"It has {known}." if known else "Write some with `viral concepts vary`.",
        )
    if chosen.is_selected:
        return chosen
    await _refuse_fixed(session, chosen)
    for each in variants:
        each.is_selected = each is chosen
    await session.flush()
    return chosen


def variant_document(variant: ConceptVariant) -> dict[str, object]:
    """Describe a variant, for programs."""
    return {
        "id": variant.id,
        "label": variant.label,
        "title": variant.title,
        "hook": variant.hook,
        "hook_type": variant.hook_type,
        "caption": variant.caption,
        "hook_source": variant.hook_source,
        "is_selected": variant.is_selected,
        "experiment_id": variant.experiment_id,
    }


def _check(concept: Concept, known: Sequence[ConceptVariant], count: int) -> None:
    if not FEWEST <= count <= MOST:
        raise BadInput(
            f"A concept cannot have {count} variants.", hint=f"Ask for {FEWEST} to {MOST}."
        )
    if concept.trend is None:
        raise BadInput(
            "This concept was made elsewhere: there is no trend to write from.",
            hint="Vary one that was generated, see `viral concepts list`.",
        )
    if any(each.experiment_id is not None for each in known):
        raise BadInput(
            "The variants of this concept are the arms of an experiment.",
            hint="Vary a concept that takes no part in one.",
        )
    if len(known) >= count:
        raise BadInput(
            f"The concept has {len(known)} variants.",
            hint="See `viral concepts variants`; ask for more to get more."
            if len(known) < MOST
            else "See `viral concepts variants`.",
        )


async def _refuse_fixed(session: AsyncSession, variant: ConceptVariant) -> None:
    running = await session.scalar(
        select(Experiment.name).where(
            Experiment.id == variant.experiment_id, Experiment.status == "running"
        )
    )
    if running is not None:
        raise BadInput(
            f"The experiment {running!r} chose by lot how this concept is told.",
            hint=f"Post it so, or end it first: `viral experiments stop {running}`.",
        )
    has_result = await session.scalar(
        select(PerformanceFeedback.id)
        .where(PerformanceFeedback.concept_id == variant.concept_id)
        .limit(1)
    )
    if has_result is not None:
        raise BadInput(
            "A result of this concept is in: how it was told is history.",
            hint="Choose a variant before posting.",
        )


async def _source(session: AsyncSession, concept: Concept) -> str:
    """Say where the concept's own words are from: the library's templates, or a model."""
    writer = await session.scalar(
        select(Generation.writer).where(Generation.id == concept.generation_id)
    )
    return "template" if writer == "offline" else "evolved"


async def _other_types(
    session: AsyncSession,
    known: Sequence[ConceptVariant],
    platforms: Sequence[Platform],
    telling: Telling,
) -> list[str]:
    """Give the types of hooks that no variant has, the promising first."""
    told = {each.hook_type for each in known}
    types = await promising_types(session, platforms, now=telling.now, hashed=telling.hashed)
    return [each for each in types if each not in told]
