"""How PostgreSQL carries a text out: the tree that EXPLAIN gives, with each step's own share.

The times of EXPLAIN ANALYZE are means of a step's loops and include the steps below it (manual,
14.1). Here a step has the time of all its loops, and its own is what its children leave. EXPLAIN
hangs what is worked out once (InitPlan, CTE) on the root of its query, but its time is spent in the
step that asks for it first: there it is put.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from viral.database.console.answers import Answer, Refusal
from viral.database.console.run import read, rehearse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from uuid import UUID

    from viral.database.console.sessions import Bounds, Places

# What says where a step reads, and by which condition, in the order in which it is shown.
_CONDITIONS = (
    "Index Cond",
    "Recheck Cond",
    "Hash Cond",
    "Merge Cond",
    "Join Filter",
    "Filter",
    "One-Time Filter",
    "Sort Key",
    "Group Key",
)
# An estimate so many times off is worth a word.
FAR_OFF = 10


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a plan. Times are milliseconds of all loops; None where nothing was measured.

    `weight` is what the step and those below it take: time if it was measured, else cost; `own` is
    the step's part of that.
    """

    title: str
    conditions: tuple[tuple[str, str], ...]
    estimated: int
    actual: int | None
    loops: int | None
    removed: int | None
    weight: float
    own: float
    children: tuple[Step, ...]

    @property
    def times_off(self) -> float | None:
        """How many times more, or fewer, rows came than were expected."""
        if self.actual is None:
            return None
        most, least = max(self.actual, self.estimated), min(self.actual, self.estimated)
        return max(most, 1) / max(least, 1)

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Step]]:
        """Go through the step and all below it, each with its depth."""
        yield depth, self
        for child in self.children:
            yield from child.walk(depth + 1)


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan; `planning_ms` and `execution_ms` are None where the text was not run."""

    root: Step
    is_measured: bool
    planning_ms: float | None
    execution_ms: float | None

    @property
    def heaviest(self) -> Step:
        """The step whose own part is the largest."""
        return max((step for _, step in self.root.walk()), key=lambda step: step.own)

    def share(self, step: Step) -> float:
        """Return a step's own part of the whole, from 0 to 1."""
        return min(1.0, step.own / self.root.weight) if self.root.weight else 0.0


async def explain(
    places: Places,
    text: str,
    *,
    tenant_id: UUID,
    bounds: Bounds,
    is_measured: bool,
    writes: bool,
) -> Plan | Refusal:
    """Ask how a text would be carried out, or run it to measure that; nothing of it is kept."""
    options = "ANALYZE, BUFFERS OFF, FORMAT JSON" if is_measured else "FORMAT JSON"
    run = rehearse if writes else read
    answer = await run(
        places, text, tenant_id=tenant_id, bounds=bounds, prefix=f"EXPLAIN ({options}) "
    )
    if not isinstance(answer, Answer):
        return _without_prefix(answer)
    return plan_of(str(answer.rows[0][0]), is_measured=is_measured)


def plan_of(document: str, *, is_measured: bool) -> Plan:
    """Read what EXPLAIN (FORMAT JSON) gives."""
    (whole,) = json.loads(document)
    if "Plan" not in whole:
        # Such as NOTIFY, below a rule.
        whole = {"Plan": {"Node Type": "Utility statement", "Total Cost": 0, "Plan Rows": 0}}
    if is_measured:
        _hand_down(whole["Plan"])
    return Plan(
        root=_step(whole["Plan"], is_measured=is_measured),
        is_measured=is_measured,
        planning_ms=whole.get("Planning Time"),
        execution_ms=whole.get("Execution Time"),
    )


def _hand_down(node: dict[str, object]) -> None:
    """Move what is worked out once to the step in whose time it is."""
    below = _children(node)
    own = [each for each in below if each.get("Parent Relationship") != "InitPlan"]
    for once in [each for each in below if each.get("Parent Relationship") == "InitPlan"]:
        asking = next((step for step in _walk({**node, "Plans": own}) if _asks(step, once)), None)
        if asking is not None and asking.get("Plans") is not own:
            below.remove(once)
            asking["Plans"] = [*_children(asking), once]
    for child in list(_children(node)):
        _hand_down(child)


def _asks(step: Mapping[str, object], once: Mapping[str, object]) -> bool:
    name = str(once.get("Subplan Name", ""))
    if name.startswith("CTE "):
        return step.get("CTE Name") == name.removeprefix("CTE ")
    # Before PostgreSQL 17: InitPlan 1 (returns $0), and $0 where it is asked for.
    word = name.partition("(returns ")[2].rstrip(")") or name
    pattern = re.compile(rf"{re.escape(word)}(?!\d)")
    return any(pattern.search(_said(step[each])) for each in _CONDITIONS if each in step)


def _walk(node: dict[str, object]) -> Iterator[dict[str, object]]:
    yield node
    for child in _children(node):
        yield from _walk(child)


def _children(node: Mapping[str, object]) -> list[dict[str, object]]:
    below = node.get("Plans")
    return below if isinstance(below, list) else []


def _step(node: Mapping[str, object], *, is_measured: bool) -> Step:
    children = tuple(_step(each, is_measured=is_measured) for each in _children(node))
    loops = _number(node, "Actual Loops") if is_measured else None
    weight = (
        _number(node, "Actual Total Time") * (loops or 0)
        if is_measured
        else _number(node, "Total Cost")
    )
    return Step(
        title=_title(node),
        conditions=tuple((name, _said(node[name])) for name in _CONDITIONS if name in node),
        estimated=round(_number(node, "Plan Rows") * (loops or 1)),
        actual=None if loops is None else round(_number(node, "Actual Rows") * loops),
        loops=None if loops is None else round(loops),
        removed=round(_number(node, "Rows Removed by Filter") * (loops or 1)) or None,
        weight=weight,
        own=max(0.0, weight - sum(child.weight for child in children)),
        children=children,
    )


def _title(node: Mapping[str, object]) -> str:
    """Name a step as EXPLAIN's text does: Index Scan using videos_pkey on videos v."""
    title = str(node["Node Type"])
    strategy, operation, join = (node.get(k) for k in ("Strategy", "Operation", "Join Type"))
    if title == "Aggregate" and strategy in {"Hashed", "Sorted", "Mixed"}:
        title = {"Hashed": "HashAggregate", "Sorted": "GroupAggregate"}.get(str(strategy), title)
    elif title == "ModifyTable" and operation:
        title = str(operation)
    elif join and join != "Inner":
        title = f"{title.removesuffix(' Join')} {join} Join"
    if node.get("Parallel Aware"):
        title = f"Parallel {title}"
    if name := node.get("Subplan Name"):
        title = f"{name}: {title}"
    if index := node.get("Index Name"):
        title += f" using {index}"
    place = next(
        (str(node[k]) for k in ("Relation Name", "CTE Name", "Function Name") if k in node), ""
    )
    alias = node.get("Alias")
    if place:
        title += f" on {place}" + (f" {alias}" if alias not in {None, place} else "")
    return title


def _number(node: Mapping[str, object], name: str) -> float:
    value = node.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def _said(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _without_prefix(refused: Refusal) -> Refusal:
    if refused.sqlstate == "42601" and "EXPLAIN" in refused.message:
        return Refusal(
            "The text has an EXPLAIN of its own.",
            "Leave it out, or run the text as it is to read the plan as text.",
            refused.sqlstate,
            refused.position,
        )
    return refused
