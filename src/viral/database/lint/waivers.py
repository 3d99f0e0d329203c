"""Waivers: `-- lint: rule: reason` allows the next statement of its step to break a rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from viral.database.lint.findings import Finding
from viral.database.lint.rules import HINTS
from viral.database.lint.statements import steps_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from viral.database.lint.revision import Breach, Revision
    from viral.database.lint.statements import Statement
    from viral.database.scripts import Step, Waiver

_FEWEST_WORDS = 3


@dataclass(frozen=True, slots=True)
class _Placed:
    """A waiver and the statement that it is for, if there is one."""

    script: str
    waiver: Waiver
    statement: Statement | None

    @property
    def has_reason(self) -> bool:
        return len(self.waiver.reason.split()) >= _FEWEST_WORDS


def apply_waivers(
    scripts: Mapping[str, str], revision: Revision, breaches: Iterable[Breach]
) -> list[Finding]:
    """Turn breaches into findings, and add one for every waiver without a use or a reason."""
    placed = list(_placed(scripts, revision))
    waived = {
        (each.statement, each.waiver.rule): each.waiver.reason for each in placed if each.has_reason
    }
    findings, broken = [], set()
    for breach in breaches:
        broken.add((breach.statement, breach.rule))
        reason = waived.get((breach.statement, breach.rule))
        findings.append(_finding(breach, reason))
    findings += [_complaint(each, rule) for each in placed if (rule := _fault(each, broken))]
    order = list(scripts)
    return sorted(findings, key=lambda found: (order.index(found.script), found.line))


def _placed(scripts: Mapping[str, str], revision: Revision) -> Iterator[_Placed]:
    for script, text in scripts.items():
        for step in steps_of(script, text):
            for waiver in step.waivers:
                yield _Placed(script, waiver, _next(revision, script, step, waiver.line))


def _next(revision: Revision, script: str, step: Step, line: int) -> Statement | None:
    following = (
        each
        for each in revision.statements
        if each.script == script and each.step.name == step.name and each.line > line
    )
    return next(following, None)


def _finding(breach: Breach, reason: str | None) -> Finding:
    return Finding(
        rule=breach.rule,
        script=breach.statement.script,
        line=breach.line or breach.statement.line,
        message=breach.message,
        hint=breach.hint or HINTS[breach.rule],
        is_waived=reason is not None,
        reason=reason,
    )


def _fault(placed: _Placed, broken: set[tuple[Statement, str]]) -> str | None:
    if not placed.has_reason:
        return "waiver-without-reason"
    if placed.statement is None or (placed.statement, placed.waiver.rule) not in broken:
        return "unused-waiver"
    return None


def _complaint(placed: _Placed, rule: str) -> Finding:
    waiver = placed.waiver
    messages = {
        "waiver-without-reason": f"{waiver.reason!r} is no reason to break {waiver.rule}.",
        "unused-waiver": f"The statement below does not break {waiver.rule}.",
    }
    return Finding(rule, placed.script, waiver.line, messages[rule], HINTS[rule])
