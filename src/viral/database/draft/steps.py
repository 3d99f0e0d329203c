"""Changes become the steps of a script: neighbours share a transaction where they may."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from viral.database.draft.changes import Change, Mode, Phase
from viral.database.scripts import Step
from viral.schema.security import OWNER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NAMED = 2


def steps_of(changes: Iterable[Change]) -> list[Step]:
    """Put changes into steps, in their order."""
    return [_step(group) for group in _groups(changes)]


def with_unique_names(steps: Iterable[Step]) -> list[Step]:
    """Give numbers to steps whose names stand twice."""
    seen: Counter[str] = Counter()
    found = []
    for step in steps:
        seen[step.name] += 1
        number = seen[step.name]
        found.append(step if number == 1 else replace(step, name=f"{step.name} ({number})"))
    return found


def _groups(changes: Iterable[Change]) -> Iterator[list[Change]]:
    group: list[Change] = []
    for change in changes:
        if group and not _joins(change, group):
            yield group
            group = []
        group.append(change)
    if group:
        yield group


def _joins(change: Change, group: list[Change]) -> bool:
    """Tell whether a change may run with others: a step locks one table and no second."""
    last = group[-1]
    locked = {each.locks for each in [*group, change]} - {None}
    return (
        change.mode is last.mode is Mode.TOGETHER
        and change.phase.label == last.phase.label
        and len(locked) <= 1
    )


def _step(group: list[Change]) -> Step:
    mode = group[0].mode
    titles = list(dict.fromkeys(change.title for change in group))
    shown = ", ".join(titles[:_NAMED])
    if len(titles) > _NAMED:
        shown += f" and {len(titles) - _NAMED} more"
    return Step(
        name=f"{group[0].phase.label}: {shown}",
        sql="\n\n".join(_as_owner(group, mode)),
        is_transactional=mode is not Mode.OUTSIDE,
        risks=tuple(dict.fromkeys(risk for change in group for risk in change.risks)),
        in_sight=tuple(dict.fromkeys(each for change in group for each in change.in_sight)),
    )


def _as_owner(changes: list[Change], mode: Mode) -> Iterator[str]:
    role = OWNER
    if any(change.phase is Phase.FUNCTION for change in changes):
        # Bodies may name tables that are made after them.
        yield "SET LOCAL check_function_bodies = off;"
    for change in changes:
        if change.owner != role and mode is not Mode.OUTSIDE:
            yield f"SET LOCAL ROLE {change.owner};"
            role = change.owner
        waivers = "".join(f"-- lint: {each.rule}: {each.reason}\n" for each in change.waivers)
        yield f"{waivers}{change.sql};"
    if role != OWNER:
        yield f"SET LOCAL ROLE {OWNER};"
