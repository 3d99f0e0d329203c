"""Concepts of the past: found again, kept as favourites, taken along."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import (
    Text,
    all_,
    bindparam,
    cast,
    exists,
    func,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import selectinload

from viral.database.values import harmless
from viral.errors import BadInput
from viral.features.generations.concepts import find_concept
from viral.features.generations.timing import LATEST
from viral.schema.content import Concept, ConceptVariant, Prediction
from viral.schema.results import PerformanceFeedback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.schema.vocabulary import Platform

# As many as the function gives at once.
MOST_A_PAGE = 200
MOST_WORDS = 8
LONGEST_WORD = 100


@dataclass(frozen=True, slots=True)
class ConceptFilter:
    """Which concepts: all words in title, hook, caption or script; of a category; favourites.

    With a prediction for a platform; with results, or without any yet.
    """

    search: str = ""
    category: str | None = None
    only_favorites: bool = False
    platform: Platform | None = None
    has_result: bool | None = None


async def search_concepts(
    session: AsyncSession,
    wanted: ConceptFilter,
    *,
    limit: int,
    before: tuple[datetime, UUID] | None = None,
) -> list[Concept]:
    """List a page of generated concepts, newest first; `before` is where the last page ended."""
    query = (
        select(Concept)
        .where(Concept.origin == "generated", *_conditions(wanted))
        .options(selectinload(Concept.predictions))
        .order_by(Concept.created_at.desc(), Concept.id.desc())
        .limit(min(limit, MOST_A_PAGE))
    )
    if before is not None:
        query = query.where(tuple_(Concept.created_at, Concept.id) < before)
    return list(await session.scalars(query))


def _conditions(wanted: ConceptFilter) -> Iterator[ColumnElement[bool]]:
    if wanted.category is not None:
        yield Concept.category == wanted.category
    if wanted.only_favorites:
        yield Concept.is_favorite.is_(True)
    if wanted.platform is not None:
        yield exists().where(
            Prediction.concept_id == Concept.id, Prediction.platform == wanted.platform
        )
    if wanted.has_result is not None:
        measured = exists().where(PerformanceFeedback.concept_id == Concept.id)
        yield measured if wanted.has_result else ~measured
    if patterns := _patterns(wanted.search):
        words = func.concat_ws(
            "\n", Concept.title, Concept.hook, Concept.caption, cast(Concept.script, Text)
        )
        yield words.ilike(all_(bindparam("patterns", patterns, ARRAY(Text))))


async def posts_between(
    session: AsyncSession, begin: datetime, end: datetime, *, limit: int
) -> list[Concept]:
    """List generated concepts whose moment to post is in a span, the first one first."""
    return list(
        await session.scalars(
            select(Concept)
            .where(
                Concept.origin == "generated",
                # Nothing is planned for more than a week ahead: the key finds the rows.
                Concept.created_at >= begin - LATEST,
                Concept.post_at >= begin,
                Concept.post_at < end,
            )
            .options(selectinload(Concept.predictions))
            .order_by(Concept.post_at, Concept.id)
            .limit(limit)
        )
    )


async def variants_of(session: AsyncSession, concept_id: UUID) -> list[ConceptVariant]:
    """List a concept's other titles, hooks and captions, by their label."""
    return list(
        await session.scalars(
            select(ConceptVariant)
            .where(ConceptVariant.concept_id == concept_id)
            .order_by(ConceptVariant.label)
        )
    )


async def keep_concept(session: AsyncSession, concept_id: UUID, *, is_favorite: bool) -> Concept:
    """Make a concept a favourite, or no longer one; raises NotFound."""
    concept = await find_concept(session, concept_id)
    concept.is_favorite = is_favorite
    await session.flush()
    return concept


async def all_concepts(
    session: AsyncSession,
    wanted: ConceptFilter,
    *,
    most: int | None = None,
    before: tuple[datetime, UUID] | None = None,
) -> AsyncIterator[list[Concept]]:
    """Give concepts a page at a time, newest first."""
    given = 0
    while most is None or given < most:
        limit = MOST_A_PAGE if most is None else min(MOST_A_PAGE, most - given)
        page = await search_concepts(session, wanted, limit=limit, before=before)
        if not page:
            return
        yield page
        given += len(page)
        before = page[-1].created_at, page[-1].id
        session.expunge_all()


def concept_document(concept: Concept) -> dict[str, object]:
    """Describe a concept with its predictions, for programs."""
    return {
        "id": concept.id,
        "created_at": concept.created_at,
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
        "is_favorite": concept.is_favorite,
        "is_exploration": concept.is_exploration,
        "propensity": concept.propensity,
        "predictions": [
            {
                "platform": each.platform,
                "score": each.score,
                "low": each.low,
                "high": each.high,
                "reasons": each.reasons,
            }
            for each in sorted(concept.predictions, key=lambda each: each.platform)
        ],
    }


def as_json_lines(concepts: Iterable[Concept]) -> str:
    """Write one JSON object a line."""
    return "".join(
        json.dumps(concept_document(each), default=str, ensure_ascii=False) + "\n"
        for each in concepts
    )


def as_csv(concepts: Iterable[Concept], *, with_header: bool) -> str:
    """Write a line a concept; a cell that a spreadsheet would run is put behind a quote."""
    text = io.StringIO()
    writer = csv.writer(text)
    for concept in concepts:
        cells = _cells(concept)
        if with_header:
            writer.writerow(cells)
            with_header = False
        writer.writerow([harmless(value) for value in cells.values()])
    return text.getvalue()


def _cells(concept: Concept) -> dict[str, object]:
    scores = {each.platform: each.score for each in concept.predictions}
    return {
        "id": concept.id,
        "created_at": concept.created_at.isoformat(),
        "category": concept.category,
        "title": concept.title,
        "hook": concept.hook,
        "hook_type": concept.hook_type,
        "caption": concept.caption,
        "hashtags": " ".join(concept.hashtags),
        "duration_s": concept.duration_s,
        "post_at": None if concept.post_at is None else concept.post_at.isoformat(),
        "is_favorite": concept.is_favorite,
        **{f"score_{name}": scores.get(name) for name in ("instagram", "tiktok", "youtube")},
    }


def _patterns(search: str) -> Sequence[str]:
    """Make a pattern of each word; what LIKE gives a meaning stands for itself."""
    words = search.replace("\x00", " ").split()
    if len(words) > MOST_WORDS or any(len(word) > LONGEST_WORD for word in words):
        raise BadInput(
            "That is too much to search for.",
            hint=f"Give up to {MOST_WORDS} words of up to {LONGEST_WORD} characters.",
        )
    return [f"%{_escaped(word)}%" for word in words]


def _escaped(word: str) -> str:
    for sign in ("\\", "%", "_"):
        word = word.replace(sign, f"\\{sign}")
    return word
