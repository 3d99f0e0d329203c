"""The diagram and the migrations as pages."""

from __future__ import annotations

import re

from clusters import Cluster

from studio_console.conftest import Desk, Ground
from studio_console.test_console_pages import words
from viral.database.history import read_history
from viral.database.migrate import Status
from viral.schema.tables import METADATA
from viral.web.studio.console.diagram import diagram
from viral.web.studio.console.migrations import Drift, standing_of

REVISIONS = [each.id for each in read_history().revisions]


def status(
    *, applied: list[str], half_done: str | None = None, broken: list[str] | None = None
) -> Status:
    return Status(
        current=applied[-1] if applied else None,
        applied=applied,
        pending=[each for each in REVISIONS if each not in applied],
        half_done=half_done,  # type: ignore[arg-type]  # its words alone are shown
        broken=broken or [],
        records=[],
    )


async def test_every_table_of_the_diagram_leads_to_its_rows(alices: Desk) -> None:
    page = await alices.get("/diagram")

    links = re.findall(r'<a href="/tables/([\w.]+)" class="er-link"', page.text)
    assert sorted(str(each) for each in METADATA.sorted_tables) == sorted(links)


async def test_the_diagram_brings_no_style_of_its_own(alices: Desk) -> None:
    page = await alices.get("/diagram")

    assert not re.search(r"<style|style=|<script(?! src)", page.text)


def test_the_diagram_can_be_searched_by_column() -> None:
    assert 'data-words="videos tenant_id id concept_id' in diagram().picture


def test_the_diagram_is_told_in_words_too() -> None:
    videos = next(each for each in diagram().rows if each.name == "videos")

    assert ("/tables/videos", True) == (videos.address, "concepts" in videos.references)


async def test_what_is_applied_is_listed_with_its_text(alices: Desk) -> None:
    page = await alices.get("/migrations")
    text = await alices.get("/migrations/0001")
    part = await alices.get("/migrations/0001", **{"X-Part": "text"})

    assert "All migrations are applied." in words(page.text)
    assert REVISIONS == re.findall(r'href="/migrations/(\w+)"', page.text)
    assert "CREATE TABLE" in text.text
    assert "CREATE TABLE" in part.text
    assert "<html" not in part.text


async def test_a_migration_that_is_not_there_is_not_found(alices: Desk) -> None:
    answers = [await alices.get(f"/migrations/{each}") for each in ("0999", "..%2f..%2fsecrets")]

    assert [404, 404] == [each.status_code for each in answers]


async def test_drift_is_found_and_its_command_named(
    alices: Desk, ground: Ground, cluster: Cluster
) -> None:
    clean = await alices.get("/migrations?drift=true")
    await cluster.execute_as_admin(ground.database, "CREATE INDEX stray ON concepts (category)")

    drifted = await alices.get("/migrations?drift=true")

    await cluster.execute_as_admin(ground.database, "DROP INDEX stray")
    assert "The database is as its migrations say." in words(clean.text)
    assert "changed past its migrations" in words(drifted.text)
    assert "stray" in drifted.text
    assert "viral migrate diff --from database --to migrations --script" in drifted.text


def test_what_is_pending_names_the_command() -> None:
    shown = standing_of(status(applied=REVISIONS[:-1]), None)

    assert ("1 migration not applied yet.", "viral migrate deploy") == (
        shown.verdict,
        shown.command,
    )
    assert ["applied"] * (len(REVISIONS) - 1) + ["pending"] == [each.state for each in shown.rows]


def test_a_broken_history_is_the_first_thing_said() -> None:
    shown = standing_of(
        status(applied=REVISIONS, broken=["0001 was edited after it was applied."]), Drift()
    )

    assert ("er", ("0001 was edited after it was applied.",)) == (shown.kind, shown.broken)
