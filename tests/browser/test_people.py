"""People come in by an invitation, and the pages of settings, in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from browser_studio import Studio, Visit
from clusters import Cluster
from factories import make_tenant
from playwright.async_api import Page, expect

from browser.test_home import enter, scrolls_sideways
from viral.features.users.members import add_member, ensure_operator

pytestmark = pytest.mark.timeout(90)
PICTURES = Path(__file__).parents[2] / "build" / "screenshots"
PAGES = ("people", "keys", "account", "activity")
PASSWORD = "seven quiet otters"


@pytest.fixture(scope="module")
async def second_tenant(studio: Studio, cluster: Cluster) -> str:
    """Let the operator into another tenant, so that there is something to switch to."""
    tenant = await make_tenant(studio.system, cluster.secrets, slug="nordlicht")
    async with studio.system.session_without_tenant() as session:
        operator = await ensure_operator(session)
        await add_member(session, tenant_id=tenant.id, user_id=operator.id, role="ADMIN")
    return "Nordlicht"


async def invite(page: Page, studio: Studio, email: str) -> str:
    await page.goto(f"{studio.address}/settings/people")
    await page.get_by_label("E-mail").fill(email)
    await page.get_by_role("button", name="Make a link").click()
    return await page.get_by_label("Link, shown only now").input_value()


async def test_an_invited_person_joins_with_a_password_and_is_removed(
    studio: Studio, visit: Visit
) -> None:
    page = visit.page
    await enter(page, studio)
    link = await invite(page, studio, "ada@example.com")
    browser = page.context.browser
    assert browser is not None
    theirs = await browser.new_page()

    await theirs.goto(link)
    await theirs.get_by_label("Your name").fill("Ada")
    await theirs.get_by_label("Password").fill(PASSWORD)
    await theirs.get_by_role("button", name="Join").click()
    await expect(theirs.get_by_role("heading", level=1)).to_contain_text("Demo studio")
    await page.goto(f"{studio.address}/settings/people")
    await page.get_by_role("button", name="Remove ada@example.com").click()
    await page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    await expect(page.get_by_text("ada@example.com is no member any more.")).to_be_visible()
    await theirs.reload()

    await expect(theirs.get_by_role("button", name="Sign in")).to_be_visible()
    assert [] == visit.errors
    assert {studio.address.removeprefix("http://")} == visit.hosts
    await theirs.close()


async def test_the_pages_work_without_javascript(
    studio: Studio, visit: Visit, second_tenant: str
) -> None:
    await enter(visit.page, studio)
    browser = visit.page.context.browser
    assert browser is not None
    context = await browser.new_context(
        java_script_enabled=False, storage_state=await visit.page.context.storage_state()
    )
    page = await context.new_page()

    link = await invite(page, studio, "grace@example.com")
    await page.goto(f"{studio.address}/settings/keys")
    await page.get_by_label("What will use it").fill("Nightly import")
    await page.get_by_role("button", name="Make a key").click()
    key = await page.get_by_label("Key, shown only now").input_value()
    await page.get_by_role("button", name="Revoke Nightly import").first.click()
    await page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    await expect(page.get_by_text("The key Nightly import opens nothing any more.")).to_be_visible()
    await page.get_by_role("button", name="open another tenant").click()
    await page.get_by_role("button", name=second_tenant, exact=True).click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text(second_tenant)

    assert link.startswith(f"{studio.address}/invitation?token=")
    assert key.startswith("vd_live_")
    await context.close()


@pytest.mark.parametrize("width", [1280, 768, 390, 320])
@pytest.mark.usefixtures("second_tenant")
async def test_no_page_scrolls_sideways(studio: Studio, visit: Visit, width: int) -> None:
    page = visit.page
    await page.set_viewport_size({"width": width, "height": 800})
    await enter(page, studio)
    await invite(page, studio, f"{'long' * 15}@example.com")
    sideways = [] if not await scrolls_sideways(page) else ["invited"]

    for name in PAGES:
        await page.goto(f"{studio.address}/settings/{name}")
        sideways += [name] if await scrolls_sideways(page) else []

    assert [] == sideways
    assert [] == visit.errors


async def test_a_question_is_answered_by_keyboard(studio: Studio, visit: Visit) -> None:
    page = visit.page
    await enter(page, studio)
    await page.goto(f"{studio.address}/settings/people")
    leave = page.get_by_role("button", name="Leave Demo studio")

    await leave.press("Enter")
    await expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    await page.keyboard.press("Escape")

    await expect(page.get_by_role("dialog")).to_be_hidden()
    await expect(leave).to_be_focused()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.usefixtures("second_tenant")
async def test_pictures_of_the_pages_are_kept(
    studio: Studio, visit: Visit, width: int, theme: Literal["light", "dark"]
) -> None:
    page = visit.page
    await page.set_viewport_size({"width": width, "height": 900})
    await page.emulate_media(color_scheme=theme)
    PICTURES.mkdir(parents=True, exist_ok=True)
    kept: list[Path] = []

    async def keep(name: str) -> None:
        kept.append(PICTURES / f"{name}-{width}-{theme}.png")
        await page.screenshot(path=kept[-1], full_page=True)

    await page.goto(studio.address)
    await keep("sign-in")
    await enter(page, studio)
    link = await invite(page, studio, "ada@example.com")
    await keep("invited")
    await page.get_by_role("button", name="Leave Demo studio").click()
    await keep("question")
    for name in PAGES:
        await page.goto(f"{studio.address}/settings/{name}")
        await keep(name)
    await page.goto(f"{studio.address}/settings/keys")
    await page.get_by_label("What will use it").fill("Nightly import")
    await page.get_by_role("button", name="Make a key").click()
    # On a phone the tenants are in the sheet.
    opens = "open another tenant" if width > 640 else "More"
    await page.get_by_role("button", name=opens).click()
    await keep("made-key")
    await page.context.clear_cookies()
    await page.goto(link)
    await keep("invitation")

    assert all(each.stat().st_size > 10_000 for each in kept)
    assert [] == visit.errors
