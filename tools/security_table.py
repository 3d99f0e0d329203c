"""Write the table of docs/security.md from a run: tools/security_table.py report.xml.

The report is pytest's, of all tests: `.venv/bin/pytest --junitxml=report.xml`.
"""

import sys
from collections import Counter, defaultdict
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from security.checklist import EXCEPTIONS, LINES, TESTS, lines_of, named_tests  # noqa: E402

PAGE = ROOT / "docs" / "security.md"
BEGIN, END = "<!-- table of tests: begin -->", "<!-- table of tests: end -->"
HEAD = ("| line | what is tried | tests | result |", "| --- | --- | --- | --- |")

Results = dict[str, Counter[str]]


def table(results: Results) -> str:
    """Write a row a line: its words, the files with their number of tests, how the run ended."""
    tests = named_tests(TESTS)
    return "\n".join([*HEAD, *(_row(line, tests.get(line, {}), results) for line in LINES)])


def results_of(report: Path) -> Results:
    """Count how the tests of every line ended, each case of a test by itself."""
    ended: Results = defaultdict(Counter)
    for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314 - pytest's own report
        outcome = next((each.tag for each in case if each.tag in _BAD), "passed")
        for line in lines_of(str(case.get("name"))):
            ended[line][outcome] += 1
    return ended


def with_table(page: str, results: Results) -> str:
    """Put the table between the marks of a page."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{table(results)}\n{END}{tail}"


def main() -> int:
    """Write the table; 1 where a line was not tested, or a test did not pass."""
    results = results_of(Path(sys.argv[1]))
    PAGE.write_text(with_table(PAGE.read_text("utf-8"), results), "utf-8")
    untested = [line for line in LINES if line not in EXCEPTIONS and not results[line]]
    failed = [line for line in LINES if set(results[line]) - {"passed"}]
    print(f"{PAGE.name}: {len(LINES)} lines; not tested: {untested}; not passed: {failed}")
    return 1 if untested or failed else 0


_BAD = {"failure": "failed", "error": "failed", "skipped": "skipped"}


def _row(line: str, tests: dict[str, list[str]], results: Results) -> str:
    words = f"| {line} | {LINES[line]}"
    if line in EXCEPTIONS:
        return f"{words} | | {EXCEPTIONS[line]} |"
    files = ", ".join(f"`{_short(path)}` {len(names)}" for path, names in sorted(tests.items()))
    ended = results.get(line) or Counter({"not run": 0})
    said = ", ".join(f"{count:,} {_BAD.get(name, name)}" for name, count in sorted(ended.items()))
    return f"{words} | {files} | {said} |"


def _short(path: str) -> str:
    return path.removeprefix("tests/").removesuffix(".py")


if __name__ == "__main__":
    sys.exit(main())
