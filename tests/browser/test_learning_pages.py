"""The pages of learning and of results in a real browser: by keyboard, on a phone, as pictures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browser_studio import Studio, Visit
from playwright.async_api import expect

from browser.test_home import enter, scrolls_sideways

pytestmark = pytest.mark.timeout(90)
PICTURES = Path(__file__).parents[2] / "build" / "screenshots"


async def test_a_chart_is_read_and_a_run_undone_by_keyboard(studio: Studio, visit: Visit) -> None:
    page = visit.page
    await enter(page, studio)
    await page.goto(f"{studio.address}/reflexion")
    scatter = page.locator("figure", has_text="Do posts reach what was predicted?")
    last = await scatter.locator("[data-reading]").inner_text()

    await scatter.locator("[data-plot]").focus()
    await page.keyboard.press("Home")
    await expect(scatter.locator("[data-reading]")).not_to_have_text(last)
    await page.keyboard.press("End")
    await expect(scatter.locator("[data-reading]")).to_have_text(last)
    button = page.get_by_role("button", name="Undo all").first
    await button.press("Enter")
    asked = page.locator("dialog[open]")
    await expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    for _ in range(4):
        await page.keyboard.press("Shift+Tab")
        # Or with the browser's own bar.
        assert await asked.evaluate(
            "e => e.contains(document.activeElement) || !document.hasFocus()"
        )
    await page.keyboard.press("Escape")
    await expect(button).to_be_focused()
    await button.press("Enter")
    await page.get_by_role("button", name=re.compile(r"^Undo \d+ changes$")).press("Enter")

    await expect(page.get_by_text(re.compile(r"\d+ changes of .* are undone"))).to_be_visible()
    await expect(page).to_have_url(re.compile(r"\?change=([0-9a-f-]{36})#adjustment-\1$"))
    assert [] == visit.errors
    assert {studio.address.removeprefix("http://")} == visit.hosts


async def test_rows_are_pasted_looked_at_and_stored(studio: Studio, visit: Visit) -> None:
    page = visit.page
    await enter(page, studio)
    await page.goto(f"{studio.address}/performance")

    rows = "id\tplatform\tpublished_at\tviews\npasted\ttiktok\t2026-01-02\t1200\nx\ttiktok\t?\t1"
    await page.get_by_label("Rows with a header line").fill(rows)
    await page.get_by_role("button", name="Look at it first").press("Enter")
    await expect(page.get_by_text("Nothing is stored yet.")).to_contain_text("1 row left out")
    await page.get_by_role("button", name="Store 1 result").press("Enter")

    await expect(page.get_by_text("1 result stored.")).to_contain_text("1 row left out")
    assert [] == visit.errors


async def test_pictures_of_both_pages_are_kept(studio: Studio, visit: Visit) -> None:
    page = visit.page
    await enter(page, studio)
    PICTURES.mkdir(parents=True, exist_ok=True)
    sideways = []
    for width, theme in ((1280, "light"), (1280, "dark"), (390, "light"), (320, "dark")):
        await page.set_viewport_size({"width": width, "height": 900})
        await page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        for name in ("reflexion", "performance"):
            await page.goto(f"{studio.address}/{name}")
            picture = PICTURES / f"{name}-{width}-{theme}.png"
            await page.screenshot(path=picture, full_page=True)
            assert picture.stat().st_size > 10_000
            sideways += [(name, width)] if await scrolls_sideways(page) else []

    assert [] == sideways
    assert [] == visit.errors
