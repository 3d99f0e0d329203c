"""Studio's tables by mouse and by keyboard, in a real browser."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest
from browser_studio import Studio, Visit
from clusters import Cluster, free_port
from playwright.async_api import Locator, Page, expect

from browser.conftest import answering, process_environment, start

pytestmark = pytest.mark.timeout(120)
PICTURES = Path(__file__).parents[2] / "build" / "screenshots"
PAGES = {
    "tables": "/tables",
    "grid": "/tables/concepts",
    "new": "/tables/videos/new",
    "withheld": "/tables/sessions",
}


@pytest.fixture(scope="module")
async def tables(
    studio: Studio,
    cluster: Cluster,
    demo_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Studio]:
    """Run Studio beside the dashboard, on the same database."""
    folder = tmp_path_factory.mktemp("tables")
    port = free_port()
    environment = process_environment(cluster, demo_database, folder, port)
    process = await start("studio", {**environment, "VIRAL_STUDIO_PORT": str(port)}, folder)
    try:
        await answering(port)
        yield Studio(f"http://127.0.0.1:{port}", studio.tenant_id, studio.system)
    finally:
        process.terminate()
        await process.wait()


async def enter(page: Page, tables: Studio, path: str = "/tables", *, writes: bool = False) -> None:
    await page.goto(await tables.new_link())
    await page.get_by_role("button", name="Open the studio").click()
    await page.wait_for_url(f"{tables.address}/tables")
    if writes:
        await page.get_by_role("switch").click()
        await expect(page.get_by_role("switch", name="Changes allowed")).to_be_checked()
    await page.goto(tables.address + path)


def cell(page: Page, row: int, column: str) -> Locator:
    return page.locator("tbody tr").nth(row).locator(f"td[data-label={column}]")


async def test_cells_are_edited_by_keyboard_alone_and_saved_after_a_look(
    tables: Studio, visit: Visit
) -> None:
    page = visit.page
    await enter(page, tables, "/tables/concepts", writes=True)
    title = await cell(page, 1, "title").inner_text()
    await cell(page, 0, "title").click()

    await page.keyboard.press("F2")
    await page.keyboard.press("ControlOrMeta+a")
    await page.keyboard.type("A title by hand")
    await page.keyboard.press("Enter")
    await page.keyboard.press("F2")
    await page.keyboard.type("is thrown away")
    await page.keyboard.press("Escape")
    await expect(cell(page, 1, "title")).to_have_text(title)
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("F2")
    await page.keyboard.press("ControlOrMeta+a")
    await page.keyboard.type("And a hook")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status")).to_contain_text("2 cells changed")
    # Edits wait through a page that is loaded again.
    await page.reload()
    await expect(cell(page, 0, "hook")).to_have_text("And a hook")
    await page.keyboard.press("ControlOrMeta+s")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Save 2 cells of 1 row?")
    await page.keyboard.press("ControlOrMeta+s")

    await expect(page.get_by_text("2 cells of 1 row saved.")).to_be_visible()
    await expect(cell(page, 0, "title")).to_have_text("A title by hand")
    await expect(page.get_by_role("button", name="Review and save")).to_be_hidden()
    assert [] == visit.errors
    assert {tables.address.removeprefix("http://")} == visit.hosts


async def test_an_undone_edit_waits_no_longer(tables: Studio, visit: Visit) -> None:
    page = visit.page
    await enter(page, tables, "/tables/concepts", writes=True)
    before = await cell(page, 2, "category").inner_text()
    await cell(page, 2, "category").dblclick()
    await page.keyboard.type("x")
    await page.keyboard.press("Enter")
    await expect(cell(page, 2, "category")).to_have_class(re.compile("changed"))

    await cell(page, 2, "category").click()
    await page.keyboard.press("u")

    await expect(cell(page, 2, "category")).to_have_text(before)
    await expect(page.get_by_role("button", name="Review and save")).to_be_hidden()


async def test_nothing_opens_an_editor_while_studio_reads(tables: Studio, visit: Visit) -> None:
    await enter(visit.page, tables, "/tables/concepts")

    await cell(visit.page, 0, "title").dblclick()

    assert 0 == await visit.page.locator(".editor").count()


async def test_a_link_shows_its_row_and_a_document_opens_at_the_side(
    tables: Studio, visit: Visit
) -> None:
    page = visit.page
    await enter(page, tables, "/tables/predictions")

    await cell(page, 0, "concept_id").get_by_role("link").hover()
    await expect(page.get_by_role("tooltip")).to_contain_text("concepts")
    await cell(page, 0, "reasons").click(position={"x": 2, "y": 2})
    await page.keyboard.press("Enter")
    drawer = page.get_by_role("dialog", name="reasons")
    await expect(drawer).to_contain_text('"label": "Starting point"')
    await page.keyboard.press("Escape")

    await expect(drawer).to_be_hidden()
    assert [] == visit.errors


async def test_a_table_is_found_and_rows_are_deleted_by_keyboard(
    tables: Studio, visit: Visit
) -> None:
    page = visit.page
    await enter(page, tables, writes=True)
    await page.keyboard.press("/")
    await page.keyboard.type("generat")
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{tables.address}/tables/generations")

    await cell(page, 0, "writer").click()
    await page.keyboard.press("x")
    await page.get_by_role("button", name="Delete selected").press("Enter")

    await expect(page.get_by_role("heading", level=1)).to_have_text("Delete 1 row of generations?")
    await expect(page.get_by_text("rows of other tables will be deleted along")).to_be_visible()
    assert [] == visit.errors


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
async def test_pictures_of_studio_are_kept(
    tables: Studio, visit: Visit, width: int, theme: Literal["light", "dark"]
) -> None:
    await visit.page.set_viewport_size({"width": width, "height": 900})
    await visit.page.emulate_media(color_scheme=theme)
    await enter(visit.page, tables, writes=True)
    PICTURES.mkdir(parents=True, exist_ok=True)

    for name, path in PAGES.items():
        await visit.page.goto(tables.address + path)
        picture = PICTURES / f"studio-{name}-{width}-{theme}.png"
        await visit.page.screenshot(path=picture)
        assert picture.stat().st_size > 10_000
    assert [] == visit.errors


async def test_tables_read_without_javascript(tables: Studio, visit: Visit) -> None:
    await enter(visit.page, tables)
    browser = visit.page.context.browser
    assert browser is not None
    context = await browser.new_context(
        java_script_enabled=False, storage_state=await visit.page.context.storage_state()
    )
    page = await context.new_page()

    await page.goto(f"{tables.address}/tables/concepts?sort=title")
    await page.locator("tbody tr").first.get_by_role("link").first.click()

    await expect(page.get_by_role("heading", name="What points here")).to_be_visible()
    await context.close()
