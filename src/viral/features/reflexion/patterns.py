"""Patterns that a tenant's own results support, in words."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, func, select

from viral.database.bulk import as_arrays, bulk_insert
from viral.database.engine import tenant_of
from viral.features.scoring.labels import label_of
from viral.learner.interval import Z_80
from viral.schema.base import uuid7
from viral.schema.learning import LearnerEffect, ReflexionInsight, SharedEffect
from viral.schema.vocabulary import PLATFORM_NAMES

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import InstrumentedAttribute

FEWEST_VIDEOS = 5
# Of a pattern that a person can act on; a level, or who follows, is none.
SHARED_FAMILIES = (
    "category",
    "hour",
    "weekday",
    "duration",
    "hook",
    "script",
    "sound",
    "tag_count",
)
OWN_FAMILIES = ("tenant_category", "tenant_duration", "tenant_hook", "tenant_script", "tenant_word")
_REFRESHED = (
    "pattern",
    "evidence_count",
    "impact",
    "effect_size",
    "low",
    "high",
    "recommendation",
    "applied_to_scoring",
    "last_seen_at",
)


async def note_patterns(session: AsyncSession, *, now: datetime) -> int:
    """Write down the patterns that hold in the tenant's videos; how many there are."""
    found = [*await _own_patterns(session), *await _shared_patterns(session)]
    if not found:
        return 0
    rows = [
        {"id": uuid7(), "discovered_at": now, "last_seen_at": now, **pattern} for pattern in found
    ]
    names = tuple(rows[0])
    statement = bulk_insert(ReflexionInsight, names)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant_id", "category", "platform", "pattern_key"],
            set_={name: statement.excluded[name] for name in _REFRESHED},
        ),
        as_arrays((tuple(row.values()) for row in rows), names),
    )
    return len(found)


async def _own_patterns(session: AsyncSession) -> list[dict[str, object]]:
    rows = await session.scalars(
        select(LearnerEffect).where(
            LearnerEffect.family.in_(OWN_FAMILIES),
            LearnerEffect.samples >= FEWEST_VIDEOS,
            _is_sure(LearnerEffect.mean, LearnerEffect.variance),
        )
    )
    tenant_id = tenant_of(session)
    return [
        {"tenant_id": tenant_id, **_pattern(row, row.samples, is_applied=row.published != 0)}
        for row in rows
    ]


async def _shared_patterns(session: AsyncSession) -> list[dict[str, object]]:
    """Take shared effects to which the tenant has given videos enough of its own."""
    rows = await session.execute(
        select(SharedEffect, LearnerEffect.samples)
        .join(
            LearnerEffect,
            and_(
                LearnerEffect.platform == SharedEffect.platform,
                LearnerEffect.goal == SharedEffect.goal,
                LearnerEffect.family == SharedEffect.family,
                LearnerEffect.key == SharedEffect.key,
            ),
        )
        .where(
            SharedEffect.family.in_(SHARED_FAMILIES),
            LearnerEffect.samples >= FEWEST_VIDEOS,
            _is_sure(SharedEffect.mean, SharedEffect.variance),
        )
    )
    tenant_id = tenant_of(session)
    return [
        {"tenant_id": tenant_id, **_pattern(effect, samples, is_applied=effect.published != 0)}
        for effect, samples in rows
    ]


def _is_sure(
    mean: InstrumentedAttribute[float], variance: InstrumentedAttribute[float]
) -> ColumnElement[bool]:
    # What is shown is an 80 % interval: it leaves out zero. One fact has several effects (all
    # videos of a length, this tenant's), and each alone is less sure than what they say together.
    return func.abs(mean) > Z_80 * func.sqrt(variance)


def _pattern(
    effect: SharedEffect | LearnerEffect, samples: int, *, is_applied: bool
) -> dict[str, object]:
    label = label_of(effect.family, effect.key)
    half = Z_80 * sqrt(effect.variance)
    is_good = effect.mean > 0
    verb = "adds" if is_good else "costs"
    is_category = effect.family in {"category", "tenant_category"}
    return {
        "category": effect.key if is_category else "any",
        "platform": effect.platform,
        "pattern_key": f"{effect.goal}:{effect.family}:{effect.key}"[:200],
        "pattern": f"{PLATFORM_NAMES[effect.platform]}, {label[0].lower()}{label[1:]}:"
        f" {verb} {abs(effect.mean):.1f} points of {effect.goal}",
        "evidence_count": samples,
        "impact": "positive" if is_good else "negative",
        "effect_size": effect.mean,
        "low": effect.mean - half,
        "high": effect.mean + half,
        "recommendation": "Do more of it." if is_good else "Do less of it, or try another way.",
        "applied_to_scoring": is_applied,
    }
