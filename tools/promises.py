"""Hold the tables of promises in docs/ against the tests: tools/promises.py --check.

Every promise has a number of its own, a state, and tests that exist. Names are looked up in the
source of the tests: collecting them by pytest says the same and takes a hundred times as long.
"""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "docs" / "promises.md", ROOT / "docs" / "studio.md")
STATES = ("kept", "otherwise", "partly")


class Promise(NamedTuple):
    """One row of the page."""

    number: str
    promised: str
    here: str
    state: str
    tests: list[str]


def promises(page: str) -> list[Promise]:
    """Read the rows of all tables that begin with a number."""
    lines = [line for line in page.splitlines() if re.match(r"\| \d+ \|", line)]
    return [_row(line) for line in lines]


def faults(page: str, root: Path = ROOT) -> Iterator[str]:
    """Say what is wrong with the page, a sentence a fault."""
    rows = promises(page)
    if [row.number for row in rows] != [str(number + 1) for number in range(len(rows))]:
        yield "The promises are not numbered from 1 on, each once and in order."
    for row in rows:
        if row.state not in STATES:
            yield f"Promise {row.number}: {row.state!r} is none of {', '.join(STATES)}."
        if not row.tests:
            yield f"Promise {row.number} names no test."
        for test in row.tests:
            path, _, name = test.partition("::")
            if name not in tests_of(root / path):
                yield f"Promise {row.number}: {test} does not exist."
    if summary(rows) not in page:
        yield f"The page does not say: {summary(rows)}"


def summary(rows: list[Promise]) -> str:
    """Count the promises by state, as the page has to say it."""
    states = Counter(row.state for row in rows)
    counted = ", ".join(f"{states[state]} {state}" for state in STATES)
    return f"{len(rows)} promises: {counted}."


@cache
def tests_of(path: Path) -> frozenset[str]:
    """Name the tests of a file; none where there is no such file."""
    if not (path.name.startswith("test_") and path.is_file()):
        return frozenset()
    body = ast.parse(path.read_text("utf-8")).body
    found = (node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(name for name in found if name.startswith("test_"))


def _row(line: str) -> Promise:
    cells = [cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")]
    number, promised, here, state, tests, *_ = [*cells, "", "", "", ""]
    return Promise(number, promised, here, state, re.findall(r"`([^`]+)`", tests))


if __name__ == "__main__":
    if sys.argv[1:] != ["--check"]:
        sys.exit(__doc__)
    for path in PAGES:
        page = path.read_text("utf-8")
        if found := list(faults(page)):
            sys.exit("\n".join([f"{path.name} is not true:", *found]))
        print(f"{path.name}: {summary(promises(page))}")
