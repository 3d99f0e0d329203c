"""The variants of a concept on its page: told in other ways, chosen, and compared across posts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Literal
from urllib.parse import urlencode
from uuid import UUID

from litestar import post
from litestar.params import FromPath, URLEncodedBody
from litestar.response import Redirect
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from viral.features.generations.tellings import Telling
from viral.features.generations.variants import MOST, select_variant, variants_of, vary_concept
from viral.schema.content import Concept, ConceptVariant, Experiment
from viral.web.dashboard.experiments import PAGE as EXPERIMENTS
from viral.web.dashboard.flashes import send_back
from viral.web.dashboard.views import Flash
from viral.web.dependencies import Transaction, Wired
from viral.web.forms import Form
from viral.web.requests import WebRequest

# How many there are to be after the first time; each later time brings one more.
FIRST_COUNT: Final = 3


class VaryForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many variants there are to be."""

    count: int


class ChoiceForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The letter of a variant."""

    label: Literal["A", "B", "C", "D", "E"]


@dataclass(frozen=True, slots=True)
class VariantsShown:
    """A concept's variants, and what may be done: more of them, a choice, a comparison.

    `experiment` gave the concept its arm; `wanted` is how many there are after the next form.
    """

    rows: tuple[ConceptVariant, ...]
    experiment: Experiment | None
    may_choose: bool
    wanted: int | None
    compare_url: str | None


async def variants_shown(
    session: AsyncSession, concept: Concept, platforms: Sequence[str], *, has_result: bool
) -> VariantsShown:
    """Read a concept's variants for its page; `platforms` are those it is foretold for."""
    rows = tuple((await variants_of(session, [concept.id])).get(concept.id, []))
    experiment_id = next((each.experiment_id for each in rows if each.experiment_id), None)
    experiment = None
    if experiment_id is not None:
        experiment = await session.scalar(select(Experiment).where(Experiment.id == experiment_id))
    may_vary = concept.trend is not None and experiment is None and len(rows) < MOST
    is_given = experiment is not None and experiment.status == "running"
    hooks = list(dict.fromkeys(each.hook_type for each in rows if each.hook_type))
    compare_url = None
    if experiment is None and len(hooks) > 1:
        query = {"hooks": ",".join(hooks), "platform": platforms[0]} if platforms else {}
        compare_url = f"{EXPERIMENTS}?{urlencode(query)}#start"
    return VariantsShown(
        rows=rows,
        experiment=experiment,
        may_choose=not has_result and not is_given,
        wanted=max(FIRST_COUNT, len(rows) + 1) if may_vary else None,
        compare_url=compare_url,
    )


@post("/concepts/{concept_id:uuid}/variants", include_in_schema=False)
async def vary(
    request: WebRequest,
    runtime: Wired,
    session: Transaction,
    concept_id: FromPath[UUID],
    data: URLEncodedBody[VaryForm],
) -> Redirect:
    """Tell a concept in other ways; not counted against the quota."""
    rng = Random()  # noqa: S311 - a choice of words, no secret
    telling = Telling(runtime.offline_writer, rng, runtime.clock(), runtime.hashed)
    found = await vary_concept(session, concept_id, count=data.count, telling=telling)
    note = Flash("success", f"There are {len(found)} variants. The marked one is to be posted.")
    return send_back(request, note, _page(concept_id))


@post("/concepts/{concept_id:uuid}/selection", include_in_schema=False)
async def choose(
    request: WebRequest,
    session: Transaction,
    concept_id: FromPath[UUID],
    data: URLEncodedBody[ChoiceForm],
) -> Redirect:
    """Choose the variant that is posted."""
    chosen = await select_variant(session, concept_id, data.label)
    note = Flash("success", f"Post variant {chosen.label}: its result counts for these words.")
    return send_back(request, note, _page(concept_id))


def _page(concept_id: UUID) -> str:
    return f"/concepts/{concept_id}#variants"


ROUTES: Final = (vary, choose)
