"""A newcomer's way: from the sign-in link to an undone adjustment."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

import pytest
from browser_studio import Studio, Visit
from playwright.async_api import Page, expect

pytestmark = pytest.mark.timeout(90)
PICTURES = Path(__file__).parents[2] / "build" / "screenshots"


async def enter(page: Page, studio: Studio, link: str | None = None) -> None:
    await page.goto(link or await studio.new_link())
    await page.get_by_role("button", name="Open the studio").click()
    await page.wait_for_url(studio.address + "/")


async def scrolls_sideways(page: Page) -> bool:
    return bool(
        await page.evaluate(
            "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        )
    )


async def test_a_newcomer_generates_a_concept_and_makes_it_a_favourite(
    studio: Studio, visit: Visit
) -> None:
    page = visit.page
    await enter(page, studio)
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Demo studio")

    await page.get_by_role("link", name="Generate concepts").click()
    await page.get_by_label("How many").fill("1")
    await page.get_by_role("button", name="Generate").click()
    await expect(page.get_by_text("Your order")).to_be_visible()
    card = page.locator("#orders article")
    for _ in range(60):
        if await card.count():
            break
        await asyncio.sleep(0.5)
        await page.reload()
    await card.get_by_text("Why this score").click()
    await expect(card.get_by_text("Starting point")).to_be_visible()
    await card.get_by_role("button", name="Favourite").click()
    await expect(card.locator("[data-favorite]")).to_have_attribute("aria-pressed", "true")
    # It has arrived before.
    assert "none" == await card.evaluate("e => getComputedStyle(e).animationName")
    await page.goto(f"{studio.address}/concepts?favorites=yes")

    await expect(page.locator("article")).to_have_count(1)
    await expect(page.locator("[data-favorite]")).to_have_attribute("aria-pressed", "true")
    assert [] == visit.errors
    assert {studio.address.removeprefix("http://")} == visit.hosts


async def test_a_spent_link_opens_nothing(studio: Studio, visit: Visit) -> None:
    link = await studio.new_link()
    await enter(visit.page, studio, link)
    await visit.page.context.clear_cookies()

    await visit.page.goto(link)
    await visit.page.get_by_role("button", name="Open the studio").click()

    await expect(visit.page.get_by_role("heading", level=1)).to_be_visible()
    assert await visit.page.get_by_text("Newest concepts").count() == 0


async def test_no_page_scrolls_sideways(studio: Studio, visit: Visit) -> None:
    page = visit.page
    await enter(page, studio)
    await page.goto(f"{studio.address}/concepts?status=measured")
    concept = await page.locator("article h3 a").first.get_attribute("href")
    for path in ("/", "/generate", "/concepts", "/concepts?view=table", concept):
        await page.goto(f"{studio.address}{path}")
        for width in (1280, 768, 390, 320):
            await page.set_viewport_size({"width": width, "height": 800})

            assert not await scrolls_sideways(page), (path, width)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
async def test_a_picture_of_the_page_is_kept(
    studio: Studio, visit: Visit, width: int, theme: Literal["light", "dark"]
) -> None:
    await visit.page.set_viewport_size({"width": width, "height": 900})
    await visit.page.emulate_media(color_scheme=theme)
    await enter(visit.page, studio)
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, path in (("home", "/"), ("generate", "/generate"), ("history", "/concepts")):
        picture = PICTURES / f"{name}-{width}-{theme}.png"
        await visit.page.goto(f"{studio.address}{path}")

        await visit.page.screenshot(path=picture, full_page=True)

        assert picture.stat().st_size > 20_000
    assert [] == visit.errors


async def test_the_page_reads_without_javascript(studio: Studio, visit: Visit) -> None:
    await enter(visit.page, studio)
    browser = visit.page.context.browser
    assert browser is not None
    context = await browser.new_context(
        java_script_enabled=False, storage_state=await visit.page.context.storage_state()
    )
    page = await context.new_page()

    await page.goto(studio.address)

    await expect(page.get_by_text("What the system learned this week")).to_be_visible()
    await context.close()
