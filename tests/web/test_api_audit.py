"""The audit log over the API: newest first, a page at a time, to admins of the tenant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from factories import TestTenant
from litestar import Litestar

from viral.database.engine import Database
from viral.features.audit import note
from web.conftest import Browser
from web.programs import make_key, running

AUDIT = "/api/v1/audit"


async def add_entries(app: Database, tenant: TestTenant, count: int) -> None:
    """Append entries at one moment, so that ids alone tell them apart."""
    async with app.tenant_session(tenant.id) as session:
        for number in range(count):
            await note(session, "imported results", number, user_id=tenant.user_id)


async def test_pages_lead_through_every_entry_once(
    app: Database, alices: Browser, alice: TestTenant
) -> None:
    await add_entries(app, alice, 7)
    seen: list[str] = []
    query = "limit=3&action=imported+results"
    for _ in range(3):
        page = (await alices.get(f"{AUDIT}?{query}")).json()
        seen += [each["subject"] for each in page["entries"]]
        query = f"limit=3&action=imported+results&cursor={page['next_cursor']}"

    assert sorted(seen) == [str(number) for number in range(7)]
    assert page["next_cursor"] is None


async def test_entries_tell_who_what_when_and_from_where(
    alices: Browser, alice: TestTenant
) -> None:
    await make_key(alices, "read", name="robot")

    entry = (await alices.get(f"{AUDIT}?limit=1")).json()["entries"][0]

    moment = datetime.fromisoformat(entry.pop("created_at"))
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)
    assert len(entry.pop("id")) == 36
    assert entry == {
        "user_id": str(alice.user_id),
        "action": "made key",
        "subject": "robot",
        "details": {"scopes": "read"},
        "address": "127.0.0.1",
    }


async def test_since_leaves_older_entries_out(
    app: Database, alices: Browser, alice: TestTenant
) -> None:
    await add_entries(app, alice, 1)
    for offset, expected in ((timedelta(hours=-1), 2), (timedelta(hours=1), 0)):
        since = quote((datetime.now(UTC) + offset).isoformat())

        entries = (await alices.get(f"{AUDIT}?since={since}")).json()["entries"]

        assert len(entries) == expected


async def test_what_is_asked_of_the_log_is_checked(alices: Browser) -> None:
    for query in (
        "limit=0",
        "limit=201",
        "action=nothing",
        "since=yesterday",
        "since=2026-01-01T00:00:00",
        "since=0001-01-01T00:00:00%2B14:00",
        "cursor=x",
        "cursor=",
    ):
        answer = await alices.get(f"{AUDIT}?{query}")

        assert answer.status_code == 422, query
        assert answer.json()["code"] == "bad_input"


async def test_b06_a_cursor_is_of_one_tenant_and_one_list(
    app: Database, alices: Browser, bobs: Browser, bob: TestTenant
) -> None:
    await add_entries(app, bob, 3)
    cursor = (await bobs.get(f"{AUDIT}?limit=1")).json()["next_cursor"]

    theirs = await alices.get(f"{AUDIT}?cursor={cursor}")
    elsewhere = await bobs.get(f"/api/v1/concepts?cursor={cursor}")

    assert (theirs.status_code, elsewhere.status_code) == (422, 422)
    assert (await bobs.get(f"{AUDIT}?cursor={cursor}")).status_code == 200


async def test_the_log_is_the_tenants_own(app: Database, alices: Browser, bob: TestTenant) -> None:
    await add_entries(app, bob, 3)

    entries = (await alices.get(AUDIT)).json()["entries"]

    assert [each["action"] for each in entries] == ["signed in"]


async def test_a_key_with_the_scope_admin_reads_the_log(
    application: Litestar, alices: Browser
) -> None:
    async with running(application, await make_key(alices, "read", "admin")) as robot:
        assert (await robot.get(AUDIT)).status_code == 200
