"""A note is shown once, to the person it is for."""

from __future__ import annotations

from web.conftest import Browser
from web.test_home import words


def flash_cookie(browser: Browser) -> str:
    return next(name for name in browser.client.cookies if name.startswith("viral_flash_"))


async def test_a_note_is_shown_once(alices: Browser) -> None:
    await alices.submit("/reflexion/runs")

    assert "Nothing waits:" in words(await alices.get("/"))
    assert "Nothing waits:" not in words(await alices.get("/"))


async def test_a_note_for_one_person_is_none_for_another(alices: Browser, bobs: Browser) -> None:
    await alices.submit("/reflexion/runs")
    name = flash_cookie(alices)
    bobs.client.cookies.set(name, alices.client.cookies[name])

    assert "Nothing waits:" not in words(await bobs.get("/"))


async def test_an_altered_note_is_none(alices: Browser) -> None:
    await alices.submit("/reflexion/runs")
    name = flash_cookie(alices)
    altered = "x" + alices.client.cookies[name]
    alices.client.cookies.delete(name)
    alices.client.cookies.set(name, altered)

    page = await alices.get("/")

    assert page.status_code == 200
    assert "Nothing waits:" not in words(page)


async def test_a_note_that_fits_no_cookie_is_cut(alices: Browser) -> None:
    answer = await alices.submit("/generations", {"count": "x" * 5000, "ÿ" * 3000: "1"})

    assert all(len(each) < 4096 for each in answer.headers.get_list("set-cookie"))
    assert "Failed" in words(await alices.get("/"))


async def test_a_page_that_looks_again_by_itself_leaves_the_note(alices: Browser) -> None:
    await alices.submit("/reflexion/runs")

    assert "Nothing waits:" not in words(await alices.get("/", **{"X-Live": "1"}))
    assert "Nothing waits:" in words(await alices.get("/"))
