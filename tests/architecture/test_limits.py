"""The measures of the house: length, arguments, ignores, edges, and what no file may hold."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
PYTHON = sorted(
    path for folder in ("src", "tests", "tools", "bench") for path in (ROOT / folder).rglob("*.py")
)
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
LONGEST_FUNCTION = 50
LONGEST_FILE = 500
# Where an error that we do not know by name may be caught: the command line, HTTP, the worker.
EDGES = {"cli/application.py", "worker/lane.py", "worker/loop.py", "web/problems.py", "web/door.py"}


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert function.end_lineno is not None
    documentation = ast.get_docstring(function, clean=False)
    lines = function.end_lineno - function.lineno + 1
    return lines - (documentation.count("\n") + 1 if documentation else 0)


def test_no_function_is_longer_than_fifty_lines() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name} has {length_of(function)}"
        for path in PYTHON
        for function in functions(path)
        if length_of(function) > LONGEST_FUNCTION
    ]

    assert [] == long


def test_no_file_is_longer_than_five_hundred_lines() -> None:
    files = [*PYTHON, *SOURCE.rglob("*.sql"), *SOURCE.rglob("*.html"), *SOURCE.rglob("*.js")]

    long = [
        str(path.relative_to(ROOT))
        for path in files
        if len(path.read_text("utf-8").splitlines()) > LONGEST_FILE
    ]

    assert [] == long


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in PYTHON
        if not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]

    assert [] == silent


def test_everything_is_caught_only_at_the_outer_edges() -> None:
    caught = {
        str(path.relative_to(SOURCE / "viral"))
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "Exception"))
    }

    assert caught <= EDGES


def test_every_ignored_type_error_has_its_code_and_its_reason() -> None:
    bare = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in PYTHON
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        # [:] keeps these two lines from finding themselves.
        if re.search(r"type[:] ignore", line)
        and not re.search(r"# type[:] ignore\[[a-z, -]+\]  # \S+", line)
    ]

    assert [] == bare


def test_only_the_settings_read_the_environment() -> None:
    readers = [
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if re.search(r"os\.(environ|getenv)", path.read_text("utf-8"))
        and path.name != "settings.py"
    ]

    assert [] == readers


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_lock_files_pin_by_hash_and_name_no_index(lock: Path) -> None:
    text = lock.read_text("utf-8")
    pinned = [line for line in text.splitlines() if re.match(r"[a-z0-9]", line)]

    assert pinned
    assert all("==" in line for line in pinned)
    assert text.count("--hash=sha256:") >= len(pinned)
    assert not re.search(r"https?://|--index-url|--find-links", text)


def test_no_committed_file_names_a_machines_folder_or_a_package_registry() -> None:
    listing = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    hosts = ("pypi", "pythonhosted", "npmjs", "debian")
    unwanted = re.compile(rf"(?<![\w.])/(?:root|home/\w+)/|\b(?:{'|'.join(hosts)})\.(?:org|com)")

    found = [
        name
        for name in listing.stdout.splitlines()
        if (ROOT / name).suffix not in {".png", ".lock"}
        and (ROOT / name).is_file()
        and unwanted.search((ROOT / name).read_text("utf-8", errors="replace"))
    ]

    assert [] == found
