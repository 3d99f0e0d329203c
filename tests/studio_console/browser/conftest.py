"""Studio on a port of its own, and Chromium in front of it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
from browser.conftest import CHROMIUM, FLAGS
from browser_studio import Visit, served
from litestar import Litestar
from playwright.async_api import Browser, async_playwright

from studio_console.conftest import Ground


@pytest.fixture(scope="module")
async def address(studio_of: Litestar) -> AsyncIterator[str]:
    async with served(studio_of) as address:
        yield address


@pytest.fixture(scope="module")
async def chromium() -> AsyncIterator[Browser]:
    if CHROMIUM is None and not os.environ.get("VIRAL_REQUIRE_BROWSER"):
        pytest.skip("Debian's package chromium is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        await browser.close()


@pytest.fixture
async def visit(chromium: Browser, address: str, ground: Ground) -> AsyncIterator[Visit]:
    """Open a page of Alice, who is signed in."""
    page = await chromium.new_page(viewport={"width": 1280, "height": 900})
    visit = Visit(page)
    await page.goto(f"{address}/sign-in?token={await ground.link(ground.alice)}")
    await page.get_by_role("button", name="Open the studio").click()
    await page.wait_for_load_state()
    yield visit
    await page.close()
