"""The frame of the pages: its ways, its tabs, and what the palette finds."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from random import Random

from clusters import Cluster
from factories import TestTenant
from litestar import Litestar

from viral.adapters.offline_writer import OfflineWriter
from viral.database.engine import Database
from viral.features.generations.concepts import generate_concepts
from viral.features.scoring.effects import word_hasher
from viral.settings import Settings
from viral.web.application import create_application
from viral.web.dashboard.navigation import KEYS, NAVIGATION, TABS
from web.conftest import Browser, add_sample_trends
from web.programs import add_person, browsing_as
from web.routes import routes_of

ENTRIES = [entry for group in NAVIGATION for entry in group.entries]


def test_keys_of_jumps_are_different_and_listed() -> None:
    keys = [entry.key for entry in ENTRIES if entry.key]

    listed = [key.keys[1].lower() for label, of in KEYS if label == "Go to" for key in of]
    assert len(keys) == len(set(keys))
    assert keys == listed


async def test_every_entry_is_in_rail_sheet_and_palette(alices: Browser) -> None:
    page = (await alices.get("/settings/account")).text

    for entry in ENTRIES:
        assert page.count(f'href="{entry.path}" title="{entry.label}"') == 2
        assert f'data-href="{entry.path}"' in page
    assert page.count('href="/settings/people" title="Settings" data-jump="s" aria-current') == 1


async def test_tabs_are_those_of_the_person(
    application: Litestar, system: Database, alices: Browser, alice: TestTenant
) -> None:
    member = await add_person(system, alice, "mo")
    async with browsing_as(application, system, member) as mos:
        theirs = (await mos.get("/settings/account")).text

    ours = (await alices.get("/settings/account")).text
    current = re.findall(r'<a href="([^"]+)" aria-current="page">', ours)
    assert ["/settings/account"] == current
    for tab in TABS:
        assert (f'<a href="{tab.path}"' in theirs) is not tab.is_for_admins
        assert f'<a href="{tab.path}"' in ours
    assert "/settings/activity" not in theirs


async def test_the_palette_finds_concepts_of_ones_own_tenant_alone(
    alices: Browser,
    bobs: Browser,
    app: Database,
    system: Database,
    bob: TestTenant,
    cluster: Cluster,
) -> None:
    await add_sample_trends(system)
    (concept,) = await generate_concepts(
        app,
        bob.id,
        count=1,
        writer=OfflineWriter(),
        rng=Random(1),
        now=datetime.now(UTC),
        hashed=word_hasher(cluster.secrets.word_key),
    )
    word = max(concept.title.split(), key=len)

    found = (await bobs.get(f"/palette?q={word}")).json()

    assert [(concept.title, f"/concepts/{concept.id}")] == [
        (each["title"], each["href"]) for each in found
    ]
    assert (await alices.get(f"/palette?q={word}")).json() == []
    assert (await bobs.get("/palette?q=%25")).json() == []
    assert (await bobs.get(f"/palette?q={'x' * 101}")).status_code == 422


async def test_components_are_shown_in_development_only(
    settings: Settings, alices: Browser
) -> None:
    production = settings.model_copy(update={"environment": "production"})
    shown = await alices.get("/design")

    paths = {path for _, path in routes_of(create_application(production))}

    assert shown.status_code == 200
    assert "/design" not in paths
    assert "/palette" in paths


async def test_a_page_is_compressed_by_a_length_that_tells_nothing(alices: Browser) -> None:
    plain = await alices.get("/settings/people", **{"Accept-Encoding": "identity"})

    small = [
        await alices.get("/settings/people", **{"Accept-Encoding": "gzip, br"}) for _ in range(8)
    ]

    assert "content-encoding" not in plain.headers
    assert {plain.headers["vary"], *(each.headers["vary"] for each in small)} == {"Accept-Encoding"}
    assert {"gzip"} == {each.headers["content-encoding"] for each in small}
    # The time of a last sign-in apart, it is the same page.
    assert {len(plain.text)} == {len(each.text) for each in small}
    lengths = {int(each.headers["content-length"]) for each in small}
    assert max(lengths) < len(plain.content) / 2
    assert len(lengths) > 1
