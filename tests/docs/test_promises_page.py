"""Each promise of the specification names tests that exist, and a page that is wrong is found."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "promises.md").read_text("utf-8")
SOUND = """2 promises: 1 kept, 0 otherwise, 1 partly.

| no | promised | here | state | proven by |
| --- | --- | --- | --- | --- |
| 1 | a lock | a door | kept | `tests/test_door.py::test_it_locks` |
| 2 | a bell | a knocker | partly | `tests/test_door.py::test_it_knocks` |
"""
# Commands, tables and indexes that the specification names.
NAMED = (
    *("migrate dev", "migrate deploy", "migrate reset", "migrate status", "generate --watch"),
    *("format", "validate", "db pull", "db push", "db execute", "pg_dump", "psql"),
    *("users", "tenants", "generations", "videos", "social_accounts", "social_posts"),
    *("performance_feedback", "analytics_snapshots", "self_critiques", "reflexion_insights"),
    *("scoring_adjustments", "job_queue", "system_metrics", "api_usage", "DATABASE_URL"),
    *("DIRECT_URL", "setTenantContext", "P2002", "connection_limit", "sslmode=require"),
)
# What Studio was to have.
STUDIO = (
    *("14 of 14", "types", "filters", "sort", "relations as links with preview", "inline edit"),
    *("staged edit with a diff", "add", "delete with what will go along", "JSON drawer", "CSV"),
    *("tenant switcher under row security", "read-only switch", "schema diagram", "1,000,000"),
    *("migration status", "SQL console, read-only by default", "by typed SQL", "time limit"),
    *("history", "EXPLAIN picture", "loopback and signed in", "secrets never shown"),
)


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("promises", ROOT / "tools" / "promises.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the tests that SOUND names."""
    tests = tmp_path / "tests"
    tests.mkdir()
    code = "def test_it_locks(): ...\n\n\nasync def test_it_knocks(): ...\n"
    (tests / "test_door.py").write_text(code, "utf-8")
    return tmp_path


@pytest.mark.parametrize("name", ["promises.md", "studio.md"])
def test_every_promise_names_tests_that_exist(name: str) -> None:
    checked = {path.name: path for path in tool().PAGES}

    assert [] == list(tool().faults(checked[name].read_text("utf-8")))


def test_every_line_of_studio_s_list_is_ticked() -> None:
    page = (ROOT / "docs" / "studio.md").read_text("utf-8")
    promised = " ".join(row.promised for row in tool().promises(page))

    assert [] == [line for line in STUDIO if line not in promised]


def test_what_the_specification_names_is_a_promise_of_the_page() -> None:
    promised = " ".join(row.promised for row in tool().promises(PAGE))

    assert [] == [name for name in NAMED if name not in promised]


def test_every_link_of_the_page_leads_to_a_file() -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", PAGE)

    assert targets
    assert [] == [each for each in targets if not (ROOT / "docs" / each).is_file()]


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("", "", None),
        ("::test_it_knocks", "::test_it_rings", "Promise 2: tests/test_door.py::test_it_rings"),
        ("test_door.py::test_it_kn", "test_gate.py::test_it_kn", "Promise 2: tests/test_gate.py"),
        ("`tests/test_door.py::test_it_locks` |", "|", "Promise 1 names no test."),
        ("| kept |", "| sure |", "Promise 1: 'sure' is none of kept, otherwise, partly."),
        ("| 2 |", "| 1 |", "The promises are not numbered from 1 on"),
        ("1 kept", "2 kept", "The page does not say: 2 promises: 1 kept"),
    ],
)
def test_a_page_that_is_wrong_is_found(
    checkout: Path, before: str, after: str, fault: str | None
) -> None:
    page = SOUND.replace(before, after, 1) if before else SOUND

    found = list(tool().faults(page, checkout))

    if fault is None:
        assert [] == found
    else:
        assert any(each.startswith(fault) for each in found), found
