"""Node and the npm packages that the tests here run; installed once, outside of the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from fcntl import LOCK_EX, flock
from hashlib import sha256
from pathlib import Path
from typing import NoReturn

import pytest

from viral.database.generate.prisma import prisma_schema

HERE = Path(__file__).parent
GUIDE = HERE.parents[1] / "docs/prisma-clients.md"
CACHE = Path.home() / ".cache/viral-interop"
# Read before the tests' environment is cleaned of the settings of this machine.
IS_REQUIRED = os.environ.get("VIRAL_REQUIRE_NODE") == "1"


def make_workspace(folder: Path) -> Path:
    """Put the schema, the packages and our scripts into a folder, as a JavaScript project."""
    (folder / "node_modules").symlink_to(_install() / "node_modules")
    for name in ("package.json", "prisma_tools.mjs"):
        shutil.copy(HERE / name, folder)
    (folder / "schema.prisma").write_text(prisma_schema(), "utf-8")
    return folder


def run(folder: Path, *command: str, stdin: str = "", **environment: str) -> str:
    """Run a program and return what it prints; a failure shows what it complained about."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def code_of_guide(name: str) -> str:
    """Return the block of the guide whose first line is a comment with the name of a file."""
    found = re.search(
        rf"^```ts\n// {re.escape(name)}\n(.*?)^```$",
        GUIDE.read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    assert found, f"{GUIDE} has no block {name}"
    return found[1]


def _install() -> Path:
    """Install the locked packages, unless they are; a second test process waits for the first."""
    if not (shutil.which("node") and shutil.which("npm")):
        _give_up("node and npm are not on this machine")
    lock = (HERE / "package-lock.json").read_bytes()
    folder = CACHE / sha256(lock).hexdigest()[:16]
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as turn:
        flock(turn, LOCK_EX)
        if not (folder / "complete").exists():
            _run_npm(folder)
    return folder


def _run_npm(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder)
    # Without scripts: Prisma would download engines that nothing here uses.
    done = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        _give_up(f"npm could not install the packages: {done.stderr[-500:]}")
    (folder / "complete").touch()


def _give_up(reason: str) -> NoReturn:
    if IS_REQUIRED:
        pytest.fail(f"{reason}, and VIRAL_REQUIRE_NODE=1 asks for the tests with Prisma")
    pytest.skip(f"the tests with the real Prisma did not run: {reason}")
