"""Concepts of the past: found again, kept as favourites."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import (
    Boolean,
    DateTime,
    Text,
    Uuid,
    exists,
    func,
    literal,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import selectinload

from viral.errors import BadInput
from viral.features.generations.concepts import find_concept
from viral.features.generations.timing import LATEST
from viral.schema.content import Concept, Prediction
from viral.schema.results import PerformanceFeedback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.schema.vocabulary import Platform

MOST_A_PAGE = 200
# A page, and one more that tells whether another page follows.
MOST_AT_ONCE = MOST_A_PAGE + 1
MOST_WORDS = 8
LONGEST_WORD = 100


@dataclass(frozen=True, slots=True)
class ConceptFilter:
    """Which concepts: of a category; favourites; with all words asked for.

    Each word begins one in title, hook, caption or script. With a prediction for a platform; with
    results, or without any yet.
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
        .options(selectinload(Concept.predictions))
        .order_by(Concept.created_at.desc(), Concept.id.desc())
    )
    limit = min(limit, MOST_AT_ONCE)
    if words := _words(wanted.search):
        ids = await session.scalars(_with_words(words, wanted, limit=limit, before=before))
        return list(await session.scalars(query.where(Concept.id.in_(ids.all()))))
    query = query.where(Concept.origin == "generated", *_conditions(wanted)).limit(limit)
    if before is not None:
        query = query.where(tuple_(Concept.created_at, Concept.id) < before)
    return list(await session.scalars(query))


def _with_words(
    words: list[str],
    wanted: ConceptFilter,
    *,
    limit: int,
    before: tuple[datetime, UUID] | None,
) -> Select[UUID]:
    before_at, before_id = before or (None, None)
    return select(
        func.viral.search_concepts(
            literal(words, ARRAY(Text)),
            literal(wanted.category, Text),
            literal(wanted.platform, Text),
            literal(wanted.has_result, Boolean),
            wanted.only_favorites,
            literal(before_at, DateTime(timezone=True)),
            literal(before_id, Uuid),
            limit,
            type_=Uuid(),
        )
    )


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


def _words(search: str) -> list[str]:
    words = search.replace("\x00", " ").split()
    if len(words) > MOST_WORDS or any(len(word) > LONGEST_WORD for word in words):
        raise BadInput(
            "That is too much to search for.",
            hint=f"Give up to {MOST_WORDS} words of up to {LONGEST_WORD} characters.",
        )
    return words
