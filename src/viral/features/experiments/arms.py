"""The arms of an experiment, and which of them the next concept is told as."""

from __future__ import annotations

from random import Random
from string import ascii_uppercase
from typing import TYPE_CHECKING

import msgspec

from viral.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from uuid import UUID

    from viral.schema.content import Experiment

FEWEST_ARMS, MOST_ARMS = 2, 5


class ExperimentArm(msgspec.Struct, frozen=True):
    """One way to open a video: every concept told as this arm has a hook of this type."""

    label: str
    hook_type: str


def arms_of(experiment: Experiment) -> tuple[ExperimentArm, ...]:
    """Read the arms as the row keeps them; none where somebody wrote something else by hand."""
    try:
        return tuple(msgspec.convert(experiment.arms, list[ExperimentArm]))
    except msgspec.ValidationError:
        return ()


def make_arms(hook_types: Sequence[str], *, known: Collection[str]) -> list[ExperimentArm]:
    """Give each type of hook a letter; raises BadInput with the known ones."""
    strange = [each for each in hook_types if each not in known]
    if strange:
        raise BadInput(
            f"{strange[0][:60]!r} is not a type of hook.", hint=f"One of: {', '.join(known)}."
        )
    if not FEWEST_ARMS <= len(set(hook_types)) == len(hook_types) <= MOST_ARMS:
        raise BadInput(
            "These arms cannot be compared.",
            hint=f"Name {FEWEST_ARMS} to {MOST_ARMS} types of hooks, each once.",
        )
    return [
        ExperimentArm(label, hook_type)
        for label, hook_type in zip(ascii_uppercase, hook_types, strict=False)
    ]


def label_of(experiment_id: UUID, labels: Sequence[str], number: int) -> str:
    """Say as which arm the concept of this number, from 0, is told.

    Permuted blocks: each arm once in every run of as many concepts as there are arms, in an order
    that nobody knows before, and that the experiment's id fixes.
    """
    block, place = divmod(number, len(labels))
    order = list(labels)
    Random(f"{experiment_id} {block}").shuffle(order)  # noqa: S311 - an order, no secret
    return order[place]
