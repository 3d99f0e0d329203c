"""The statements of a migration script, read by PostgreSQL's own grammar."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePath
from typing import TYPE_CHECKING

from postgast import PgQueryError, parse, wrap
from postgast.nodes import AstNode, ParseResult

from viral.database.scripts import Step, parse_script
from viral.errors import BadScript

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """One statement and where it stands: line from 1, column in bytes from 0."""

    script: str
    step: Step
    line: int
    column: int
    node: AstNode


def lines_of(text: str) -> list[str]:
    """Divide a script as `parse_script` does: what runs is these lines, joined by line feeds."""
    return text.splitlines()


def steps_of(script: str, text: str) -> list[Step]:
    return parse_script(text, name=PurePath(script).stem)


def read_statements(script: str, text: str) -> Iterator[Statement]:
    """Yield the statements of a script in order; raise BadScript where it is not SQL."""
    lines = lines_of(text)
    steps = steps_of(script, text)
    starts = [step.line - 1 for step in steps]
    for step, (first, end) in zip(steps, pairwise([*starts, len(lines)]), strict=True):
        yield from _statements(script, step, "\n".join(lines[first:end]).encode())


def _statements(script: str, step: Step, source: bytes) -> Iterator[Statement]:
    breaks = [at for at, byte in enumerate(source) if byte == ord("\n")]
    for node, offset in _parse(script, step, source):
        line = bisect_right(breaks, offset)
        start = breaks[line - 1] + 1 if line else 0
        yield Statement(script, step, step.line + line, offset - start, node)


def _parse(script: str, step: Step, source: bytes) -> Iterator[tuple[AstNode, int]]:
    try:
        tree = wrap(parse(source.decode()))
    except PgQueryError as error:
        line = step.line + source[: max(error.cursorpos - 1, 0)].count(b"\n")
        raise BadScript(
            f"{script}, line {line}: {error.message}.", hint="Correct the statement."
        ) from error
    assert isinstance(tree, ParseResult)
    for raw in tree.stmts:
        if raw.stmt is not None:
            yield raw.stmt, raw.stmt_location
