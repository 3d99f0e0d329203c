"""The page about security names lines, tests and settings that exist."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from security.checklist import EXCEPTIONS, LINES, TESTS, named_tests

from viral.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
REPORT = """<testsuites><testsuite>
<testcase classname="a" name="test_a01_rows[one]"/>
<testcase classname="a" name="test_a01_rows[two]"><failure message="x"/></testcase>
<testcase classname="a" name="test_a04_a05_both"/>
<testcase classname="a" name="test_b18_others"><skipped/></testcase>
<testcase classname="a" name="test_something_else"/>
</testsuite></testsuites>"""


def table_of(page: str) -> dict[str, list[str]]:
    """Read the table: words, tests and result by line."""
    rows = re.findall(r"^\| ([ABC]\d\d) \| (.*) \|$", page, re.MULTILINE)
    assert len(rows) == len(dict(rows))
    return {line: [cell.strip() for cell in cells.split("|")] for line, cells in rows}


def tool() -> ModuleType:
    path = ROOT / "tools" / "security_table.py"
    spec = importlib.util.spec_from_file_location("security_table", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_the_table_names_the_lines_and_the_tests_that_exist() -> None:
    tests = named_tests(TESTS)
    expected = {
        line: {path: len(names) for path, names in tests.get(line, {}).items()} for line in LINES
    }

    named = {
        line: {
            f"tests/{path}.py": int(number)
            for path, number in re.findall(r"`([^`]+)` (\d+)", cells[1])
        }
        for line, cells in table_of(PAGE).items()
    }

    assert expected == named, "Run the suite with --junitxml and tools/security_table.py."
    assert list(LINES) == list(named)


def test_every_line_passed_or_says_why_it_was_not_tried() -> None:
    rows = table_of(PAGE)

    for line, cells in rows.items():
        words, _tests, result = cells
        assert LINES[line] == words
        if line in EXCEPTIONS:
            assert EXCEPTIONS[line] == result
        else:
            assert re.fullmatch(r"[1-9][\d,]* passed", result), line


def test_the_page_is_short_enough_to_be_read() -> None:
    assert len(PAGE.splitlines()) < 250


def test_every_setting_of_the_page_exists() -> None:
    known = {
        str(field.validation_alias or f"VIRAL_{name.upper()}")
        for name, field in Settings.model_fields.items()
    }

    named = set(re.findall(r"\b(?:VIRAL_[A-Z_]+|DATABASE_URL)\b", PAGE))
    assert named
    assert set() == named - known


def test_every_file_that_the_page_links_to_exists() -> None:
    targets = set(re.findall(r"\]\(([^)#:]+)\)", PAGE))

    assert targets
    assert set() == {target for target in targets if not (ROOT / "docs" / target).is_file()}


def test_the_table_is_made_from_a_report(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT, "utf-8")
    made = tool()

    results = made.results_of(report)
    page = made.with_table(f"before\n{made.BEGIN}\nformer rows\n{made.END}\nafter\n", results)

    assert {"A01", "A04", "A05", "B18"} == set(results)
    assert Counter(passed=1, failure=1) == results["A01"]
    rows = table_of(page)
    assert "1 failed, 1 passed" == rows["A01"][2]
    assert "1 skipped" == rows["B18"][2]
    assert "0 not run" == rows["A02"][2]
    assert page.startswith("before\n")
    assert page.endswith("\nafter\n")
    assert "former rows" not in page


@pytest.mark.parametrize("line", EXCEPTIONS)
def test_a_line_without_a_test_gives_its_reason(line: str) -> None:
    assert EXCEPTIONS[line] in PAGE
