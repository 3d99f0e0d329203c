"""Concepts as cards, wherever a page shows them, and the heart on each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal
from urllib.parse import urlsplit
from uuid import UUID

from litestar import post
from litestar.params import FromPath, URLEncodedBody
from litestar.response import Redirect

from viral.features.generations.history import keep_concept
from viral.features.scoring.predictions import Reason, reasons_of
from viral.schema.content import Concept, Prediction
from viral.schema.vocabulary import CATEGORIES, PLATFORMS
from viral.web.dashboard.rendering import platform_name, sentence
from viral.web.dashboard.views import Choice, ConceptCard, Contribution, PlatformScore, Result
from viral.web.dependencies import Transaction
from viral.web.forms import Form
from viral.web.requests import WebRequest

# The score and the day of the newest result, by concept and platform.
Outcomes = Mapping[tuple[UUID, str], tuple[float, datetime]]

CATEGORY_CHOICES: Final = tuple(Choice(each, sentence(each)) for each in CATEGORIES)
PLATFORM_CHOICES: Final = tuple(Choice(each, platform_name(each)) for each in PLATFORMS)
# Pages with hearts: where somebody is sent back to, and nowhere else.
_PAGES = re.compile(r"/(|generate|concepts(/compare|/[0-9a-f-]{36})?)?")


class FavoriteForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the heart is to be."""

    is_favorite: Literal["yes", "no"]


@post("/concepts/{concept_id:uuid}/favorite", include_in_schema=False)
async def keep(
    request: WebRequest,
    session: Transaction,
    concept_id: FromPath[UUID],
    data: URLEncodedBody[FavoriteForm],
) -> Redirect:
    """Make a concept a favourite or not, and show the page again where it stands."""
    await keep_concept(session, concept_id, is_favorite=data.is_favorite == "yes")
    return Redirect(f"{_page_before(request)}#concept-{concept_id}", status_code=303)


def concept_cards(concepts: Sequence[Concept], outcomes: Outcomes) -> tuple[ConceptCard, ...]:
    """Turn concepts into cards, each with its best prediction."""
    return tuple(concept_card(each, outcomes) for each in concepts if each.predictions)


def concept_card(concept: Concept, outcomes: Outcomes, platform: str | None = None) -> ConceptCard:
    """Turn a concept that has predictions into a card of one platform, or else of the best."""
    shown = _headline(concept, outcomes, platform)
    outcome = outcomes.get((concept.id, shown.platform))
    start, reasons = split_reasons(shown)
    return ConceptCard(
        id=str(concept.id),
        category=concept.category,
        title=concept.title,
        hook=concept.hook,
        score=shown.score,
        low=shown.low,
        high=shown.high,
        starting_point=start,
        contributions=tuple(Contribution(each.label, each.points) for each in reasons),
        platforms=tuple(PlatformScore(each.platform, each.score) for each in concept.predictions),
        duration_s=concept.duration_s or 0,
        hashtags=tuple(concept.hashtags),
        post_at=concept.post_at or concept.created_at,
        result=None if outcome is None else Result(*outcome),
        is_favorite=concept.is_favorite,
    )


def split_reasons(prediction: Prediction) -> tuple[float, list[Reason]]:
    """Part where a score starts from the shares that move it."""
    reasons = reasons_of(prediction.reasons)
    start = sum(each.points for each in reasons if each.family == "global")
    return start, [each for each in reasons if each.family != "global"]


def _headline(concept: Concept, outcomes: Outcomes, platform: str | None) -> Prediction:
    """Choose the best prediction; once there are results, the best of those that can be judged."""
    asked = [each for each in concept.predictions if each.platform == platform]
    judged = [each for each in concept.predictions if (concept.id, each.platform) in outcomes]
    return max(asked or judged or concept.predictions, key=lambda each: each.score)


def _page_before(request: WebRequest) -> str:
    """Return the page of ours that a form stands on, with its query; the history where untold."""
    page = urlsplit(request.headers.get("referer", ""))
    is_ours = page.netloc == request.headers.get("host") and _PAGES.fullmatch(page.path)
    if not is_ours:
        return "/concepts"
    return f"{page.path}?{page.query}" if page.query else page.path


ROUTES: Final = (keep,)
