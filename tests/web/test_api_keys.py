"""API keys: what they may, when they end, and where they never appear."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

from factories import TestTenant
from litestar import Litestar
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from viral.database.engine import Database
from viral.schema.tables import METADATA
from web.conftest import ADDRESS, Browser, browsing
from web.programs import KEYS, add_person, browsing_as, made_key, make_key, running

TENANT = "/api/v1/tenant"
RUNS = "/api/v1/reflexion/runs"


async def test_a_key_acts_for_its_person_without_cookies_or_form_tokens(
    application: Litestar, alices: Browser, alice: TestTenant
) -> None:
    async with running(application, await make_key(alices)) as robot:
        seen = await robot.get(TENANT)
        changed = await robot.post(RUNS)

    assert (seen.json()["id"], changed.status_code) == (str(alice.id), 202)
    assert not seen.cookies


async def test_a_cookie_needs_a_form_token_where_a_key_does_not(alices: Browser) -> None:
    key = await make_key(alices)

    by_cookie = await alices.client.post(RUNS)
    by_both = await alices.client.post(RUNS, headers={"Authorization": f"Bearer {key}"})

    assert (by_cookie.status_code, by_cookie.json()["code"]) == (403, "stale_form")
    assert by_both.status_code == 202


async def test_a_key_wins_over_a_cookie(alices: Browser, bobs: Browser, bob: TestTenant) -> None:
    key = await make_key(bobs)

    good = await alices.get(TENANT, Authorization=f"Bearer {key}")
    bad = await alices.get(TENANT, Authorization=f"Bearer {key}x")

    assert (good.json()["id"], bad.status_code) == (str(bob.id), 401)


async def test_another_site_cannot_use_a_key(application: Litestar, alices: Browser) -> None:
    async with running(application, await make_key(alices)) as robot:
        answer = await robot.post(RUNS, headers={"Origin": "https://evil.example"})

    assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin")


async def test_a_key_on_a_page_is_ignored(application: Litestar, alices: Browser) -> None:
    async with running(application, await make_key(alices, "read", "write", "admin")) as robot:
        home = await robot.get("/")
        changed = await robot.post("/reflexion/runs")

    assert "alice@example.com" not in home.text
    assert (changed.status_code, changed.headers["location"]) == (303, "/")


async def test_scopes_say_what_a_key_may(application: Litestar, alices: Browser) -> None:
    tried = (("GET", TENANT), ("POST", RUNS), ("GET", "/api/v1/invitations"))
    expected = {
        ("read",): (200, 403, 403),
        ("write",): (403, 202, 403),
        ("admin",): (403, 403, 403),
        ("read", "write"): (200, 202, 403),
        ("read", "admin"): (200, 403, 200),
        ("read", "write", "admin"): (200, 202, 200),
    }
    for scopes, statuses in expected.items():
        async with running(application, await make_key(alices, *scopes)) as robot:
            answers = [await robot.request(method, path) for method, path in tried]

            assert tuple(each.status_code for each in answers) == statuses, scopes


async def test_a_key_that_only_reads_changes_nothing(
    application: Litestar, alices: Browser, admin: AsyncConnection
) -> None:
    async with running(application, await make_key(alices, "read")) as robot:
        for method, path in (("PATCH", TENANT), ("DELETE", "/api/v1/sessions"), ("POST", KEYS)):
            answer = await robot.request(method, path, json={})

            assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")
            assert "'write'" in answer.json()["detail"]
    assert await admin.scalar(text("SELECT count(*) FROM sessions WHERE ended_at IS NULL")) == 1


async def test_a_key_without_admin_makes_and_revokes_no_keys(
    application: Litestar, alices: Browser
) -> None:
    made = await made_key(alices, "read", "write")
    async with running(application, made["key"]) as robot:
        another = await robot.post(KEYS, json={"name": "child", "scopes": ["read"]})
        gone = await robot.delete(f"{KEYS}/{made['id']}")

    assert (another.status_code, gone.status_code) == (403, 403)
    assert [each["id"] for each in (await alices.get(KEYS)).json()] == [made["id"]]


async def test_an_admins_key_may_make_another(application: Litestar, alices: Browser) -> None:
    async with running(application, await make_key(alices, "read", "write", "admin")) as robot:
        made = await robot.post(KEYS, json={"name": "child", "scopes": ["read"]})
        log = (await robot.get("/api/v1/audit?action=made+key")).json()["entries"]

    listed = (await alices.get(KEYS)).json()
    assert (made.status_code, len(listed)) == (201, 2)
    # The log tells which key did it.
    parent = next(each["id"] for each in listed if each["name"] == "robot")
    assert [each["details"].get("key_id") for each in log] == [parent, None]


async def test_a_member_makes_no_admins_key(
    application: Litestar, system: Database, alice: TestTenant
) -> None:
    carol = await add_person(system, alice, "carol")
    async with browsing_as(application, system, carol) as carols:
        answer = await carols.send(KEYS, {"name": "root", "scopes": ["read", "admin"]})

        assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")
        assert (await carols.get(KEYS)).json() == []


async def test_members_see_their_own_keys_and_admins_all(
    application: Litestar, alices: Browser, bobs: Browser, system: Database, alice: TestTenant
) -> None:
    carol = await add_person(system, alice, "carol")
    await make_key(bobs, name="bob's")
    async with browsing_as(application, system, carol) as carols:
        await make_key(carols, name="carol's")
        alices_key = await made_key(alices, "read", name="alice's")

        members = (await carols.get(KEYS)).json()
        admins = (await alices.get(KEYS)).json()
        refused = await carols.send(f"{KEYS}/{alices_key['id']}", method="DELETE")
        carols_own = await alices.send(f"{KEYS}/{members[0]['id']}", method="DELETE")

    assert [each["name"] for each in members] == ["carol's"]
    assert [each["name"] for each in admins] == ["alice's", "carol's"]
    assert admins[0]["user_id"] == str(alice.user_id)
    assert admins[0]["scopes"] == ["read"]
    assert (refused.status_code, carols_own.status_code) == (404, 204)
    assert [each["name"] for each in (await alices.get(KEYS)).json()] == ["alice's"]


async def test_b17_a_revoked_key_is_out_at_the_next_request(
    application: Litestar, alices: Browser
) -> None:
    made = await made_key(alices)
    async with running(application, made["key"]) as robot:
        assert (await robot.get(TENANT)).status_code == 200

        gone = await alices.send(f"{KEYS}/{made['id']}", method="DELETE")
        after = await robot.get(TENANT)

    assert (gone.status_code, after.status_code, after.json()["code"]) == (
        204,
        401,
        "not_signed_in",
    )
    assert (await alices.send(f"{KEYS}/{made['id']}", method="DELETE")).status_code == 404
    log = (await alices.get("/api/v1/audit")).json()["entries"]
    assert [each["action"] for each in log[:2]] == ["revoked key", "made key"]


async def test_b17_an_expired_key_is_out_at_the_next_request(
    application: Litestar, alices: Browser, admin: AsyncConnection
) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    key = await make_key(alices, expires_at=tomorrow.isoformat())
    async with running(application, key) as robot:
        assert (await robot.get(TENANT)).status_code == 200

        await admin.execute(text("UPDATE api_keys SET expires_at = now()"))
        await admin.commit()

        assert (await robot.get(TENANT)).status_code == 401


async def test_what_is_asked_of_a_key_is_checked(alices: Browser) -> None:
    good: dict[str, object] = {"name": "robot", "scopes": ["read"]}
    wrongs: list[dict[str, object]] = [
        {"name": ""},
        {"name": " "},
        {"name": "x" * 101},
        {"name": "two\nlines"},
        {"scopes": []},
        {"scopes": ["root"]},
        {"scopes": "read"},
        {"expires_at": "2026-01-01T00:00:00Z"},
        {"expires_at": "2199-01-01T00:00:00"},
        {"expires_at": "9999-12-31T23:59:59-23:59"},
        {"expires_at": "soon"},
        {"user_id": "x"},
    ]
    for wrong in wrongs:
        answer = await alices.send(KEYS, {**good, **wrong})

        assert (answer.status_code, answer.json()["code"]) == (422, "bad_input"), wrong
    assert (await alices.get(KEYS)).json() == []


async def test_a_keys_end_is_kept_in_any_time_zone(alices: Browser) -> None:
    await make_key(alices, expires_at="2199-01-01T02:00:00+02:00")

    assert (await alices.get(KEYS)).json()[0]["expires_at"] == "2199-01-01T00:00:00Z"


async def test_the_scheme_is_read_in_any_case(application: Litestar, alices: Browser) -> None:
    key = await make_key(alices)
    async with browsing(application) as browser:
        for scheme in ("Bearer", "bearer", "BEARER "):
            answer = await browser.get(TENANT, Authorization=f"{scheme} {key}")

            assert answer.status_code == 200, scheme


async def test_garbage_in_the_authorization_is_401_also_beside_a_cookie(alices: Browser) -> None:
    key = await make_key(alices)
    garbage = (
        "",
        " ",
        "Bearer",
        "Bearer ",
        f"Basic {base64.b64encode(b'alice:x').decode()}",
        key,
        f"Token {key}",
        f"Bearer {key[:-1]}",
        f"Bearer {key[:16]}",
        f"Bearer {key} {key}",
        f"Bearer {key},",
        f"Bearer {key.upper()}",
        "Bearer vd_live_",
        "Bearer " + "x" * 10_000,
        "Bearer vd_live_\xe9\xff",
        "Bearer vd_live_' OR 1=1 --",
        "Bearer ..",
        "Bearer eyJhbGciOiJub25lIn0.e30.",
    )
    for header in garbage:
        answer = await alices.client.get(
            TENANT, headers=[(b"Authorization", header.encode("latin-1"))]
        )

        assert (answer.status_code, answer.json()["code"]) == (401, "not_signed_in"), header
        assert key[16:] not in answer.text


async def test_c07_a_key_is_said_once_and_kept_nowhere(
    application: Litestar, alices: Browser, system: Database, admin: AsyncConnection
) -> None:
    await admin.execute(text("SELECT viral.make_partitions()"))
    await admin.commit()
    with capture_logs() as logs:
        made = await made_key(alices)
        key = made["key"]
        async with running(application, key) as robot:
            answers = [
                await robot.get(TENANT),
                await robot.get(f"/api/v1/concepts/{made['id']}"),
                await robot.post("/api/v1/concepts", json={"count": -1}),
                await robot.get(f"/api/v1/concepts?cursor={made['id']}"),
                await alices.get(KEYS),
                await alices.get("/api/v1/audit"),
            ]
        await application.state.usage.write(system)

    assert await admin.scalar(text("SELECT count(*) FROM api_usage")) == 7
    stored = ""
    for name in METADATA.tables:
        rows = text(f"SELECT string_agg(t::text, ' ') FROM {name} AS t")
        stored += str(await admin.scalar(rows))
    assert key[:16] in stored
    said = "".join(answer.text for answer in answers)
    for secret in (key, key[16:], key.encode().hex(), key[8:].encode().hex()):
        assert secret not in stored
        assert secret not in json.dumps(logs, default=str)
        assert secret not in said


async def test_c07_a_key_has_256_random_bits_behind_its_prefix(alices: Browser) -> None:
    first, second = [await make_key(alices) for _ in range(2)]

    secret = first.removeprefix("vd_live_")
    assert len(base64.urlsafe_b64decode(secret + "=")) == 32
    assert first != second
    assert (await alices.get(KEYS)).json()[0]["prefix"] == second[:16]


async def test_the_description_names_both_ways_in(alices: Browser) -> None:
    document = (await alices.get("/schema/openapi.json")).json()

    assert document["security"] == [{"session": []}, {"key": []}]
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert document["servers"][0]["url"] in {"/", ADDRESS}
