"""Other tellings of a concept: written for a person to choose from, or as arms of an experiment.

They come from the phrase library, which costs nothing and writes each type of hook on demand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from viral.features.experiments.arms import arms_of, label_of, make_arms
from viral.features.experiments.trials import running_experiment, start_experiment
from viral.features.experiments.verdicts import settle_experiment
from viral.features.generations.brief import lately_said, topic_of
from viral.features.generations.drafts import HOOK_TYPES, Brief
from viral.features.generations.leanings import promising_types
from viral.features.generations.phrasing import Said
from viral.features.trends import TrendBrief
from viral.schema.content import ConceptVariant
from viral.schema.vocabulary import platform_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from random import Random
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.experiments.arms import ExperimentArm
    from viral.features.generations.drafts import Draft, Writer
    from viral.schema.content import Concept, Experiment
    from viral.schema.vocabulary import Platform


@dataclass(frozen=True, slots=True)
class Telling:
    """Who tells a concept in other ways, and what decides how that comes out."""

    writer: Writer
    rng: Random
    now: datetime
    hashed: Callable[[str], str]


async def start_hooks_experiment(
    session: AsyncSession,
    name: str,
    *,
    platform: Platform,
    hook_types: Sequence[str] | None,
    count: int,
    alpha: float,
    most_posts: int,
    now: datetime,
    hashed: Callable[[str], str],
) -> Experiment:
    """Begin an experiment with these types of hooks, or with so many of the promising ones."""
    if hook_types is None:
        best = await promising_types(session, (platform,), now=now, hashed=hashed)
        hook_types = best[:count]
    return await start_experiment(
        session,
        name,
        platform=platform,
        arms=make_arms(hook_types, known=HOOK_TYPES),
        now=now,
        alpha=alpha,
        most_posts=most_posts,
    )


async def assign_arms(
    session: AsyncSession,
    concepts: Sequence[Concept],
    *,
    platforms: Sequence[Platform],
    telling: Telling,
) -> None:
    """Let new concepts take part in the tenant's experiment, where one runs on their platform.

    Each is written as every arm has it, and one arm is selected. A concept that cannot be told as
    one of the arms takes no part. Whoever calls holds the tenant's row: arms are given in turn.
    """
    experiment = await running_experiment(session)
    if experiment is None or experiment.platform not in platforms:
        return
    number = (await settle_experiment(session, experiment, now=telling.now)).concepts
    if experiment.status != "running":
        return
    arms = arms_of(experiment)
    if not arms:
        return
    labels = [arm.label for arm in arms]
    said = list(await lately_said(session))
    for concept in concepts:
        variants = await _as_arms(concept, arms, experiment, said, telling)
        if variants:
            selected = label_of(experiment.id, labels, number)
            number += 1
            for variant in variants:
                variant.is_selected = variant.label == selected
                said.append(said_of(concept, variant))
            session.add_all(variants)
    await session.flush()


async def retell(
    concept: Concept,
    *,
    hook_types: Sequence[str],
    count: int,
    platform: Platform | None,
    said: Sequence[Said],
    telling: Telling,
) -> list[Draft]:
    """Write up to `count` drafts of a concept's topic, with hooks of these types in turn."""
    if concept.trend is None:
        return []
    brief = Brief(
        trends=(msgspec.convert(concept.trend, TrendBrief),),
        count=count,
        asked_at=telling.now,
        category=concept.category,
        taken_titles=frozenset(each.title.casefold() for each in said),
        taken_hooks=frozenset(each.hook.casefold() for each in said if each.hook),
        platform=platform,
        said=tuple(said),
        hook_types=tuple(hook_types),
    )
    return list((await telling.writer.write(brief, rng=telling.rng)).drafts)


def as_written(
    concept: Concept, label: str, *, experiment_id: UUID | None = None, source: str = "template"
) -> ConceptVariant:
    """Make the variant that is the concept as it is."""
    return ConceptVariant(
        concept_id=concept.id,
        label=label,
        title=concept.title,
        hook=concept.hook,
        hook_type=concept.hook_type,
        caption=concept.caption,
        hook_source=source,
        experiment_id=experiment_id,
        is_selected=False,
    )


def as_drafted(
    concept: Concept, label: str, draft: Draft, *, experiment_id: UUID | None = None
) -> ConceptVariant:
    """Make the variant that a draft tells."""
    return ConceptVariant(
        concept_id=concept.id,
        label=label,
        title=draft.title,
        hook=draft.hook,
        hook_type=draft.hook_type,
        caption=draft.caption,
        hook_source="template",
        experiment_id=experiment_id,
        is_selected=False,
    )


def said_of(concept: Concept, variant: ConceptVariant) -> Said:
    return Said(topic_of(concept.trend), variant.title, variant.hook or "", variant.caption)


async def _as_arms(
    concept: Concept,
    arms: Sequence[ExperimentArm],
    experiment: Experiment,
    said: Sequence[Said],
    telling: Telling,
) -> list[ConceptVariant]:
    """Write a concept as each arm has it; an arm of its own type of hook is the concept itself."""
    missing = [arm.hook_type for arm in arms if arm.hook_type != concept.hook_type]
    drafts = await retell(
        concept,
        hook_types=missing,
        count=len(missing),
        platform=platform_of(experiment.platform),
        said=said,
        telling=telling,
    )
    by_type = {draft.hook_type: draft for draft in drafts}
    if set(missing) - by_type.keys():
        return []
    return [
        as_drafted(concept, arm.label, by_type[arm.hook_type], experiment_id=experiment.id)
        if arm.hook_type in by_type
        else as_written(concept, arm.label, experiment_id=experiment.id)
        for arm in arms
    ]
