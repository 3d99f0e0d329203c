"""Undoing a change from the page."""

from __future__ import annotations

from uuid import UUID

from clusters import Cluster
from factories import TestTenant
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from web.conftest import Browser, live_some_weeks
from web.routes import SOME_ID
from web.test_home import words


async def newest_adjustment(admin: AsyncConnection) -> UUID:
    found = await admin.scalar(text("SELECT id FROM scoring_adjustments ORDER BY id DESC LIMIT 1"))
    assert found is not None
    return UUID(str(found))


async def test_an_adjustment_is_undone_by_its_button(
    alices: Browser,
    alice: TestTenant,
    app: Database,
    system: Database,
    cluster: Cluster,
    admin: AsyncConnection,
) -> None:
    await live_some_weeks(app, system, cluster, alice)
    adjustment = await newest_adjustment(admin)
    action = f"/reflexion/adjustments/{adjustment}/undo"
    assert f'action="{action}"' in (await alices.get("/reflexion")).text

    answer = await alices.submit(action)

    place = f"/reflexion?change={adjustment}#adjustment-{adjustment}"
    assert (answer.status_code, answer.headers["location"]) == (303, place)
    page = await alices.get("/reflexion")
    assert "points again on TikTok." in words(page)
    assert f'action="{action}"' not in page.text
    row = (
        await admin.execute(
            text("SELECT reverted_at, reverted_by FROM scoring_adjustments WHERE id = :id"),
            {"id": adjustment},
        )
    ).one()
    assert row.reverted_at is not None
    assert row.reverted_by == alice.user_id


async def test_what_is_undone_stays_undone(
    alices: Browser,
    alice: TestTenant,
    app: Database,
    system: Database,
    cluster: Cluster,
    admin: AsyncConnection,
) -> None:
    await live_some_weeks(app, system, cluster, alice)
    action = f"/reflexion/adjustments/{await newest_adjustment(admin)}/undo"
    await alices.submit(action)

    await alices.submit(action)

    said = words(await alices.get("/reflexion"))
    assert "is undone already." in said
    assert "Code already_exists" in said


async def test_an_adjustment_of_another_tenant_is_like_none(
    alices: Browser,
    bob: TestTenant,
    app: Database,
    system: Database,
    cluster: Cluster,
    admin: AsyncConnection,
) -> None:
    await live_some_weeks(app, system, cluster, bob)
    theirs = await newest_adjustment(admin)

    said = []
    for an_id in (theirs, SOME_ID):
        await alices.submit(f"/reflexion/adjustments/{an_id}/undo")
        page = words(await alices.get("/reflexion"))
        note = page.split("Failed")[1].split(", request")[0]
        said.append(note.replace(str(an_id), "ID"))

    assert said[0] == said[1]
    undone = text("SELECT count(*) FROM scoring_adjustments WHERE reverted_at IS NOT NULL")
    assert await admin.scalar(undone) == 0
