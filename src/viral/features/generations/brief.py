"""What a writer is told: trends, what was said before, what the tenant's results have shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from viral.errors import BadInput, NothingToWriteAbout
from viral.features.generations.drafts import Brief, Wish
from viral.features.generations.leanings import hook_shares
from viral.features.generations.phrasing import Said
from viral.features.trends import brief_of, current_trends, find_trend
from viral.learner.predicates import parse_predicate
from viral.schema.content import Concept, ConceptVariant
from viral.schema.learning import ReflexionInsight
from viral.schema.vocabulary import PLATFORMS

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.schema.vocabulary import Platform

# No title, hook or phrase twice within a tenant's latest concepts.
MEMORY = 200
MOST_INSIGHTS = 20
LONGEST_SENTENCE = 300


async def make_brief(
    session: AsyncSession,
    *,
    count: int,
    category: str | None,
    platform: Platform | None,
    now: datetime,
    hashed: Callable[[str], str],
    trend_id: UUID | None = None,
) -> Brief:
    """Gather what a writer of the session's tenant needs; raises NothingToWriteAbout.

    With a trend it is about that alone, or NotFound.
    """
    if trend_id is None:
        trends = await current_trends(session, category=category)
    else:
        trends = (brief_of(await find_trend(session, trend_id)),)
    if not trends:
        raise NothingToWriteAbout("There is no trend to write about.")
    said = await lately_said(session)
    platforms = PLATFORMS if platform is None else (platform,)
    insights = await _confirmed(session, platform)
    return Brief(
        trends=trends,
        count=count,
        asked_at=now,
        category=category,
        taken_titles=frozenset(each.title.casefold() for each in said),
        taken_hooks=frozenset(each.hook.casefold() for each in said if each.hook),
        insights=tuple(dict.fromkeys(_sentence(each) for each in insights)),
        platform=platform,
        said=said,
        hook_shares=await hook_shares(session, platforms, now=now, hashed=hashed),
        wishes=tuple(_wishes(insights)),
    )


async def lately_said(session: AsyncSession) -> tuple[Said, ...]:
    """Return the lines of the tenant's latest concepts, and of their variants."""
    latest = (
        select(Concept.id, Concept.trend, Concept.title, Concept.hook, Concept.caption)
        .where(Concept.origin == "generated")
        .order_by(Concept.created_at.desc(), Concept.id.desc())
        .limit(MEMORY)
    )
    topics: dict[object, str] = {}
    said = []
    for concept_id, trend, title, hook, caption in await session.execute(latest):
        topics[concept_id] = topic_of(trend)
        said.append(Said(topics[concept_id], title, hook, caption))
    variants = select(
        ConceptVariant.concept_id,
        ConceptVariant.title,
        ConceptVariant.hook,
        ConceptVariant.caption,
    ).where(ConceptVariant.concept_id.in_(list(topics)))
    for concept_id, title, variant_hook, caption in await session.execute(variants):
        said.append(Said(topics[concept_id], title, variant_hook or "", caption))
    return tuple(said)


def topic_of(trend: dict[str, object] | None) -> str:
    """Return the topic in a concept's copy of its trend."""
    return str((trend or {}).get("topic", ""))


async def _confirmed(session: AsyncSession, platform: Platform | None) -> list[ReflexionInsight]:
    """Return the tenant's confirmed insights that scores rest on, the largest first."""
    query = select(ReflexionInsight).where(
        ReflexionInsight.status == "confirmed", ReflexionInsight.applied_to_scoring
    )
    if platform is not None:
        query = query.where(ReflexionInsight.platform == platform)
    found = list(await session.scalars(query))
    found.sort(key=lambda each: (-abs(each.effect_size), each.platform, each.pattern_key))
    return found[:MOST_INSIGHTS]


def _sentence(insight: ReflexionInsight) -> str:
    verdict = "better" if insight.impact == "positive" else "worse"
    sentence = f"{insight.pattern}: does {verdict} than foretold otherwise."
    return sentence[:LONGEST_SENTENCE]


def _wishes(insights: list[ReflexionInsight]) -> list[Wish]:
    """Read the predicates; what is a pattern in words alone is in the predictions already."""
    wishes: dict[Wish, None] = {}
    for each in insights:
        try:
            predicate = parse_predicate(each.pattern_key)
        except BadInput:
            continue
        wishes[Wish(predicate, 1 if each.impact == "positive" else -1)] = None
    return list(wishes)
