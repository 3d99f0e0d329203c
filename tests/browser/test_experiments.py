"""From a concept to its variants, to posts, to the way of opening that wins; with pictures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from browser_studio import Studio, Visit
from playwright.async_api import Page, expect
from sqlalchemy import select

from browser.test_home import enter
from browser.test_journey import SHOWN_WITHIN_MS, Album, folder_of_pictures
from viral.schema.content import ConceptVariant

pytestmark = pytest.mark.timeout(180)
AT_ONCE = 10
HEADER = "id,platform,published_at,views,likes,concept_id"


async def test_a_concepts_variants_lead_to_an_experiment_and_its_winner(
    studio: Studio, visit: Visit, tmp_path: Path
) -> None:
    page, album = visit.page, Album(visit.page, folder_of_pictures("experiments", tmp_path))
    await page.emulate_media(reduced_motion="reduce")
    await enter(page, studio)

    await tell_in_other_ways(page, studio, album)
    address = await compare_the_openings(page, album)
    await write_concepts(page, studio, album)
    await add_results(page, studio, album)

    await page.goto(address)
    await expect(page.locator("#standing h2")).to_contain_text("wins", timeout=SHOWN_WITHIN_MS)
    await expect(page.locator("#arms")).to_contain_text("winner")
    await album.keep("winner")
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.emulate_media(color_scheme="dark")
    await album.keep("winner-phone")
    assert [] == visit.errors
    assert {studio.address.removeprefix("http://")} == visit.hosts


async def tell_in_other_ways(page: Page, studio: Studio, album: Album) -> None:
    await page.goto(f"{studio.address}/concepts?status=open&view=table")
    await page.get_by_role("rowheader").get_by_role("link").first.click()
    await page.get_by_role("button", name="Tell it in other ways").click()
    await page.get_by_role("button", name="Post this variant, B").click()
    told = page.locator("#variants li", has_text="B: ")
    await expect(told).to_contain_text("to be posted")
    await album.keep("variants")


async def compare_the_openings(page: Page, album: Album) -> str:
    await page.get_by_role("link", name="Compare these openings").click()
    form = page.locator("#start form")
    await form.get_by_label("Name").fill("openers")
    await form.get_by_label("Platform").select_option("tiktok")
    # Two arms are decided sooner.
    await form.get_by_label("Arm C").select_option("")
    await album.keep("start")
    await form.get_by_role("button", name="Start").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("openers")
    await album.keep("begun")
    return page.url


async def write_concepts(page: Page, studio: Studio, album: Album) -> None:
    """Two orders: an arm is not judged before eight posts."""
    for _ in range(2):
        await page.goto(f"{studio.address}/generate?platform=tiktok")
        await page.get_by_label("How many").fill(str(AT_ONCE))
        await page.get_by_role("button", name="Generate", exact=True).click()
        cards = page.locator("#orders article")
        await expect(cards).to_have_count(AT_ONCE, timeout=SHOWN_WITHIN_MS)
    await album.keep("concepts")


async def add_results(page: Page, studio: Studio, album: Album) -> None:
    """Let one arm do far better, and have the results learnt."""
    async with studio.system.session_without_tenant() as session:
        told = await session.execute(
            select(ConceptVariant.concept_id, ConceptVariant.label)
            .where(ConceptVariant.experiment_id.is_not(None), ConceptVariant.is_selected)
            .order_by(ConceptVariant.concept_id)
        )
        lines = [line_of(number, *row) for number, row in enumerate(told)]
    await page.goto(f"{studio.address}/performance")
    await page.get_by_label("Rows with a header line").fill("\n".join([HEADER, *lines]))
    await page.get_by_role("button", name="Look at it first").click()
    await album.keep("results")
    await page.get_by_role("button", name=f"Store {len(lines)} results").click()
    await expect(page.locator("[data-flash]")).to_contain_text("stored")
    await page.goto(f"{studio.address}/reflexion")
    await page.get_by_role("button", name="Learn from results now").click()


def line_of(number: int, concept_id: UUID, label: str) -> str:
    posted = (datetime.now(UTC) - timedelta(days=5, minutes=number)).strftime("%Y-%m-%dT%H:%MZ")
    views, likes = (2_000_000, 400_000) if label == "B" else (40, 0)
    return f"{7000 + number},tiktok,{posted},{views + number},{likes},{concept_id}"
