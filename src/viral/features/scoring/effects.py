"""Rows of effects become learners, and changed learners become rows."""

from __future__ import annotations

import asyncio
import hmac
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import and_, or_, select

from viral.database.bulk import as_arrays, bulk_insert, unnested
from viral.learner.design import design_of
from viral.learner.effects import Effect
from viral.learner.families import FAMILIES, NEWCOMER, NOISE, TRUST, WIDTH, EffectKey
from viral.learner.interval import FIRST_WIDTH
from viral.learner.learner import Learner
from viral.learner.video import effect_keys
from viral.schema.base import uuid7_run
from viral.schema.learning import LearnerEffect, SharedEffect
from viral.schema.vocabulary import GOALS, Goal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Select, TableValuedAlias
    from sqlalchemy.dialects.postgresql import Insert
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import InstrumentedAttribute

    from viral.learner.video import Video

STATE_ROWS: tuple[EffectKey, ...] = (NOISE, WIDTH, NEWCOMER, TRUST)
SHARED_FAMILIES = tuple(name for name, family in FAMILIES.items() if family.is_shared)
OWN_FAMILIES = tuple(name for name, family in FAMILIES.items() if not family.is_shared)
# The interval of the default score, the mean of the goals, is kept under a goal of its own.
SCORE = "score"
Learners = dict[Goal, Learner]

_KEY = ("family", "key")
_STATE = ("mean", "variance", "samples", "day")
_SHARED = ("platform", "goal", "family", "key", *_STATE, "tenants", "published")
_OWN = ("tenant_id", "id", "platform", "goal", "family", "key", *_STATE, "published")


@lru_cache(maxsize=8)
def word_hasher(word_key: bytes) -> Callable[[str], str]:
    """Make the function that hides a tenant's words among the shared effects.

    The same one for the same key: what the learner keeps of words is kept by it.
    """

    def hashed(word: str) -> str:
        return hmac.digest(word_key, word.encode(), "sha256").hex()[:32]

    return hashed


def needed_keys(videos: Iterable[Video], hashed: Callable[[str], str]) -> set[EffectKey]:
    """Name the rows that predictions of these videos look at."""
    keys = set(STATE_ROWS)
    for video in videos:
        design = design_of(video, hashed, effect_keys)
        keys |= design.shared
        keys |= design.own
    return keys


def new_learners(hashed: Callable[[str], str]) -> Learners:
    """Make learners that know nothing."""
    return {goal: Learner(word_key=hashed) for goal in GOALS}


async def load_learners(
    session: AsyncSession,
    platform: str,
    *,
    keys: set[EffectKey],
    hashed: Callable[[str], str],
    into: Learners | None = None,
) -> Learners:
    """Load the rows of `keys`: all tenants' as the system role, one tenant's in its session.

    They go into new learners, or beside what others have learnt. A row without a day is as good as
    none: a lock, or what a replay starts from; an override has none where the tenant has not
    contributed to the shared effect.
    """
    learners = into or new_learners(hashed)
    arrays = as_arrays(sorted(keys), _KEY)
    wanted = unnested(SharedEffect, _KEY)
    shared = (
        select(*state_columns(SharedEffect), SharedEffect.tenants)
        .join(
            wanted, and_(SharedEffect.family == wanted.c.family, SharedEffect.key == wanted.c.key)
        )
        .where(
            SharedEffect.platform == platform,
            SharedEffect.goal.in_(GOALS),
            SharedEffect.day > 0,
        )
    )
    for row in await session.execute(shared, arrays):
        learners[row.goal].shared[row.family, row.key] = Effect(
            row.mean, row.variance, row.samples, row.day, row.published, row.tenants, row.former
        )
    for row in await session.execute(_select_own(platform, wanted), arrays):
        tenant = learners[row.goal].tenants.setdefault(str(row.tenant_id), {})
        tenant[row.family, row.key] = Effect(
            row.mean,
            row.variance,
            row.samples,
            row.day,
            row.published,
            former=row.former,
            is_override=row.is_frozen and row.family in SHARED_FAMILIES,
        )
    return learners


