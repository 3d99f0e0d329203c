"""A newcomer's way: from the sign-in link to an undone adjustment."""

from __future__ import annotations

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


async def test_a_newcomer_generates_a_concept_and_undoes_an_adjustment(
    studio: Studio, visit: Visit
) -> None:
    page = visit.page
    await enter(page, studio)
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Demo studio")

    await page.get_by_label("How many").fill("1")
    await page.get_by_role("button", name="Generate").click()
    await page.wait_for_load_state()
    await page.get_by_text("Why this score").first.click()
    await page.get_by_role("button", name="Undo").first.click()
    await page.wait_for_load_state()

    await expect(page.get_by_text("undone").first).to_be_visible()
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


@pytest.mark.parametrize("width", [1280, 768, 390, 320])
async def test_the_page_never_scrolls_sideways(studio: Studio, visit: Visit, width: int) -> None:
    await visit.page.set_viewport_size({"width": width, "height": 800})

    await enter(visit.page, studio)

    assert not await scrolls_sideways(visit.page)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
async def test_a_picture_of_the_page_is_kept(
    studio: Studio, visit: Visit, width: int, theme: Literal["light", "dark"]
) -> None:
    await visit.page.set_viewport_size({"width": width, "height": 900})
    await visit.page.emulate_media(color_scheme=theme)
    await enter(visit.page, studio)
    PICTURES.mkdir(parents=True, exist_ok=True)
    picture = PICTURES / f"home-{width}-{theme}.png"

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

    await expect(page.get_by_text("Is it learning?").first).to_be_visible()
    await context.close()
