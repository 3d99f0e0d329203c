"""The API as a whole: ids of others are like random ones, and bodies hold what they may."""

from __future__ import annotations

import asyncio
import json
import re
from uuid import UUID

from clusters import Cluster
from factories import TestTenant, fill_every_table
from litestar import Litestar
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.schema.base import uuid7
from web.conftest import Browser, live_some_weeks, make_operator
from web.routes import routes_of

# Whose rows the parameter of a path names; a new one is listed here, with its table.
TABLE_OF = {
    "concept_id": "concepts",
    "generation_id": "generations",
    "adjustment_id": "scoring_adjustments",
    "insight_id": "reflexion_insights",
    "job_id": "job_queue",
    "member_id": "memberships",
    "invitation_id": "invitations",
    "key_id": "api_keys",
    "experiment_id": "experiments",
}
# Bodies that routes take, by path; a new one is listed here.
BODIES: dict[str, tuple[str, object]] = {
    "/api/v1/trends": ("POST", [{"topic": "x"}]),
    "/api/v1/concepts": ("POST", {"count": 1}),
    "/api/v1/performance": (
        "POST",
        [{"id": "v1", "platform": "tiktok", "published_at": "2026-01-02", "views": 1}],
    ),
    "/api/v1/tenant": ("PATCH", {"name": "x"}),
    "/api/v1/members/{member_id}": ("PATCH", {"role": "MEMBER"}),
    "/api/v1/invitations": ("POST", {"email": "x@example.com", "role": "MEMBER"}),
    "/api/v1/api-keys": ("POST", {"name": "x", "scopes": ["read"]}),
    "/api/v1/billing/checkout": ("POST", {"plan": "PRO"}),
    "/api/v1/reflexion/shared/undo": (
        "POST",
        {"platform": "tiktok", "goal": "reach", "family": "global", "key": ""},
    ),
    "/api/v1/concepts/orders": ("POST", {"count": 1}),
    "/api/v1/concepts/{concept_id}/variants": ("POST", {"count": 2}),
    "/api/v1/concepts/{concept_id}/selection": ("PUT", {"label": "A"}),
    "/api/v1/experiments": ("POST", {"name": "x", "platform": "tiktok"}),
    "/api/v1/reflexion/replays": ("POST", {"platform": "tiktok"}),
}


async def test_an_id_of_another_tenant_is_answered_like_a_random_one(
    application: Litestar, alices: Browser, bob: TestTenant, admin: AsyncConnection
) -> None:
    rows = await fill_every_table(admin, bob)
    document = (await alices.get("/schema/openapi.json")).json()
    asked = 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] != "path":
                    continue
                table = TABLE_OF[parameter["name"]]
                theirs = UUID(str(rows[table]["id"]))
                place = f"{{{parameter['name']}}}"
                wanted, body = BODIES.get(path, ("", None))
                sent = body if wanted == method.upper() else None
                answers = [
                    (await alices.send(path.replace(place, str(an_id)), sent, method=method), an_id)
                    for an_id in (theirs, uuid7())
                ]
                seen = [
                    (answer.status_code, _without(answer.json(), an_id))
                    for answer, an_id in answers
                ]
                assert seen[0] == seen[1], path
                assert seen[0][0] == 404, path
                asked += 1

    with_id = [
        path for _, path in routes_of(application) if path.startswith("/api/") and "{" in path
    ]
    assert asked == len(with_id)


async def test_bodies_take_no_fields_of_the_inside(
    alices: Browser, alice: TestTenant, system: Database
) -> None:
    await make_operator(system, alice)
    document = (await alices.get("/schema/openapi.json")).json()
    with_json = [
        (path, method.upper())
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    ]
    assert sorted(with_json) == sorted((path, method) for path, (method, _) in BODIES.items())

    for path, (method, body) in BODIES.items():
        for name in (
            "tenant_id",
            "role",
            "plan",
            "quota",
            "user_id",
            "monthly_quota",
            "created_at",
        ):
            if isinstance(body, dict) and name in body:
                continue
            address = re.sub(r"\{\w+\}", str(uuid7()), path)
            answer = await alices.send(address, _with(body, name), method=method)

            assert answer.status_code == 422, (path, name)
            assert name in answer.json()["detail"]


async def test_no_list_holds_rows_of_another_tenant(
    application: Litestar,
    alices: Browser,
    bob: TestTenant,
    app: Database,
    system: Database,
    cluster: Cluster,
    admin: AsyncConnection,
) -> None:
    await live_some_weeks(app, system, cluster, bob)
    mine = (await alices.get("/api/v1/tenant")).json()["id"]
    theirs = {
        str(found)
        for table in ("concepts", "scoring_adjustments", "reflexion_insights", "tenants")
        for found in await admin.scalars(text(f"SELECT id FROM {table}"))
    } - {mine}
    for method, path in routes_of(application):
        if method == "GET" and path.startswith("/api/") and "{" not in path:
            said = (await alices.get(path)).text

            assert not [each for each in theirs if each in said], path
    assert (await alices.get("/api/v1/reflexion")).json() == {
        "learned": 0,
        "waiting": 0,
        "accuracy": None,
    }


async def test_a_tenant_header_or_parameter_chooses_no_tenant(
    alices: Browser, alice: TestTenant, bob: TestTenant
) -> None:
    answer = await alices.get(f"/api/v1/tenant?tenant_id={bob.id}", **{"X-Tenant-Id": str(bob.id)})

    assert answer.json()["id"] == str(alice.id)


async def test_interleaved_requests_of_two_tenants_never_meet(
    alices: Browser, bobs: Browser, alice: TestTenant, bob: TestTenant
) -> None:
    async def ask(browser: Browser, expected: str) -> bool:
        answer = await browser.get("/api/v1/tenant")
        return bool(answer.json()["id"] == expected)

    pairs = [(alices, str(alice.id)), (bobs, str(bob.id))] * 60
    seen = await asyncio.gather(*(ask(browser, expected) for browser, expected in pairs))

    assert all(seen)


def _without(document: object, an_id: UUID) -> object:
    assert isinstance(document, dict)
    kept = {name: value for name, value in document.items() if name != "request_id"}
    return json.loads(json.dumps(kept).replace(str(an_id), "ID"))


def _with(body: object, name: str) -> object:
    if isinstance(body, list):
        return [{**body[0], name: "x"}]
    assert isinstance(body, dict)
    return {**body, name: "x"}
