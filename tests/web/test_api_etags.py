"""Entity tags: nothing is sent twice, nothing is overwritten unseen."""

from __future__ import annotations

import asyncio

import httpx
from factories import TestTenant
from people import join
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from web.conftest import Browser, add_sample_trends

TENANT = "/api/v1/tenant"


async def change(
    browser: Browser, path: str, body: object, method: str = "PATCH", **headers: str
) -> httpx.Response:
    sent = {"X-CSRFToken": await browser.form_token()}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return await browser.client.request(method, path, json=body, headers=sent)


async def test_what_the_sender_has_is_not_sent_again(alices: Browser, system: Database) -> None:
    await add_sample_trends(system)
    for path in (TENANT, "/api/v1/trends?limit=2", "/api/v1/concepts", "/api/v1/members"):
        first = await alices.get(path)
        tag = first.headers["etag"]
        again = await alices.get(path, **{"If-None-Match": tag})
        weak = await alices.get(path, **{"If-None-Match": f'"x", W/{tag}'})
        stale = await alices.get(path, **{"If-None-Match": '"x"'})

        assert tag.startswith('"')
        assert first.headers["cache-control"] == "no-store"
        assert first.headers["vary"] == "Authorization, Cookie"
        assert [each.status_code for each in (again, weak, stale)] == [304, 304, 200]
        assert (again.content, again.headers["etag"]) == (b"", tag)
        assert "content-type" not in again.headers
        assert again.headers["x-content-type-options"] == "nosniff"
        assert stale.content == first.content


async def test_a_tag_of_one_tenant_spares_another_nothing(alices: Browser, bobs: Browser) -> None:
    tag = (await alices.get(TENANT)).headers["etag"]

    answer = await bobs.get(TENANT, **{"If-None-Match": tag})

    assert (answer.status_code, answer.json()["slug"]) == (200, "bob")


async def test_errors_pages_and_changes_have_no_tag(alices: Browser) -> None:
    answers = [
        await alices.get("/api/v1/jobs/00000000-0000-7000-8000-000000000000"),
        await alices.get("/settings/people"),
        await change(alices, TENANT, {"name": "Other"}),
    ]

    for answer in answers:
        assert "etag" not in answer.headers
        assert answer.headers["cache-control"] == "no-store"


async def test_a_change_of_what_was_read_is_done(alices: Browser) -> None:
    tag = (await alices.get(TENANT)).headers["etag"]

    done = await change(alices, TENANT, {"name": "First"}, If_Match=f'"x", {tag}')
    late = await change(alices, TENANT, {"name": "Second"}, If_Match=tag)
    weak = await change(
        alices, TENANT, {"name": "W"}, If_Match=f"W/{(await alices.get(TENANT)).headers['etag']}"
    )
    any_version = await change(alices, TENANT, {"name": "Third"}, If_Match="*")

    assert [each.status_code for each in (done, late, weak, any_version)] == [200, 412, 412, 200]
    assert late.json()["code"] == "precondition_failed"
    assert (await alices.get(TENANT)).json()["name"] == "Third"


async def test_a_change_that_is_under_way_is_waited_for(
    alices: Browser, alice: TestTenant, admin: AsyncConnection, system: Database
) -> None:
    listed = (await alices.get("/api/v1/members")).json()
    member = f"/api/v1/members/{listed[0]['id']}"
    for path, body, table in (
        (TENANT, {"name": "Mine"}, "tenants"),
        (member, {"role": "ADMIN"}, "users"),
    ):
        tag = (await alices.get(path)).headers["etag"]
        # As another request would, which is about to commit.
        await admin.execute(text("SELECT FROM tenants WHERE id = :id FOR UPDATE"), {"id": alice.id})
        await admin.execute(text(f"UPDATE {table} SET name = 'Theirs'"))
        waiting = asyncio.create_task(change(alices, path, body, If_Match=tag))
        await until_somebody_waits(system)
        await admin.commit()

        assert (await waiting).status_code == 412, path
    assert (await alices.get(TENANT)).json()["name"] == "Theirs"


async def until_somebody_waits(system: Database) -> None:
    async with asyncio.timeout(10), system.session_without_tenant() as session:
        while not await session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
            await asyncio.sleep(0.02)


async def test_a_member_is_changed_and_removed_in_the_version_that_was_read(
    alices: Browser, alice: TestTenant, app: Database, system: Database, admin: AsyncConnection
) -> None:
    someone = await join(app, system, alice, "carol", "MEMBER")
    listed = (await alices.get("/api/v1/members")).json()
    path = next(f"/api/v1/members/{each['id']}" for each in listed if "carol" in each["email"])
    shown = await alices.get(path)
    assert shown.json() in listed
    await admin.execute(
        text("UPDATE users SET name = 'Carola' WHERE id = :id"), {"id": someone.user_id}
    )
    await admin.commit()

    stale = [
        await change(alices, path, {"role": "ADMIN"}, If_Match=shown.headers["etag"]),
        await change(alices, path, None, "DELETE", If_Match=shown.headers["etag"]),
    ]
    fresh = (await alices.get(path)).headers["etag"]
    done = await change(alices, path, {"role": "ADMIN"}, If_Match=fresh)

    assert [each.status_code for each in (*stale, done)] == [412, 412, 200]
    assert (await alices.get(path)).json()["role"] == "ADMIN"


async def test_a_condition_that_nothing_would_check_is_refused(alices: Browser) -> None:
    answer = await change(alices, "/api/v1/sessions", None, "DELETE", If_Match='"x"')

    assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed")
    assert (await alices.get(TENANT)).status_code == 200
