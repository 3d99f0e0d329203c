"""Concepts on the home page: their cards, and the form that asks for more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from random import Random
from uuid import UUID

from litestar import post
from litestar.params import URLEncodedBody
from litestar.response import Redirect

from viral.features.generations.concepts import generate_concepts
from viral.features.scoring.predictions import reasons_of
from viral.schema.content import Concept, Prediction
from viral.schema.learning import ScoringAdjustment
from viral.schema.vocabulary import category_of, platform_of
from viral.web.dashboard.flashes import send_back
from viral.web.dashboard.rendering import count
from viral.web.dashboard.views import ConceptCard, Contribution, Flash, PlatformScore, Result
from viral.web.dependencies import Person, Wired
from viral.web.forms import Form
from viral.web.requests import WebRequest

# The score and the day of the newest result, by concept and platform.
Outcomes = Mapping[tuple[UUID, str], tuple[float, datetime]]


class GenerationForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many concepts, and of what."""

    count: int
    category: str = ""
    platform: str = ""


@post("/generations", include_in_schema=False)
async def generate(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    data: URLEncodedBody[GenerationForm],
) -> Redirect:
    """Write concepts with predictions."""
    made = await generate_concepts(
        runtime.app,
        identity.tenant_id,
        count=data.count,
        writer=runtime.writer,
        rng=Random(),  # noqa: S311 - a choice of words, no secret
        now=runtime.clock(),
        hashed=runtime.hashed,
        category=category_of(data.category) if data.category else None,
        platform=platform_of(data.platform) if data.platform else None,
        user_id=identity.user_id,
        budget=runtime.budget,
    )
    asked = f" of {data.count} asked for" if len(made) < data.count else ""
    verb = "is" if len(made) == 1 else "are"
    return send_back(
        request, Flash("success", f"{count(len(made), 'concept')}{asked} {verb} written.")
    )


def concept_cards(
    concepts: Sequence[Concept], outcomes: Outcomes, adjustments: Sequence[ScoringAdjustment]
) -> tuple[ConceptCard, ...]:
    """Turn concepts into cards; the adjustments, newest first, say which reasons were learned."""
    learned: dict[tuple[str, str, str], str] = {}
    for each in adjustments:
        if each.reverted_at is None:
            learned.setdefault((each.platform, each.adjustment_type, each.category), str(each.id))
    return tuple(_card(each, outcomes, learned) for each in concepts if each.predictions)


def _card(
    concept: Concept, outcomes: Outcomes, learned: Mapping[tuple[str, str, str], str]
) -> ConceptCard:
    shown = _headline(concept, outcomes)
    reasons = reasons_of(shown.reasons)
    outcome = outcomes.get((concept.id, shown.platform))
    return ConceptCard(
        id=str(concept.id),
        category=concept.category,
        title=concept.title,
        hook=concept.hook,
        score=shown.score,
        low=shown.low,
        high=shown.high,
        starting_point=sum(each.points for each in reasons if each.family == "global"),
        contributions=tuple(
            Contribution(
                each.label, each.points, learned.get((shown.platform, each.family, each.key))
            )
            for each in reasons
            if each.family != "global"
        ),
        platforms=tuple(PlatformScore(each.platform, each.score) for each in concept.predictions),
        duration_s=concept.duration_s or 0,
        hashtags=tuple(concept.hashtags),
        post_at=concept.post_at or concept.created_at,
        result=None if outcome is None else Result(*outcome),
    )


def _headline(concept: Concept, outcomes: Outcomes) -> Prediction:
    """Choose the best prediction; once there are results, the best of those that can be judged."""
    judged = [each for each in concept.predictions if (concept.id, each.platform) in outcomes]
    return max(judged or concept.predictions, key=lambda each: each.score)
