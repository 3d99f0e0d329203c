"""Experiments of a tenant: begun, found, ended by hand. One runs at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import select, tuple_

from viral.errors import AlreadyExists, BadInput, NotFound
from viral.features.experiments.sequential import FEWEST_POSTS
from viral.schema.base import uuid7
from viral.schema.content import Experiment
from viral.schema.tenants import Tenant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.experiments.arms import ExperimentArm
    from viral.schema.vocabulary import Platform

USUAL_ALPHA = 0.05
USUAL_POSTS = 200
SMALLEST_ALPHA, LARGEST_ALPHA = 0.001, 0.5
MOST_POSTS = 5_000
LONGEST_NAME = 60
MOST_LISTED = 200


async def start_experiment(
    session: AsyncSession,
    name: str,
    *,
    platform: Platform,
    arms: Sequence[ExperimentArm],
    now: datetime,
    alpha: float = USUAL_ALPHA,
    most_posts: int = USUAL_POSTS,
) -> Experiment:
    """Begin an experiment with concepts that are generated from here on.

    Raises AlreadyExists for a name that is taken, and while another one runs: a concept can be
    told in one way only.
    """
    _check(name, len(arms), alpha, most_posts)
    # Whoever starts another one at the same time waits here.
    await session.execute(select(Tenant.id).with_for_update())
    running = await running_experiment(session)
    if running is not None:
        raise AlreadyExists(
            f"The experiment {running.name!r} is running.",
            hint=f"Wait for its end, or `viral experiments stop {running.name}`.",
        )
    if await session.scalar(select(Experiment.id).where(Experiment.name == name)):
        raise AlreadyExists(f"There is an experiment {name!r}.", hint="Choose another name.")
    experiment = Experiment(
        id=uuid7(),
        name=name,
        platform=platform,
        arms=[msgspec.to_builtins(arm) for arm in arms],
        alpha=alpha,
        most_posts=most_posts,
        status="running",
        winner=None,
        document={},
        decided_at=None,
        created_at=now,
    )
    session.add(experiment)
    await session.flush()
    return experiment


async def running_experiment(session: AsyncSession) -> Experiment | None:
    """Find the tenant's experiment that runs, if there is one."""
    running = select(Experiment).where(Experiment.status == "running").order_by(Experiment.id)
    return await session.scalar(running.limit(1))


async def list_experiments(
    session: AsyncSession,
    *,
    limit: int = MOST_LISTED,
    status: str | None = None,
    before: tuple[datetime, UUID] | None = None,
) -> list[Experiment]:
    """List a page of the tenant's experiments, the newest first."""
    newest = select(Experiment).order_by(Experiment.created_at.desc(), Experiment.id.desc())
    if status is not None:
        newest = newest.where(Experiment.status == status)
    if before is not None:
        newest = newest.where(tuple_(Experiment.created_at, Experiment.id) < before)
    return list(await session.scalars(newest.limit(limit)))


async def find_experiment(session: AsyncSession, name: str) -> Experiment:
    """Find an experiment by its name; raises NotFound."""
    found = await session.scalar(select(Experiment).where(Experiment.name == name))
    if found is None:
        raise NotFound(
            f"There is no experiment {name[:LONGEST_NAME]!r}.", hint="See `viral experiments list`."
        )
    return found


async def experiment_of(session: AsyncSession, experiment_id: UUID) -> Experiment:
    """Find an experiment by its id; raises NotFound."""
    found = await session.scalar(select(Experiment).where(Experiment.id == experiment_id))
    if found is None:
        raise NotFound(f"There is no experiment {experiment_id}.")
    return found


def _check(name: str, arms: int, alpha: float, most_posts: int) -> None:
    if not name.isprintable() or name != name.strip() or not 1 <= len(name) <= LONGEST_NAME:
        raise BadInput(
            "An experiment cannot have this name.",
            hint=f"Give 1 to {LONGEST_NAME} characters that can be seen.",
        )
    if not SMALLEST_ALPHA <= alpha <= LARGEST_ALPHA:
        raise BadInput(
            f"{alpha:g} is no useful risk of a false winner.",
            hint=f"Give {SMALLEST_ALPHA} to {LARGEST_ALPHA}; usual is {USUAL_ALPHA}.",
        )
    if not FEWEST_POSTS * arms <= most_posts <= MOST_POSTS:
        raise BadInput(
            f"{most_posts:,} posts cannot decide between {arms} arms.",
            hint=f"Give {FEWEST_POSTS * arms} to {MOST_POSTS:,}: {FEWEST_POSTS} an arm at least.",
        )
