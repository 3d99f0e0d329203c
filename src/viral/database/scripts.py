"""Migration scripts: SQL files whose comment lines divide them into steps.

    -- step: index videos by colour, outside a transaction
    -- at risk: values of videos.model: SELECT count(*) FROM videos WHERE model IS NOT NULL
    -- in sight: public.videos, public.concepts
    -- lint: ban-drop-column: nothing has read it since 0.3

"in sight" names the tables whose rows the step works on: forced row security hides them from their
owner otherwise. A step is one transaction. One that ends in "outside a transaction" holds a single
statement, such as CREATE INDEX CONCURRENTLY. A script without step lines is one step, named after
its file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from viral.errors import BadScript

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OUTSIDE = ", outside a transaction"
_DIRECTIVE = re.compile(r"^-- (step|at risk|in sight|lint): *(.*?)\s*$")
_RISK = re.compile(r"(?P<what>.+?): (?P<query>SELECT .+)", re.IGNORECASE)
_TABLES = re.compile(r"[^\s,]+(, *[^\s,]+)*")
_WAIVER = re.compile(r"(?P<rule>[a-z][a-z-]*): (?P<reason>.+)")


@dataclass(frozen=True, slots=True)
class Risk:
    """What a step would lose, and the query that counts it (one row, one number)."""

    what: str
    query: str


@dataclass(frozen=True, slots=True)
class Waiver:
    """A lint rule that the statement below `line` breaks on purpose."""

    rule: str
    reason: str
    line: int


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction of a migration, or one statement outside of any. Lines count from 1."""

    name: str
    sql: str
    line: int = 1
    is_transactional: bool = True
    risks: tuple[Risk, ...] = ()
    in_sight: tuple[str, ...] = ()
    waivers: tuple[Waiver, ...] = ()


def parse_script(text: str, *, name: str) -> list[Step]:
    """Divide a script into its steps; `name` is the file's, without its ending."""
    parts: list[tuple[str | None, int, list[str]]] = [(None, 1, [])]
    for number, line in enumerate(text.splitlines(), start=1):
        found = _DIRECTIVE.match(line)
        if found and found[1] == "step":
            if not found[2]:
                raise BadScript(f"{name}, line {number}: the step has no name.")
            parts.append((found[2], number, []))
        parts[-1][2].append(line)
    head, *steps = parts
    if not steps:
        return [_step(name, 1, head[2], script=name)]
    if any(line.strip() and not line.startswith("--") for line in head[2]):
        raise BadScript(
            f"{name}: there are statements before the first step.",
            hint="Put a line `-- step: what it does` above them.",
        )
    found_steps = [_step(title or name, line, lines, script=name) for title, line, lines in steps]
    names = [step.name for step in found_steps]
    if twice := next((each for each in names if names.count(each) > 1), None):
        raise BadScript(f"{name}: two steps are called {twice!r}.")
    return found_steps


def render_script(subject: str, steps: Iterable[Step]) -> str:
    """Write a script that `parse_script` reads back."""
    lines = [f"-- {subject}"]
    for step in steps:
        lines += ["", f"-- step: {step.name}{'' if step.is_transactional else OUTSIDE}"]
        lines += [f"-- at risk: {risk.what}: {risk.query}" for risk in step.risks]
        if step.in_sight:
            lines.append(f"-- in sight: {', '.join(step.in_sight)}")
        lines += [f"-- lint: {waiver.rule}: {waiver.reason}" for waiver in step.waivers]
        lines += [step.sql.strip()]
    return "\n".join(lines) + "\n"


def _step(title: str, line: int, lines: list[str], *, script: str) -> Step:
    is_transactional = not title.endswith(OUTSIDE)
    directives = list(_directives(lines, line, script))
    return Step(
        name=title.removesuffix(OUTSIDE),
        sql="\n".join(each for each in lines if not _DIRECTIVE.match(each)).strip(),
        line=line,
        is_transactional=is_transactional,
        risks=tuple(each for each in directives if isinstance(each, Risk)),
        in_sight=tuple(each for each in directives if isinstance(each, str)),
        waivers=tuple(each for each in directives if isinstance(each, Waiver)),
    )


_FORMS = {
    "at risk": "what: SELECT count(*) ...",
    "in sight": "table, table",
    "lint": "rule: reason",
}


def _directives(lines: list[str], first: int, script: str) -> Iterator[Risk | Waiver | str]:
    for number, line in enumerate(lines, start=first):
        found = _DIRECTIVE.match(line)
        if not found or found[1] == "step":
            continue
        kind, text = found[1], found[2]
        if kind == "at risk" and (risk := _RISK.fullmatch(text)):
            yield Risk(risk["what"], risk["query"])
        elif kind == "in sight" and _TABLES.fullmatch(text):
            yield from (table.strip() for table in text.split(","))
        elif kind == "lint" and (waiver := _WAIVER.fullmatch(text)):
            yield Waiver(waiver["rule"], waiver["reason"], number)
        else:
            raise BadScript(f"{script}, line {number}: write `-- {kind}: {_FORMS[kind]}`.")
