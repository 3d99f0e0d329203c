"""The pages of operation in Chromium: no error, nothing sideways, and a picture of each."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from browser_studio import Studio, Visit

from browser.test_home import PICTURES, enter, scrolls_sideways

pytestmark = pytest.mark.timeout(90)
PAGES = {
    "trends": "/trends",
    "jobs": "/jobs",
    "metrics": "/metrics",
    "keys": "/settings/keys",
    "reference": "/settings/keys/reference",
}


@pytest.mark.parametrize(("width", "theme"), [(1280, "dark"), (320, "light")])
async def test_the_pages_of_operation_fit_and_are_kept_as_pictures(
    studio: Studio, visit: Visit, width: int, theme: Literal["light", "dark"]
) -> None:
    await enter(visit.page, studio)
    await visit.page.set_viewport_size({"width": width, "height": 900})
    await visit.page.emulate_media(color_scheme=theme)
    PICTURES.mkdir(parents=True, exist_ok=True)

    wide: list[str] = []
    pictures: list[Path] = []
    for name, path in PAGES.items():
        await visit.page.goto(studio.address + path)
        wide += [name] if await scrolls_sideways(visit.page) else []
        pictures.append(PICTURES / f"{name}-{width}-{theme}.png")
        await visit.page.screenshot(path=pictures[-1], full_page=True)

    assert [] == wide
    assert [] == visit.errors
    assert all(each.stat().st_size > 10_000 for each in pictures)
