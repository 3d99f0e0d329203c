"""GET /concepts/{id}: one concept, what is foretold of it and why, and what came of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID

import msgspec
from litestar import Response, get
from litestar.params import FromPath, FromQuery
from sqlalchemy.ext.asyncio import AsyncSession

from viral.features.generations.brief import topic_of
from viral.features.generations.concepts import find_concept
from viral.features.generations.drafts import Scene
from viral.features.generations.orders import find_generation
from viral.features.performance.readings import latest_readings
from viral.features.reflexion.critiques import outcome_of
from viral.features.reflexion.why import (
    Change,
    Share,
    Similar,
    Why,
    explained,
    why_concept,
)
from viral.features.tenants import own_tenant
from viral.schema.content import Concept, Generation, Prediction
from viral.schema.results import PerformanceFeedback
from viral.web.dashboard.charts import balanced, contribution_bars
from viral.web.dashboard.rendering import render
from viral.web.dashboard.switcher import page_of, send_page
from viral.web.dashboard.variants import VariantsShown, variants_shown
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.requests import WebRequest

# The writer's reason and that of the moment to post are stored as one text.
_POSTING: Final = re.compile(r"(?:^|(?<=\s))Post (?:at|from) \d\d:\d\d.*$", re.DOTALL)
_BUILT_IN: Final = "offline"


@dataclass(frozen=True, slots=True)
class ShareRow:
    """A reason of a score in points, its bar, and what it rests on."""

    label: str
    points: float
    bar: str
    evidence: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class WhyShown:
    """The reasons of one platform's score; start and points add up to it."""

    platform: str
    score: float
    low: float
    high: float
    start: float
    shares: tuple[ShareRow, ...]
    similar: tuple[Similar, ...]
    predicted_at: datetime


@dataclass(frozen=True, slots=True)
class ReadingRow:
    """The newest counts of a post; `actual` is None until the learner has taken it in."""

    platform: str
    observed_on: date
    views: int
    engagement_rate: float
    predicted: float | None
    actual: float | None
    verdict: str


@dataclass(frozen=True, slots=True)
class ConceptPage:
    """A concept with all that is known of it; `script_lines` are of scripts of another make."""

    concept: Concept
    scenes: tuple[Scene, ...]
    script_lines: tuple[str, ...]
    why_it_works: str
    post_reason: str
    topic: str
    writer: str
    forecasts: tuple[Prediction, ...]
    shown: WhyShown | None
    readings: tuple[ReadingRow, ...]
    variants: VariantsShown


@get("/concepts/{concept_id:uuid}", include_in_schema=False)
async def show_concept(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    session: Transaction,
    concept_id: FromPath[UUID],
    platform: FromQuery[str] = "",
) -> Response[str]:
    """Show one concept; `platform` says whose score is explained, else the best one's."""
    concept = await find_concept(session, concept_id)
    # Similar posts are loaded in part, and with them the same concept where it has results.
    session.expunge_all()
    foretold = sorted(explained(concept), key=lambda each: -each.score)
    asked = next((each for each in foretold if each.platform == platform), None)
    why = None
    if foretold:
        best = (asked or foretold[0]).platform
        _, [why] = await why_concept(session, concept_id, hashed=runtime.hashed, platform=best)
    shown = await _concept_page(session, concept, foretold, why)
    tenant = await own_tenant(session)
    page = await page_of(request, identity, session, tenant, now=runtime.clock())
    return send_page(request, render("concept.html", page=page, shown=shown))


async def _concept_page(
    session: AsyncSession, concept: Concept, foretold: Sequence[Prediction], why: Why | None
) -> ConceptPage:
    readings = await latest_readings(session, concept.id)
    variants = await variants_shown(
        session, concept, [each.platform for each in foretold], has_result=bool(readings)
    )
    generation = await find_generation(session, concept)
    scenes, lines = _script(concept.script)
    works, posting = split_reasons_of_post(concept.why_it_works)
    return ConceptPage(
        concept=concept,
        scenes=scenes,
        script_lines=lines,
        why_it_works=works,
        post_reason=posting,
        topic=topic_of(concept.trend),
        writer=_writer(generation),
        forecasts=tuple(foretold),
        shown=None if why is None else _why(why),
        readings=tuple(_reading(each, foretold) for each in readings),
        variants=variants,
    )


def split_reasons_of_post(text: str) -> tuple[str, str]:
    """Part why a concept should work from why it is posted when it is."""
    found = _POSTING.search(text)
    return (text, "") if found is None else (text[: found.start()].strip(), found[0])


def _why(why: Why) -> WhyShown:
    base = sum(each.points for each in why.shares if each.family == "global")
    moving = [each for each in why.shares if each.family != "global"]
    start, *points = balanced([base, *(each.points for each in moving)], total=why.score)
    bars = contribution_bars(points)
    return WhyShown(
        platform=why.platform,
        score=why.score,
        low=why.low,
        high=why.high,
        start=start,
        shares=tuple(
            ShareRow(each.label, value, bar, _evidence(each), each.changes)
            for each, value, bar in zip(moving, points, bars, strict=True)
        ),
        similar=why.similar,
        predicted_at=why.predicted_at,
    )


def _evidence(share: Share) -> str:
    if not share.videos:
        return ""
    videos = f"{share.videos:,} video{'s' if share.videos > 1 else ''}"
    if share.is_shared and share.tenants:
        return f"from {videos} of {share.tenants:,} studio{'s' if share.tenants > 1 else ''}"
    return f"from {videos} of yours"


def _script(script: Sequence[object]) -> tuple[tuple[Scene, ...], tuple[str, ...]]:
    """Read a script as scenes; one of another make, which came with an import, as lines."""
    try:
        return tuple(msgspec.convert(script, list[Scene])), ()
    except msgspec.ValidationError:
        return (), tuple(
            each if isinstance(each, str) else msgspec.json.encode(each).decode() for each in script
        )


def _writer(generation: Generation | None) -> str:
    if generation is None:
        return ""
    kind, _, model = generation.writer.partition(":")
    return "The built-in writer" if kind == _BUILT_IN else f"{kind.capitalize()} {model}".strip()


def _reading(row: PerformanceFeedback, predictions: Sequence[Prediction]) -> ReadingRow:
    foretold = next((each for each in predictions if each.platform == row.platform), None)
    actual = None if row.applied_no is None else round(outcome_of(row), 1)
    verdict = ""
    if foretold is not None and actual is not None:
        is_above = actual > foretold.high
        verdict = "above" if is_above else "below" if actual < foretold.low else "inside"
    return ReadingRow(
        platform=row.platform,
        observed_on=row.observed_on,
        views=row.views,
        engagement_rate=row.engagement_rate,
        predicted=None if foretold is None else foretold.score,
        actual=actual,
        verdict=verdict,
    )


ROUTES: Final = (show_concept,)
