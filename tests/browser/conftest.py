"""The dashboard as people meet it: a real web process, a real worker, and Chromium."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from uuid import UUID

import pytest
from browser_studio import Studio, Visit
from clusters import Cluster, copy_template, free_port
from playwright.async_api import Browser, async_playwright

from viral.adapters.offline_critic import OfflineCritic
from viral.adapters.offline_writer import OfflineWriter
from viral.features.sample.history import make_demo
from viral.features.scoring.effects import word_hasher

CHROMIUM = shutil.which("chromium")
STARTED_WITHIN_S = 30
DEMO = "demo"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")
_numbers = count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHROMIUM is None and not os.environ.get("VIRAL_REQUIRE_BROWSER"):
        skip = pytest.mark.skip(reason="Debian's package chromium is not installed")
        for item in items:
            if "browser" in item.path.parts:
                item.add_marker(skip)


@pytest.fixture(scope="session")
async def made_demo(cluster: Cluster) -> AsyncIterator[tuple[str, UUID]]:
    """Make the demo studio in a database to copy; its name, and the tenant's id."""
    await copy_template(cluster, DEMO)
    app, system = (cluster.database(role, DEMO) for role in ("viral_app", "viral_system"))
    tenant_id = await make_demo(
        app,
        system,
        secrets=cluster.secrets,
        writer=OfflineWriter(),
        critic=OfflineCritic(),
        now=datetime.now(UTC),
        hashed=word_hasher(cluster.secrets.word_key),
    )
    # Nobody may be in what is copied.
    await app.close()
    await system.close()
    assert tenant_id is not None
    yield DEMO, tenant_id
    await cluster.execute_as_admin("postgres", f"DROP DATABASE {DEMO} WITH (FORCE)")


@pytest.fixture(scope="module")
async def demo_database(cluster: Cluster, made_demo: tuple[str, UUID]) -> AsyncIterator[str]:
    """Give a database with the demo studio that the tests of a module share."""
    name = f"{DEMO}_{next(_numbers)}"
    await copy_template(cluster, name, made_demo[0])
    yield name
    await cluster.execute_as_admin("postgres", f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
async def studio(
    cluster: Cluster,
    made_demo: tuple[str, UUID],
    demo_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Studio]:
    system = cluster.database("viral_system", demo_database)
    folder = tmp_path_factory.mktemp("studio")
    port = free_port()
    environment = process_environment(cluster, demo_database, folder, port)
    processes = [await start(name, environment, folder) for name in ("web", "worker")]
    try:
        await answering(port)
        yield Studio(f"http://127.0.0.1:{port}", made_demo[1], system)
    finally:
        for process in processes:
            process.terminate()
            await process.wait()
        await system.close()


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """A browser; every page of a test has a context of its own."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        await browser.close()


@pytest.fixture
async def visit(chromium: Browser) -> AsyncIterator[Visit]:
    page = await chromium.new_page(viewport={"width": 1280, "height": 900})
    yield Visit(page)
    await page.close()


def process_environment(cluster: Cluster, database: str, folder: Path, port: int) -> dict[str, str]:
    """Settings of a process that works on a test's database."""
    home = folder / "home"
    home.mkdir(mode=0o700)
    source = cluster.home / "secrets.json"
    shutil.copy2(source, home / "secrets.json")
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "VIRAL_HOME": str(home),
        "VIRAL_PORT": str(port),
        "DATABASE_URL": cluster.url("viral_app", database).setting(password=True),
        "DIRECT_URL": cluster.url("viral_migrator", database).libpq(password=True),
    }


async def start(name: str, environment: dict[str, str], folder: Path) -> asyncio.subprocess.Process:
    with (folder / f"{name}.log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "viral", name, env=environment, stdout=log, stderr=log, cwd=folder
        )


async def answering(port: int) -> None:
    for _ in range(STARTED_WITHIN_S * 10):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
    pytest.fail("the web process does not answer")
