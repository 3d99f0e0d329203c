"""What holds for every page of Studio: WCAG, no sideways scroll, no foreign request, no mouse."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from browser_studio import Signed, served, watched
from clusters import Cluster
from playwright.async_api import Browser, Page, expect
from studio_pages.conftest import Ground, open_ground
from web.conftest import living, settings_for

from browser.test_home import scrolls_sideways
from viral.features.users.members import add_member
from viral.features.users.sessions import make_sign_in_link
from viral.schema.base import uuid7, uuid7_run
from viral.web.studio.application import create_studio

pytestmark = pytest.mark.timeout(120)
# Few rows, on pages that are smaller still: axe looks at every cell, and the pager is there too.
ROWS, ROWS_SHOWN = 6, 4
# Two of these are refused with a status, and say why on a page of their own.
UNREADABLE, MISSING = "/tables/concepts?where=title:like:x", "/tables/no_such_table"
STATUS = {UNREADABLE: 422, MISSING: 404}
ANSWERS = {
    "SELECT id, title, hook, script, duration_s FROM concepts": "7 rows",
    "SELECT titel FROM concepts": 'Column "titel"',
    "UPDATE concepts SET category = 'tea'": "This would change 7 rows",
}
PLAN = "SELECT c.title FROM concepts AS c JOIN predictions AS p ON p.concept_id = c.id"


@dataclass(frozen=True)
class Desk:
    """Studio before the operator, who may change rows; `row` is the key of a concept."""

    signed: Signed
    row: str

    @property
    def paths(self) -> dict[str, str]:
        """The address of a page of every kind."""
        concepts = "/tables/concepts"
        return {
            "list of tables": "/tables",
            "table": f"{concepts}?where=category:is-not:tea&sort=-title",
            "table without rows": f"{concepts}?where=title:is:nothing",
            "table that is refused": UNREADABLE,
            "withheld table": "/tables/sessions",
            "installation's table": "/tables/system_metrics",
            "missing table": MISSING,
            "row": f"{concepts}/row?key={self.row}",
            "new row": "/tables/videos/new",
            "deletion": f"{concepts}/delete?key={self.row}",
            "console": "/console",
            "diagram": "/diagram",
            "migrations": "/migrations",
            "migration": "/migrations/0001",
        }


@pytest.fixture(scope="module")
async def desk(
    cluster: Cluster, module_database: str, short_folder: Path, chromium: Browser
) -> AsyncIterator[Desk]:
    """Run Studio in this process, and sign in an operator who is in two tenants."""
    settings = settings_for(cluster, short_folder / "home", module_database)
    patch = pytest.MonkeyPatch()
    patch.setattr("viral.web.studio.grid.ROWS_SHOWN", ROWS_SHOWN)
    async with (
        open_ground(cluster, module_database) as ground,
        living(create_studio(settings)) as application,
        served(application) as address,
        watched(chromium, address, refused=[UNREADABLE, MISSING]) as signed,
    ):
        keys = [str(key) for key in uuid7_run(ROWS)]
        await ground.add("concepts", *(_concept(key, number) for number, key in enumerate(keys)))
        await signed.page.goto(f"{address}/sign-in?token={await _link(ground)}")
        await signed.page.get_by_role("button", name="Open the studio").click()
        await signed.page.get_by_role("switch").click()
        yield Desk(signed, keys[0])
    patch.undo()


def _concept(key: str, number: int) -> dict[str, object]:
    """Make values of every look: null, empty, long, a document."""
    return {
        "id": key,
        "origin": "imported",
        "source_platform": "tiktok",
        "source_id": key,
        "category": "food",
        "title": f"Title {number:02}",
        "hook": "" if number % 2 else "word " * 200,
        "script": [{"seconds": 3, "text": "Look"}],
    }


async def _link(ground: Ground) -> str:
    """Make a link for the operator, who is in both tenants."""
    person = await ground.make_member("operator", "ADMIN", is_operator=True)
    async with ground.system.session_without_tenant() as session:
        await add_member(session, tenant_id=ground.bob.id, user_id=person, role="ADMIN")
        return await make_sign_in_link(
            session, tenant_id=ground.alice.id, user_id=person, now=datetime.now(UTC)
        )


async def begin(desk: Desk) -> Page:
    """Give the page as a wide, light one, with nothing noted."""
    page = desk.signed.page
    desk.signed.errors.clear()
    await page.emulate_media(color_scheme="light")
    await page.set_viewport_size({"width": 1280, "height": 900})
    return page


async def gates(signed: Signed, *, is_wide: bool = False) -> list[str]:
    """Look at what is open in light and wide, in dark and on a phone, and on the narrowest one.

    `is_wide`: in dark and wide too, in place of the phone; what is on every page is looked at so.
    """
    page = signed.page
    faults = await signed.faults()
    await page.emulate_media(color_scheme="dark")
    if is_wide:
        faults += [f"dark: {each}" for each in await signed.faults("color-contrast")]
    else:
        await page.set_viewport_size({"width": 390, "height": 800})
        faults += [f"dark phone: {each}" for each in await signed.faults()]
    await page.emulate_media(color_scheme="light")
    for width in (768, 320):
        await page.set_viewport_size({"width": width, "height": 800})
        faults += [f"{width}: it scrolls sideways"] if await scrolls_sideways(page) else []
    await page.set_viewport_size({"width": 1280, "height": 900})
    return faults


@pytest.mark.parametrize("kind", Desk(None, "").paths)  # type: ignore[arg-type]  # only the names
async def test_a_page_of_studio_passes_every_gate(desk: Desk, kind: str) -> None:
    page, path = await begin(desk), desk.paths[kind]
    await desk.signed.open(path, status=STATUS.get(path, 200))

    faults = await gates(desk.signed)

    titles, mains = page.get_by_role("heading", level=1), page.get_by_role("main")
    assert [] == faults
    assert (1, 1) == (await titles.count(), await mains.count())
    assert [] == desk.signed.errors
    assert {desk.signed.address.removeprefix("http://")} == desk.signed.hosts


async def test_what_opens_over_a_page_of_studio_passes_too(desk: Desk) -> None:
    page, signed = await begin(desk), desk.signed
    faults = {}
    await signed.open("/tables/concepts")
    await page.get_by_role("button", name="Export").click()
    faults["export"] = await gates(signed, is_wide=True)
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="open another").click()
    faults["tenants"] = await gates(signed, is_wide=True)
    await page.keyboard.press("Escape")
    await page.keyboard.press("?")
    faults["keys"] = await gates(signed, is_wide=True)
    await page.keyboard.press("Escape")
    await page.locator("td[data-label=script] a").first.click()
    await expect(page.get_by_role("dialog", name="script")).to_be_visible()
    faults["document"] = await gates(signed)
    await signed.open("/tables/predictions")
    await page.locator("td[data-label=concept_id] a").first.hover()
    await expect(page.get_by_role("tooltip")).to_be_visible()
    faults["preview"] = await signed.faults()
    await signed.open("/migrations")
    await page.get_by_role("link", name="0001 init").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    faults["migration"] = await gates(signed, is_wide=True)
    await page.keyboard.press("Escape")
    await page.set_viewport_size({"width": 390, "height": 800})
    await page.get_by_role("button", name="Tables", exact=True).click()
    faults["tables"] = await signed.faults()

    assert not [each for each in faults.values() if each], faults
    assert [] == signed.errors


async def test_what_a_text_answers_passes_too(desk: Desk) -> None:
    page, signed = await begin(desk), desk.signed
    faults = {}
    await signed.open("/console")
    for sql, said in ANSWERS.items():
        await page.get_by_label("May write").set_checked(sql.startswith("UPDATE"))
        await page.get_by_label("SQL", exact=True).fill(sql)
        await page.keyboard.press("Control+Enter")
        await expect(page.get_by_label("Answer").get_by_text(said).first).to_be_visible()
        await expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
        faults[said] = await gates(signed, is_wide=True)

    assert not [each for each in faults.values() if each], faults
    assert [] == signed.errors


async def test_a_plan_passes_too_and_its_heads_stand_over_their_columns(desk: Desk) -> None:
    page, signed = await begin(desk), desk.signed
    await signed.open("/console")
    await page.get_by_label("SQL", exact=True).fill(PLAN)
    await page.get_by_role("button", name="Run and measure").click()
    await expect(page.get_by_role("heading", name="Where the time goes")).to_be_visible()

    head, cell = (page.locator(f".plan-steps {each} >> nth=0") for each in ("thead th", "tbody th"))
    places = [await each.bounding_box() for each in (head, cell)]

    assert [] == await gates(signed)
    assert 1 == len({(each["x"], each["width"]) for each in places if each})
    assert [] == signed.errors


async def test_studio_is_worked_without_a_mouse(desk: Desk) -> None:
    page, signed = await begin(desk), desk.signed
    await signed.open("/tables")
    title = f"Typed {uuid7()}"

    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await page.keyboard.press("/")
    await page.keyboard.type("concepts")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/tables/concepts")
    while await page.evaluate("document.activeElement?.closest('tbody') === null"):
        await page.keyboard.press("Tab")
    cell = page.locator("td[data-label=title]").first
    while await page.evaluate("document.activeElement.dataset.label !== 'title'"):
        await page.keyboard.press("ArrowRight")
    await page.keyboard.press("F2")
    await page.keyboard.press("ControlOrMeta+a")
    await page.keyboard.type(title)
    await page.keyboard.press("Enter")
    await page.keyboard.press("ControlOrMeta+s")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Save 1 cell of 1 row?")
    review = await gates(signed)
    await page.keyboard.press("ControlOrMeta+s")
    await expect(cell).to_have_text(title)
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.keyboard.press("t")
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    await page.keyboard.press("t")
    await page.get_by_role("link", name="SQL console").press("Enter")
    await page.wait_for_url("**/console")
    await page.get_by_label("SQL", exact=True).focus()
    await page.keyboard.type(f"SELECT count(*) AS hits FROM concepts WHERE title = '{title}'")
    await page.keyboard.press("ControlOrMeta+Enter")
    await expect(page.get_by_role("cell", name="1", exact=True)).to_be_visible()

    assert [] == review
    assert [] == signed.errors


async def test_single_keys_can_be_switched_off(desk: Desk) -> None:
    page = await begin(desk)
    await desk.signed.open("/tables")
    await page.keyboard.press("?")
    await page.get_by_role("switch", name="Single keys").uncheck()
    await page.keyboard.press("Escape")

    await page.keyboard.press("?")

    await expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
    await page.get_by_role("button", name="Keys").click()
    await page.get_by_role("switch", name="Single keys").check()
    await page.keyboard.press("Escape")
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
