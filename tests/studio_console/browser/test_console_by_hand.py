"""The console as people meet it: by keyboard, in colour, on a phone, with a past."""

from __future__ import annotations

import pytest
from browser_studio import Visit
from playwright.async_api import Page, expect

pytestmark = pytest.mark.timeout(90)


async def run(page: Page, sql: str) -> None:
    await page.get_by_label("SQL", exact=True).fill(sql)
    await page.keyboard.press("Control+Enter")


async def test_a_text_is_run_by_keyboard_and_kept_in_the_history(
    visit: Visit, address: str
) -> None:
    page = visit.page
    await page.goto(f"{address}/console")

    await run(page, "SELECT slug -- mine\nFROM tenants")

    await expect(page.get_by_role("cell", name="alice")).to_be_visible()
    await expect(page.get_by_role("status").last).to_contain_text("1 row")
    assert ["SELECT", "FROM"] == await page.locator(".editor-paint .sql-word").all_inner_texts()
    await page.reload()
    await expect(page.get_by_role("button", name="Run again")).to_be_visible()
    await page.get_by_label("Search the history").fill("nothing like it")
    await expect(page.get_by_text("Nothing in the history")).to_be_visible()
    await page.get_by_label("Search the history").fill("MINE")
    await page.get_by_role("button", name="Run again").press("Enter")
    await expect(page.get_by_role("cell", name="alice")).to_be_visible()
    assert ([], {address.removeprefix("http://")}) == (visit.errors, visit.hosts)


async def test_what_is_selected_is_run_alone_and_its_error_marked(
    visit: Visit, address: str
) -> None:
    page = visit.page
    await page.goto(f"{address}/console")
    await page.get_by_label("SQL", exact=True).fill("SELECT 1;\nSELECT titel")

    await page.get_by_label("SQL", exact=True).evaluate("field => field.setSelectionRange(10, 22)")
    await page.keyboard.press("Control+Enter")

    await expect(page.locator(".editor-paint mark")).to_have_text("titel")
    await expect(page.get_by_label("Answer").get_by_text('Column "titel"')).to_be_visible()
    at = await page.get_by_label("SQL", exact=True).evaluate("field => field.selectionStart")
    assert 17 == at


async def test_escape_cancels(visit: Visit, address: str) -> None:
    page = visit.page
    await page.goto(f"{address}/console")
    await run(page, "SELECT pg_sleep(50)")
    await expect(page.get_by_role("button", name="Cancel")).to_be_visible()

    await page.keyboard.press("Escape")

    await expect(page.get_by_label("Answer").get_by_text("Cancelled.")).to_be_visible()
    await expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
    assert [] == visit.errors


async def test_a_refusal_at_the_door_keeps_the_text(visit: Visit, address: str) -> None:
    page = visit.page
    await page.goto(f"{address}/console")
    await page.locator("form[data-console] [name=_csrf_token]").evaluate("e => e.value = 'old'")

    await run(page, "SELECT 'long work'")

    await expect(page.get_by_label("Answer").get_by_role("alert")).to_contain_text("out of date")
    assert "SELECT 'long work'" == await page.get_by_label("SQL", exact=True).input_value()


async def test_a_drawer_opens_by_keyboard_and_gives_the_focus_back(
    visit: Visit, address: str
) -> None:
    page = visit.page
    await page.goto(f"{address}/migrations")
    link = page.get_by_role("link", name="0001 init")

    await link.press("Enter")
    await expect(page.get_by_role("dialog").get_by_text("content.sql")).to_be_visible()
    await page.keyboard.press("Escape")

    await expect(link).to_be_focused()
    assert f"{address}/migrations" == page.url


async def test_the_diagram_is_searched_and_zoomed_by_keyboard(visit: Visit, address: str) -> None:
    page = visit.page
    await page.goto(f"{address}/diagram")
    scale = page.locator("[data-er-scale]")
    before = await scale.inner_text()

    await page.get_by_role("region", name="Diagram").press("+")
    await page.get_by_role("region", name="Diagram").press("/")
    await page.keyboard.type("reservation")
    await page.keyboard.press("Enter")

    await expect(page.get_by_role("status").last).to_have_text("2 of 3: generations")
    assert 3 == await page.locator(".er-hit").count()
    assert before != await scale.inner_text()
    assert [] == visit.errors
