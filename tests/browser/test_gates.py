"""What holds for every page: WCAG, no sideways scroll, no foreign request, no script needed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest
from browser_studio import Signed, Studio, watched
from playwright.async_api import Browser, expect

from browser.test_home import enter, scrolls_sideways
from viral.web.dashboard.navigation import NAVIGATION, TABS

pytestmark = pytest.mark.timeout(120)
MISSING = "/no-such-page"
PATHS = [
    *(entry.path for group in NAVIGATION for entry in group.entries),
    *(tab.path for tab in TABS if tab.path != "/settings/people"),
    "/sign-in",
    MISSING,
    "/design",
    "/settings/keys/reference",
]
# Home over the wire, with nothing kept from before.
MOST_BYTES, MOST_REQUESTS = 60_000, 8


@pytest.fixture(scope="module")
async def signed(studio: Studio, chromium: Browser) -> AsyncIterator[Signed]:
    """Sign a person in, once for all pages."""
    async with watched(chromium, studio.address, refused=[MISSING]) as signed:
        await enter(signed.page, studio)
        yield signed


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_passes_every_gate(signed: Signed, path: str) -> None:
    page = signed.page
    signed.errors.clear()
    await page.emulate_media(color_scheme="light")
    await page.set_viewport_size({"width": 1280, "height": 900})
    await signed.open(path, status=404 if path == MISSING else 200)

    faults = {"light": await signed.faults()}
    await page.emulate_media(color_scheme="dark")
    faults["dark"] = await signed.faults("color-contrast")
    await page.set_viewport_size({"width": 390, "height": 800})
    faults["phone"] = await signed.faults()
    await page.set_viewport_size({"width": 320, "height": 800})
    faults["sideways"] = ["it scrolls"] if await scrolls_sideways(page) else []
    titles, mains = page.get_by_role("heading", level=1), page.get_by_role("main")

    assert {"light": [], "dark": [], "phone": [], "sideways": []} == faults
    assert (1, 1) == (await titles.count(), await mains.count())
    assert [] == signed.errors
    assert {signed.address.removeprefix("http://")} == signed.hosts


async def test_what_opens_over_a_page_passes_too(signed: Signed) -> None:
    page = signed.page
    await page.emulate_media(color_scheme="light")
    await page.set_viewport_size({"width": 1280, "height": 900})
    await signed.open("/settings/people")

    await page.keyboard.press("Control+k")
    faults = {"palette": await signed.faults()}
    await page.get_by_role("combobox", name="Find pages").fill("no such thing at all")
    faults["palette, nothing found"] = await signed.faults()
    await page.keyboard.press("Escape")
    await page.keyboard.press("?")
    faults["keys"] = await signed.faults()
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Leave Demo studio").click()
    faults["asked"] = await signed.faults()
    await page.keyboard.press("Escape")
    await page.set_viewport_size({"width": 390, "height": 800})
    await page.get_by_role("button", name="More").click()
    faults["more"] = await signed.faults()

    assert not [each for each in faults.values() if each], faults


async def test_home_is_small(studio: Studio, signed: Signed, chromium: Browser) -> None:
    context = await chromium.new_context(storage_state=await signed.context.storage_state())
    page = await context.new_page()
    session = await context.new_cdp_session(page)
    sizes: list[float] = []
    session.on("Network.loadingFinished", lambda each: sizes.append(each["encodedDataLength"]))
    await session.send("Network.enable")

    await page.goto(studio.address)
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    await page.wait_for_load_state("load")

    assert sum(sizes) <= MOST_BYTES, sizes
    assert len(sizes) <= MOST_REQUESTS, sizes
    await context.close()


async def test_pages_read_without_javascript(
    studio: Studio, signed: Signed, chromium: Browser
) -> None:
    context = await chromium.new_context(
        java_script_enabled=False, storage_state=await signed.context.storage_state()
    )
    page = await context.new_page()
    unread = []
    for path in PATHS:
        answer = await page.goto(studio.address + path)
        assert answer is not None
        if answer.status == HTTPStatus.OK:
            title = page.get_by_role("heading", level=1)
            is_read = (
                await title.is_visible() and await page.locator(".js-only:visible").count() == 0
            )
            unread += [] if is_read else [path]

    assert [] == unread
    await context.close()


async def test_what_somebody_else_does_appears_by_itself(studio: Studio, signed: Signed) -> None:
    """The region is put in; what the person does in it, and where they are, stays."""
    page, first, second = signed.page, "live@example.com", "other@example.com"
    await page.set_viewport_size({"width": 1280, "height": 900})
    await signed.open("/settings/people")
    await page.get_by_label("E-mail").fill("half typed")
    other = await signed.context.new_page()
    await other.goto(f"{studio.address}/settings/people")
    await other.get_by_label("E-mail").fill(first)

    await other.get_by_role("button", name="Make a link").click()

    await expect(page.get_by_role("rowheader", name=first)).to_be_visible()
    await expect(page.get_by_label("E-mail")).to_have_value("half typed")
    await expect(page.get_by_label("E-mail")).to_be_focused()
    take_back = page.get_by_role("button", name=f"Take back the invitation of {first}")
    await take_back.focus()
    await other.goto(f"{studio.address}/settings/people")
    await other.get_by_label("E-mail").fill(second)
    await other.get_by_role("button", name="Make a link").click()
    await expect(page.get_by_role("rowheader", name=second)).to_be_visible()
    await expect(take_back).to_be_focused()
    await other.close()


async def test_a_page_says_when_it_hears_nothing(signed: Signed) -> None:
    page = signed.page
    await page.route("**/live?*", lambda route: route.abort())

    await signed.open("/settings/activity")

    await expect(page.get_by_text("Live updates paused, retrying")).to_be_visible(timeout=20_000)
    await page.unroute("**/live?*")
    await expect(page.get_by_text("Live updates paused, retrying")).to_be_hidden(timeout=20_000)


async def test_keys_lead_everywhere_unless_they_are_switched_off(signed: Signed) -> None:
    page = signed.page
    # The demo's own rows: there are some, whatever another test did before.
    await signed.open("/concepts")
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    rows = page.locator("[data-row]")
    await expect(rows.nth(1)).to_be_focused()
    await page.keyboard.press("k")
    await expect(rows.nth(0)).to_be_focused()
    await page.keyboard.press("h")
    await page.keyboard.press("s")
    await page.wait_for_url("**/settings/people")
    await page.get_by_label("E-mail").press("t")
    await expect(page.locator("html")).not_to_have_attribute("data-theme", "dark")

    await page.keyboard.press("Control+k")
    await page.keyboard.type("account")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/settings/account")
    await page.get_by_label("Single keys").uncheck()
    await page.locator("body").press("?")
    await expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
    await page.get_by_label("Single keys").check()
    await page.locator("body").press("?")

    await expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
