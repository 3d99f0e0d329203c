"""C19 and C20: what is installed and from where, and what an installation in production tells."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from clusters import Cluster
from litestar import get
from structlog.testing import capture_logs
from web.conftest import Browser, browsing, serving, settings_for

from viral.settings import Settings
from viral.web.door import OPEN

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text("utf-8").splitlines()
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
DESCRIPTIONS = (
    *("/schema", "/schema/openapi.json", "/schema/openapi.yaml", "/schema/swagger"),
    "/docs",
)


# Dependencies.


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_c19_every_package_is_locked_to_its_hashes(lock: Path) -> None:
    packages = re.split(r"^(?=[a-z0-9])", lock.read_text("utf-8"), flags=re.MULTILINE)[1:]

    assert packages
    assert [] == [each.split()[0] for each in packages if "--hash=sha256:" not in each]
    assert [] == [each.split()[0] for each in packages if not re.match(r"\S+==\S+", each)]


def test_c19_everything_is_installed_by_hash() -> None:
    installing = [line for line in MAKEFILE if "pip install" in line and "--editable" not in line]

    assert installing
    assert [] == [line for line in installing if "--require-hashes" not in line]


def test_c19_a_bill_of_materials_names_what_is_locked(tmp_path: Path) -> None:
    (command,) = (line for line in MAKEFILE if "cyclonedx_py" in line)
    target = tmp_path / "sbom.json"
    words = command.strip().removeprefix("@$(BIN)/python").split()
    words = [str(target) if word == "dist/sbom.json" else word for word in words]

    subprocess.run([sys.executable, *words], cwd=ROOT, check=True, timeout=50)

    made = json.loads(target.read_text("utf-8"))
    named = {f"{each['name']}=={each['version']}" for each in made["components"]}
    lock = (ROOT / "requirements" / "run.lock").read_text("utf-8")
    locked = set(re.findall(r"^([a-z0-9][^\s;]+)", lock, re.MULTILINE))
    assert "CycloneDX" == made["bomFormat"]
    assert {re.sub(r"\[.*\]", "", each) for each in locked} == named


def test_c19_the_rules_against_unsafe_code_are_on() -> None:
    lint = PROJECT["tool"]["ruff"]["lint"]
    off = {
        (where, rule)
        for where, rules in lint["per-file-ignores"].items()
        for rule in rules
        if re.fullmatch(r"S\d*", rule) and not where.startswith(("tests/", "tools/"))
    }

    assert ["ALL"] == lint["select"]
    # Assertions narrow types.
    assert ["S101"] == [rule for rule in lint["ignore"] if re.fullmatch(r"S\d*", rule)]
    # Programs that we name, and SQL from names that PostgreSQL quoted itself.
    assert {"S603", "S608"} == {rule for _, rule in off}


# Production.


@pytest.fixture(scope="module")
def production(cluster: Cluster, module_database: str, short_folder: Path) -> Settings:
    settings = settings_for(cluster, short_folder / "home", module_database)
    return settings.model_copy(update={"environment": "production"})


@pytest.fixture
async def strict(production: Settings) -> AsyncIterator[Browser]:
    """Open an installation in production, with a route that fails."""

    @get("/fails", opt=OPEN)
    async def fail() -> None:
        raise RuntimeError("postgresql://viral_app:hunter2@127.0.0.1/viral")

    async with serving(production) as application:
        application.register(fail)
        async with browsing(application) as browser:
            yield browser


async def test_c20_production_serves_no_description(strict: Browser) -> None:
    statuses = {path: (await strict.get(path)).status_code for path in DESCRIPTIONS}

    assert dict.fromkeys(DESCRIPTIONS, 404) == statuses


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"api_description": True}, 200),
        ({"api_description": False, "environment": None}, 404),
        ({"environment": None}, 200),
    ],
)
async def test_c20_whether_the_api_is_described_is_a_setting(
    production: Settings, change: dict[str, Any], status: int
) -> None:
    settings = production.model_copy(update=change)
    async with serving(settings) as application, browsing(application) as browser:
        assert status == (await browser.get("/schema/openapi.json")).status_code


async def test_c20_a_failure_shows_no_trace(strict: Browser) -> None:
    with capture_logs() as logs:
        page = await strict.get("/fails")
        program = await strict.client.get("/api/v1/nowhere", headers={"Accept": "text/plain"})

    said = page.text + program.text + str(logs)
    assert (500, 404) == (page.status_code, program.status_code)
    assert "hunter2" not in said
    assert "Traceback" not in said
    assert "RuntimeError" not in page.text
    assert "request.failed" in str(logs)


@pytest.mark.parametrize("method", ["TRACE", "TRACK", "DEBUG", "CONNECT"])
async def test_c20_methods_that_mirror_a_request_are_off(strict: Browser, method: str) -> None:
    answers = [
        await strict.client.request(method, path, headers={"X-Planted": "mirror"})
        for path in ("/", "/api/v1/tenant", "/health", "/static/viral.css")
    ]

    assert {each.status_code for each in answers} <= {401, 405}
    assert not any("mirror" in each.text for each in answers)
