"""Idempotency keys of POST: one effect, one answer, and nobody else's."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from factories import TestTenant
from litestar import Litestar, Router, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody
from people import join
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.features.users.api_keys import create_key
from viral.settings import Settings
from viral.web.idempotency import REPLAYED, Idempotency
from web.conftest import Browser, add_sample_trends, browsing, serving

CONCEPTS = "/api/v1/concepts"
RESULT = {"platform": "tiktok", "published_at": "2026-01-02", "views": 1}
FILE = b"id,platform,published_at,views\nv1,tiktok,2026-01-02,100\n"


async def ask(
    browser: Browser, path: str, body: object, key: str, **headers: str
) -> httpx.Response:
    token = await browser.form_token()
    return await browser.client.post(
        path, json=body, headers={"X-CSRFToken": token, "Idempotency-Key": key, **headers}
    )


async def counted(admin: AsyncConnection, table: str) -> int:
    found = await admin.scalar(text(f"SELECT count(*) FROM {table}"))
    await admin.rollback()
    return int(found or 0)


def register(application: Litestar, handler: HTTPRouteHandler) -> None:
    """Add a route to the API of an application that runs."""
    application.register(Router("/api/v1", route_handlers=[handler], middleware=[Idempotency()]))


async def bearer(application: Litestar, tenant: TestTenant, *names: str) -> list[dict[str, str]]:
    """Make an admin with a key of each name; return what each sends."""
    runtime = application.state.runtime
    someone = await join(runtime.app, runtime.system, tenant, names[0].replace(" ", "-"), "ADMIN")
    async with runtime.app.tenant_session(tenant.id) as session:
        made = [
            await create_key(
                session,
                someone.credential,
                name=name,
                scopes=["read", "write"],
                expires_at=None,
                now=datetime.now(UTC),
                pepper=runtime.secrets.pepper,
            )
            for name in names
        ]
    return [{"Authorization": f"Bearer {key}"} for _, key in made]


async def test_a_repeated_request_has_the_first_answer_and_no_second_effect(
    alices: Browser, system: Database, admin: AsyncConnection
) -> None:
    await add_sample_trends(system)

    first = await ask(alices, CONCEPTS, {"count": 2}, "order-1")
    again = await ask(alices, CONCEPTS, {"count": 2}, "order-1")

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    assert REPLAYED not in first.headers
    assert again.headers[REPLAYED] == "true"
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert await counted(admin, "concepts") == 2


async def test_the_same_key_with_another_request_is_refused(
    alices: Browser, admin: AsyncConnection
) -> None:
    body = [{"id": "v1", **RESULT}]
    assert (await ask(alices, "/api/v1/performance", body, "k")).status_code == 201

    for path, other in (
        ("/api/v1/performance", [{"id": "v2", **RESULT}]),
        ("/api/v1/performance?x=1", body),
        ("/api/v1/reflexion/runs", None),
    ):
        answer = await ask(alices, path, other, "k")
        assert answer.status_code == 422
        assert answer.json()["code"] == "idempotency_key_reused"
    assert await counted(admin, "performance_feedback") == 1


async def test_of_many_at_once_in_two_processes_one_does_the_work(
    alices: Browser,
    application: Litestar,
    alice: TestTenant,
    settings: Settings,
    system: Database,
    admin: AsyncConnection,
) -> None:
    await add_sample_trends(system)
    [key] = await bearer(application, alice, "a program")
    headers = {**key, "Idempotency-Key": "at-once"}

    async with serving(settings) as another, browsing(another) as other:
        answers = await asyncio.gather(
            *(
                each.client.post(CONCEPTS, json={"count": 3}, headers=headers)
                for each in (alices, other) * 4
            )
        )

    assert await counted(admin, "concepts") == 3
    done = [each for each in answers if each.status_code == 201]
    assert len({each.content for each in done}) == 1
    assert sum(REPLAYED not in each.headers for each in done) == 1
    refused = [each for each in answers if each.status_code != 201]
    assert {each.json()["code"] for each in refused} <= {"idempotency_running"}


async def test_a_request_that_runs_is_not_begun_again(
    application: Litestar, alices: Browser
) -> None:
    begun, go_on, done = asyncio.Event(), asyncio.Event(), Counter[str]()

    @post("/slow")
    async def slow(data: JSONBody[dict[str, int]]) -> dict[str, int]:
        done["begun"] += 1
        begun.set()
        await go_on.wait()
        return data

    register(application, slow)
    first = asyncio.create_task(ask(alices, "/api/v1/slow", {"a": 1}, "k"))
    await begun.wait()
    second = await ask(alices, "/api/v1/slow", {"a": 1}, "k")
    go_on.set()
    third = await first
    fourth = await ask(alices, "/api/v1/slow", {"a": 1}, "k")

    assert (second.status_code, second.headers["retry-after"]) == (409, "1")
    assert second.json()["code"] == "idempotency_running"
    assert third.json() == fourth.json() == {"a": 1}
    assert done["begun"] == 1


async def test_what_was_refused_or_failed_frees_its_key(
    application: Litestar, alices: Browser, system: Database, admin: AsyncConnection
) -> None:
    seen = Counter[str]()

    @post("/shaky")
    async def shaky() -> str:
        seen["asked"] += 1
        if seen["asked"] == 1:
            raise RuntimeError("once")
        return "done"

    register(application, shaky)
    statuses = [(await ask(alices, "/api/v1/shaky", None, "s")).status_code for _ in range(3)]
    assert (statuses, seen["asked"]) == ([500, 201, 201], 2)

    assert (await ask(alices, CONCEPTS, {"count": 1}, "c")).status_code == 409
    assert (await ask(alices, CONCEPTS, {"count": 0}, "c")).status_code == 422
    await add_sample_trends(system)
    assert (await ask(alices, CONCEPTS, {"count": 1}, "c")).status_code == 201
    assert await counted(admin, "concepts") == 1


async def test_keys_are_of_one_sender(
    application: Litestar,
    alices: Browser,
    bobs: Browser,
    alice: TestTenant,
    admin: AsyncConnection,
) -> None:
    """Another tenant, another person and another key of a program have keys of their own."""
    one, two = await bearer(application, alice, "one", "two")
    body = [{"id": "v1", **RESULT}]

    answers = [
        await ask(alices, "/api/v1/performance", body, "k"),
        await ask(bobs, "/api/v1/performance", body, "k"),
        *[
            await alices.client.post(
                "/api/v1/performance", json=body, headers={**key, "Idempotency-Key": "k"}
            )
            for key in (one, two)
        ],
    ]

    assert {each.status_code for each in answers} == {201}
    assert all(REPLAYED not in each.headers for each in answers)
    # Both tenants stored the video; the other senders of Alice's found it known.
    assert [each.json()["stored"] for each in answers] == [1, 1, 0, 0]
    assert await counted(admin, "idempotency_keys") == 4


async def test_a_secret_is_said_once_and_not_kept(alices: Browser, admin: AsyncConnection) -> None:
    wanted = {"name": "x", "scopes": ["read"]}

    first = await ask(alices, "/api/v1/api-keys", wanted, "k")
    again = await ask(alices, "/api/v1/api-keys", wanted, "k")

    assert first.status_code == 201
    assert (again.status_code, again.json()["code"]) == (409, "idempotency_said_once")
    assert await counted(admin, "api_keys WHERE name = 'x'") == 1
    kept = await admin.scalar(text("SELECT k::text FROM idempotency_keys AS k"))
    assert first.json()["key"] not in kept
    assert first.json()["key"].encode().hex() not in kept


async def test_answers_with_secrets_are_marked(alices: Browser, application: Litestar) -> None:
    """A new POST whose answer names a key, a link, a token or an address says that it is secret."""
    document: dict[str, Any] = (await alices.get("/schema/openapi.json")).json()
    schemas = document["components"]["schemas"]
    telling = {"key", "link", "url", "token", "secret", "password"}
    found, marked = set(), set()
    for path, operations in document["paths"].items():
        for status, answer in operations.get("post", {}).get("responses", {}).items():
            schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
            name = schema.get("$ref", "").rpartition("/")[2]
            if status < "3" and telling & schemas.get(name, {}).get("properties", {}).keys():
                found.add(path)
    for route in application.routes:
        for handler in getattr(route, "route_handlers", ()):
            if "is_said_once" in handler.opt:
                marked.add(route.path)
    assert found <= marked
    assert "/api/v1/api-keys" in found


async def test_a_member_who_was_an_admin_is_not_answered_from_what_is_kept(
    alices: Browser, application: Litestar, alice: TestTenant, admin: AsyncConnection
) -> None:
    [key] = await bearer(application, alice, "admin for now")
    path, body = "/api/v1/invitations", {"email": "x@example.com", "role": "MEMBER"}
    await admin.execute(text('UPDATE api_keys SET scopes = \'["write", "admin"]\''))
    await admin.commit()
    headers: Mapping[str, str] = {**key, "Idempotency-Key": "k"}
    first = await alices.client.post(path, json=body, headers=headers)
    assert first.status_code == 201

    await admin.execute(text("UPDATE api_keys SET scopes = '[\"write\"]'"))
    await admin.commit()

    again = await alices.client.post(path, json=body, headers=headers)
    assert (again.status_code, again.json()["code"]) == (403, "not_allowed")


async def test_a_key_is_forgotten_after_a_day(
    alices: Browser, worker: Database, admin: AsyncConnection
) -> None:
    path = "/api/v1/performance"
    await ask(alices, path, [{"id": "v1", **RESULT}], "k")
    await ask(alices, path, [{"id": "v2", **RESULT}], "younger")
    await admin.execute(
        text("UPDATE idempotency_keys SET begun_at = begun_at - interval '25 h' WHERE key = 'k'")
    )
    await admin.commit()

    other = await ask(alices, path, [{"id": "v3", **RESULT}], "k")
    assert (other.status_code, REPLAYED in other.headers) == (201, False)

    await admin.execute(
        text("UPDATE idempotency_keys SET begun_at = begun_at - interval '25 h' WHERE key = 'k'")
    )
    await admin.commit()
    async with worker.session_without_tenant() as session:
        await session.execute(text("SELECT viral.prune_access()"))
    assert await counted(admin, "idempotency_keys") == 1


async def test_a_request_that_ended_with_its_process_is_not_done_again(
    alices: Browser, admin: AsyncConnection
) -> None:
    path, body = "/api/v1/performance", [{"id": "v1", **RESULT}]
    await ask(alices, path, body, "k")
    await admin.execute(
        text(
            "UPDATE idempotency_keys SET status = NULL, body = NULL,"
            " begun_at = begun_at - interval '11 min'"
        )
    )
    await admin.commit()

    answer = await ask(alices, path, body, "k")

    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_unknown")
    assert "retry-after" not in answer.headers


async def test_a_file_is_compared_by_its_content(
    application: Litestar, alices: Browser, alice: TestTenant
) -> None:
    """Frames of multipart differ with each request, whoever sends it."""
    path = "/api/v1/performance/imports"
    [program] = await bearer(application, alice, "a program")
    person = {"X-CSRFToken": await alices.form_token()}
    for headers in ({**program, "Idempotency-Key": "k"}, {**person, "Idempotency-Key": "k"}):
        answers = [
            await alices.client.post(path, files={"file": ("a.csv", content)}, headers=headers)
            for content in (FILE, FILE, FILE + b"v2,tiktok,2026-01-02,1\n")
        ]
        assert [each.status_code for each in answers] == [201, 201, 422]
        assert answers[0].content == answers[1].content

    # A form where JSON is due is refused, and does not wait for a body that was read.
    async with asyncio.timeout(5):
        answer = await alices.client.post(
            CONCEPTS,
            files={"file": ("a.csv", FILE)},
            headers={**program, "Idempotency-Key": "another"},
        )
    assert answer.status_code in {400, 422}


@pytest.mark.parametrize("key", ["", "a b", "ä".encode(), "x" * 256], ids=repr)
async def test_an_unusable_key_is_refused(alices: Browser, key: str | bytes) -> None:
    headers = [
        (b"X-CSRFToken", (await alices.form_token()).encode()),
        (b"Idempotency-Key", key if isinstance(key, bytes) else key.encode()),
    ]
    answer = await alices.client.post(
        "/api/v1/performance", json=[{"id": "v1", **RESULT}], headers=headers
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_idempotency_key")
