"""/api/v1/concepts/{id}/variants: other tellings of a concept, and the one that is posted."""

from __future__ import annotations

from random import Random
from typing import Final
from uuid import UUID

import msgspec
from litestar import get, post, put
from litestar.params import FromPath, JSONBody

from viral.features.generations.concepts import find_concept
from viral.features.generations.tellings import Telling
from viral.features.generations.variants import select_variant, variants_of, vary_concept
from viral.schema.content import ConceptVariant
from viral.web.dependencies import Transaction, Wired


class VariantsWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many variants there are to be, 2 to 5, with the concept itself as A."""

    count: int = 3
    seed: int | None = None


class VariantChosen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The letter of a variant."""

    label: str


class VariantOut(msgspec.Struct, frozen=True):
    """One way to tell a concept; the selected one is to be posted."""

    id: UUID
    label: str
    title: str
    hook: str | None
    hook_type: str | None
    caption: str
    hook_source: str
    is_selected: bool
    experiment_id: UUID | None


@get("/concepts/{concept_id:uuid}/variants", operation_id="list_variants")
async def get_variants(session: Transaction, concept_id: FromPath[UUID]) -> list[VariantOut]:
    """List the variants of a concept."""
    await find_concept(session, concept_id)
    known = await variants_of(session, [concept_id])
    return [_variant(each) for each in known.get(concept_id, [])]


@post("/concepts/{concept_id:uuid}/variants", operation_id="add_variants")
async def add_variants(
    runtime: Wired,
    session: Transaction,
    concept_id: FromPath[UUID],
    data: JSONBody[VariantsWanted],
) -> list[VariantOut]:
    """Tell a concept in other ways; not counted against the quota."""
    rng = Random(data.seed)  # noqa: S311 - a choice of words, no secret
    telling = Telling(runtime.offline_writer, rng, runtime.clock(), runtime.hashed)
    found = await vary_concept(session, concept_id, count=data.count, telling=telling)
    return [_variant(each) for each in found]


@put("/concepts/{concept_id:uuid}/selection", operation_id="select_variant")
async def choose(
    session: Transaction, concept_id: FromPath[UUID], data: JSONBody[VariantChosen]
) -> VariantOut:
    """Choose the variant that is posted; fixed by a result, and by an experiment that runs."""
    return _variant(await select_variant(session, concept_id, data.label))


def _variant(variant: ConceptVariant) -> VariantOut:
    return VariantOut(
        id=variant.id,
        label=variant.label,
        title=variant.title,
        hook=variant.hook,
        hook_type=variant.hook_type,
        caption=variant.caption,
        hook_source=variant.hook_source,
        is_selected=variant.is_selected,
        experiment_id=variant.experiment_id,
    )


ROUTES: Final = (get_variants, add_variants, choose)