def _select_own(platform: str, wanted: TableValuedAlias) -> Select[*tuple[Any, ...]]:
    """Select tenants' rows of these keys: what was learnt, and overrides of what all share."""
    return (
        select(*state_columns(LearnerEffect), LearnerEffect.tenant_id, LearnerEffect.is_frozen)
        .join(
            wanted, and_(LearnerEffect.family == wanted.c.family, LearnerEffect.key == wanted.c.key)
        )
        .where(
            LearnerEffect.platform == platform,
            or_(
                LearnerEffect.day > 0,
                and_(LearnerEffect.is_frozen, LearnerEffect.family.in_(SHARED_FAMILIES)),
            ),
        )
    )


async def load_score_width(session: AsyncSession, platform: str) -> Effect:
    """Load the width of the default score's interval."""
    row = await session.get(SharedEffect, (platform, SCORE, *WIDTH))
    if row is None or row.day == 0:
        return Effect(FIRST_WIDTH, 0.0, 0, 0, FIRST_WIDTH)
    return Effect(row.mean, row.variance, row.samples, row.day, row.published)


async def save_learners(session: AsyncSession, platform: str, learners: Learners) -> None:
    """Write the rows that changed, as the system role; what is published stays as it is."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(max_workers=1) as thread:
        # One goal's rows are made while the server writes the other's.
        made = {
            goal: loop.run_in_executor(thread, _own_rows, platform, goal, learner)
            for goal, learner in learners.items()
        }
        for goal, learner in learners.items():
            shared = {key: learner.shared[key] for key in sorted(learner.touched.shared)}
            await save_shared(session, platform, goal, shared)
            await session.execute(_upserted_own(), await made[goal])
            learner.clear_touched()


def _own_rows(platform: str, goal: Goal, learner: Learner) -> dict[str, list[object]]:
    """Make the parameters that write what changed of tenants' own rows."""
    touched = [
        (UUID(tenant), key, learner.tenants[tenant][key])
        for tenant, keys in sorted(learner.touched.tenants.items())
        for key in sorted(keys)
    ]
    rows = (
        (tenant_id, row_id, platform, goal, *key, e.mean, e.variance, e.n, e.day, e.published)
        for row_id, (tenant_id, key, e) in zip(uuid7_run(len(touched)), touched, strict=True)
    )
    return as_arrays(rows, _OWN)


async def save_shared(
    session: AsyncSession, platform: str, goal: str, effects: dict[EffectKey, Effect]
) -> None:
    """Write shared rows, as the system role; what is published stays as it is."""
    statement = bulk_insert(SharedEffect, _SHARED)
    statement = statement.on_conflict_do_update(
        index_elements=["platform", "goal", "family", "key"],
        set_={name: statement.excluded[name] for name in (*_STATE, "tenants")},
    )
    rows = [
        (platform, goal, *key, e.mean, e.variance, e.n, e.day, e.tenants, e.published)
        for key, e in effects.items()
    ]
    await session.execute(statement, as_arrays(rows, _SHARED))


def _upserted_own() -> Insert:
    statement = bulk_insert(LearnerEffect, _OWN)
    return statement.on_conflict_do_update(
        index_elements=["tenant_id", "platform", "goal", "family", "key"],
        set_={name: statement.excluded[name] for name in _STATE},
    )


def state_columns(
    table: type[SharedEffect | LearnerEffect],
) -> tuple[InstrumentedAttribute[object], ...]:
    """Name the columns of a row of state."""
    # Columns, not objects: a batch loads a hundred thousand of them.
    return (
        table.goal,
        table.family,
        table.key,
        table.mean,
        table.variance,
        table.samples,
        table.day,
        table.published,
        table.former,
    )


def is_effect(key: EffectKey) -> bool:
    """Tell effects from the rows that hold other state."""
    return key[0] in FAMILIES
