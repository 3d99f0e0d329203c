"""The endpoint for agents, asked by the protocol's official client."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from clusters import Cluster
from factories import TestTenant
from litestar import Litestar
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from queues import work_off
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.settings import Settings
from viral.web.mcp import BY_HANDSHAKE, BY_REQUEST, NOTICE
from viral.web.tools import OFFERED
from web.conftest import (
    ADDRESS,
    Browser,
    add_sample_trends,
    browsing,
    live_some_weeks,
    serving,
    sign_in,
)
from web.programs import make_key, running

READING = {each for each in OFFERED if each.startswith(("list_", "get_", "explain_"))}
SOME_ID = "0199f3a0-0000-7000-8000-000000000000"
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
FORMS = {"Accept": "application/json, text/event-stream"}


@asynccontextmanager
async def agent(application: Litestar, key: str, *, mode: str = "auto") -> AsyncIterator[Client]:
    """Connect an agent with a key."""
    transport = httpx2.ASGITransport(cast("Any", application))  # httpx2 has its own words for ASGI
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(transport=transport, headers=headers) as http:
        way = streamable_http_client(f"{ADDRESS}/mcp", http_client=http)
        async with Client(way, mode=mode) as client:
            yield client


async def told(client: Client, tool: str, **arguments: object) -> Any:
    """Call a tool that has to succeed; the data it tells, which both forms of the answer hold."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    structure = result.structured_content
    assert isinstance(structure, dict)
    assert json.loads(text_of(result)) == structure
    assert structure["notice"] == NOTICE
    return structure["data"]


async def refused(client: Client, tool: str, **arguments: object) -> dict[str, Any]:
    """Call a tool that has to refuse; its problem."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    structure = result.structured_content
    assert isinstance(structure, dict)
    assert json.loads(text_of(result)) == structure
    return structure


def text_of(result: Any) -> str:
    (block,) = result.content
    return str(block.text)


def results_of(concepts: list[dict[str, Any]]) -> list[dict[str, object]]:
    """Make a result of each concept, as an agent reads them where videos are out."""
    published = datetime.now(UTC) - timedelta(days=4)
    return [
        {
            "id": f"agent-{place}",
            "platform": "tiktok",
            "published_at": published.isoformat(),
            "observed_on": (published + timedelta(days=3)).date().isoformat(),
            "concept_id": each["id"],
            "category": each["category"],
            "views": 900_000,
            "likes": 200_000,
            "followers": 1000,
        }
        for place, each in enumerate(concepts)
    ]


async def test_an_agent_runs_the_whole_loop(
    application: Litestar,
    alices: Browser,
    alice: TestTenant,
    app: Database,
    system: Database,
    cluster: Cluster,
) -> None:
    await live_some_weeks(app, system, cluster, alice)
    async with agent(application, await make_key(alices)) as client:
        trends = (await told(client, "list_trends", limit=5))["trends"]
        category = trends[0]["category"]
        concepts = await told(
            client, "generate_concepts", count=3, category=category, platform="tiktok", seed=7
        )
        found = await told(client, "list_concepts", category=category, limit=3, favorite=False)
        why = await told(client, "explain_concept", concept_id=concepts[0]["id"])
        stored = await told(
            client,
            "add_results",
            items=results_of(concepts),
        )
        run = await told(client, "start_reflexion")
        await work_off(application.state.runtime, alice.id)
        job = await told(client, "get_job", job_id=run["id"])
        report = await told(client, "get_report")
        status = await told(client, "get_reflexion")
        adjustments = (await told(client, "list_adjustments", limit=200))["adjustments"]
        newest = max(adjustments, key=lambda each: str(each["id"]))
        undone = await told(client, "undo_adjustment", adjustment_id=newest["id"])
        again = await refused(client, "undo_adjustment", adjustment_id=newest["id"])

    assert len(trends) == 5
    assert {each["category"] for each in concepts} == {category}
    assert {each["id"] for each in found["concepts"]} == {each["id"] for each in concepts}
    assert why[0]["platform"] == "tiktok"
    assert stored == {"stored": 3, "known": 0, "early": 0, "rejects": []}
    assert job["status"] == "completed"
    assert (status["learned"], status["waiting"]) == (15, 0)
    assert report
    assert undone["id"] == newest["id"]
    assert undone["undone_at"]
    assert (again["status"], again["request_id"] != "") == (409, True)


@pytest.mark.parametrize("mode", ["legacy", BY_REQUEST])
async def test_agents_of_both_kinds_are_served(
    application: Litestar, alices: Browser, mode: str
) -> None:
    async with agent(application, await make_key(alices), mode=mode) as client:
        version = client.protocol_version
        listed = (await client.list_tools()).tools
        tenants = await told(client, "list_jobs")

    assert version == (BY_HANDSHAKE[-1] if mode == "legacy" else BY_REQUEST)
    assert [each.name for each in listed] == list(OFFERED)
    assert all(each.description and each.input_schema["type"] == "object" for each in listed)
    assert tenants == {"jobs": [], "next_cursor": None}


async def test_every_tool_can_be_called_without_a_fault_of_ours(
    application: Litestar, alices: Browser, system: Database
) -> None:
    await add_sample_trends(system)
    needed: dict[str, object] = {"count": 1, "items": [], "concept_id": SOME_ID}
    needed |= {"adjustment_id": SOME_ID, "job_id": SOME_ID, "label": "A"}
    async with agent(application, await make_key(alices)) as client:
        for tool in (await client.list_tools()).tools:
            wanted = {name: needed[name] for name in tool.input_schema["required"]}
            result = await client.call_tool(tool.name, wanted)

            structure = result.structured_content
            assert isinstance(structure, dict)
            status = structure["status"] if result.is_error else 200
            of_id = any(name.endswith("_id") for name in wanted)
            expected = 404 if of_id else 422 if "items" in wanted else 200
            assert status == expected, (tool.name, structure)


async def test_a_key_sees_and_calls_the_tools_of_its_scopes(
    application: Litestar, alices: Browser, admin: AsyncConnection
) -> None:
    for scopes, expected in (
        (("read",), READING),
        (("write",), set(OFFERED) - READING),
        (("admin",), set()),
    ):
        async with agent(application, await make_key(alices, *scopes)) as client:
            listed = {each.name for each in (await client.list_tools()).tools}
            reads = (await client.call_tool("list_jobs", {})).is_error
            writes = (await client.call_tool("order_concepts", {"count": 1})).is_error

        assert listed == expected
        assert (reads, writes) == ("read" not in scopes, "write" not in scopes)
    assert await admin.scalar(text("SELECT count(*) FROM job_queue")) == 1


async def test_a_refusal_tells_its_code_and_what_to_do(
    application: Litestar, alices: Browser
) -> None:
    async with agent(application, await make_key(alices, "read")) as client:
        lacking = await refused(client, "generate_concepts", count=1)
        unusable = await refused(client, "list_concepts", limit=1000)
        misspelt = await refused(client, "list_concepts", serach="cats")
        elsewhere = await refused(client, "get_concept", concept_id="../tenant")
        with pytest.raises(MCPError, match="no tool 'drop_tables'"):
            await client.call_tool("drop_tables", {})

    assert (lacking["code"], lacking["hint"]) == ("not_allowed", "Make a key that has it.")
    assert (unusable["code"], unusable["errors"][0]["field"]) == ("bad_input", "limit")
    assert (misspelt["code"], "search" in misspelt["hint"]) == ("bad_input", True)
    assert (elsewhere["code"], elsewhere["detail"]) == ("bad_input", "concept_id is no id.")


async def test_a_call_that_is_repeated_with_its_key_is_done_once(
    application: Litestar, alices: Browser, system: Database, admin: AsyncConnection
) -> None:
    await add_sample_trends(system)
    async with agent(application, await make_key(alices)) as client:
        first = await told(client, "generate_concepts", count=2, idempotency_key="call-1")
        again = await told(client, "generate_concepts", count=2, idempotency_key="call-1")
        changed = await refused(client, "generate_concepts", count=1, idempotency_key="call-1")
        other = await refused(client, "order_concepts", count=2, idempotency_key="call-1")
    async with agent(application, await make_key(alices, name="another")) as client:
        theirs = await told(client, "generate_concepts", count=1, idempotency_key="call-1")

    assert first == again
    assert {"idempotency_key_reused"} == {changed["code"], other["code"]}
    assert 1 == len(theirs)
    assert 3 == await admin.scalar(text("SELECT count(*) FROM concepts"))


async def test_what_writes_takes_a_key_and_refuses_one_that_is_none(
    application: Litestar, alices: Browser
) -> None:
    async with agent(application, await make_key(alices)) as client:
        takes = {
            each.name
            for each in (await client.list_tools()).tools
            if "idempotency_key" in each.input_schema["properties"]
        }
        problems = [
            await refused(client, "start_reflexion", idempotency_key=key)
            for key in ("", "two words", "sch\u00f6n", "\u6f22", "k" * 256, 7)
        ]
        unknown = await refused(client, "list_jobs", idempotency_key="call-1")

    assert set(OFFERED) - READING - {"select_variant"} == takes
    assert [*["bad_idempotency_key"] * 5, "bad_input"] == [each["code"] for each in problems]
    assert "does not know: idempotency_key" in unknown["detail"]


async def test_another_tenants_ids_are_not_found(
    application: Litestar,
    alices: Browser,
    bobs: Browser,
    alice: TestTenant,
    app: Database,
    system: Database,
    cluster: Cluster,
) -> None:
    await live_some_weeks(app, system, cluster, alice)
    async with agent(application, await make_key(alices)) as client:
        order = await told(client, "order_concepts", count=1)
        concept = (await told(client, "list_concepts"))["concepts"][0]["id"]
        adjustment = (await told(client, "list_adjustments"))["adjustments"][0]["id"]
    calls = (
        ("get_concept", {"concept_id": concept}),
        ("explain_concept", {"concept_id": concept}),
        ("undo_adjustment", {"adjustment_id": adjustment}),
        ("get_job", {"job_id": order["job_id"]}),
    )
    async with agent(application, await make_key(bobs)) as client:
        for tool, arguments in calls:
            problem = await refused(client, tool, **arguments)

            assert problem["code"] == "not_found", tool
        assert (await told(client, "list_concepts"))["concepts"] == []
        assert (await told(client, "list_adjustments"))["adjustments"] == []


async def test_nobody_enters_without_a_good_key(alices: Browser, stranger: Browser) -> None:
    good = f"Bearer {await make_key(alices)}"
    for header in ("", "Bearer", good + "x", good.replace("Bearer", "Basic")):
        for message in (PING, _call("list_jobs"), {"jsonrpc": "2.0", "method": "x"}, None):
            answer = await stranger.client.post(
                "/mcp", json=message, headers={"Authorization": header, **FORMS}
            )

            assert (answer.status_code, answer.json()["code"]) == (401, "not_signed_in"), header
    bare = await stranger.client.post("/mcp", json=PING)
    by_cookie = await alices.send("/mcp", PING)
    assert (bare.status_code, by_cookie.status_code) == (401, 401)
    assert "Bearer" in by_cookie.json()["hint"]


async def test_foreign_sites_and_names_do_not_reach_it(
    application: Litestar, alices: Browser
) -> None:
    async with running(application, await make_key(alices)) as robot:
        origin = await robot.post("/mcp", json=PING, headers={"Origin": "https://evil.example"})
        host = await robot.post("/mcp", json=PING, headers={"Host": "evil.example"})
        stream = await robot.get("/mcp")
        end = await robot.delete("/mcp")

    assert (origin.status_code, origin.json()["code"]) == (403, "foreign_origin")
    assert (host.status_code, host.json()["code"]) == (400, "foreign_host")
    assert (stream.status_code, end.status_code) == (405, 405)


async def test_what_is_no_message_is_refused_by_its_code(
    application: Litestar, alices: Browser
) -> None:
    wrongs: tuple[tuple[bytes, int], ...] = (
        (b"", -32700),
        (b"{", -32700),
        (b"\xff", -32700),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"a":' + b"[" * 99_999, -32700),
        (json.dumps([PING]).encode(), -32600),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "ping"}', -32600),
        (b'{"jsonrpc": "2.0", "id": null, "method": "ping"}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "result": {}}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []}', -32600),
    )
    async with running(application, await make_key(alices)) as robot:
        for body, code in wrongs:
            answer = await robot.post("/mcp", content=body)

            assert (answer.status_code, answer.json()["error"]["code"]) == (400, code), body[:40]
        unknown = await robot.post("/mcp", json={**PING, "method": "resources/list"})
        listless = await robot.post("/mcp", json=_call("list_jobs", []))
        note = await robot.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/x"})

    assert (unknown.status_code, unknown.json()["error"]["code"]) == (200, -32601)
    assert listless.json()["error"]["code"] == -32602
    assert (note.status_code, note.content) == (202, b"")


async def test_headers_that_do_not_match_the_message_are_refused(
    application: Litestar, alices: Browser
) -> None:
    meta = {"io.modelcontextprotocol/protocolVersion": BY_REQUEST}
    message = _call("list_jobs", {})
    message["params"]["_meta"] = meta
    good = {
        "MCP-Protocol-Version": BY_REQUEST,
        "Mcp-Method": "tools/call",
        "Mcp-Name": "list_jobs",
    }
    async with running(application, await make_key(alices)) as robot:
        fine = await robot.post("/mcp", json=message, headers=good)
        for wrong, code in (
            ({"MCP-Protocol-Version": "2031-01-01"}, -32022),
            ({"Mcp-Method": "tools/list"}, -32020),
            ({"Mcp-Name": "get_report"}, -32020),
        ):
            answer = await robot.post("/mcp", json=message, headers={**good, **wrong})

            assert (answer.status_code, answer.json()["error"]["code"]) == (400, code), wrong
        bare = await robot.post("/mcp", json=_call("list_jobs", {}), headers=good)
        unknown = await robot.post(
            "/mcp",
            json={**PING, "method": "x", "params": {"_meta": meta}},
            headers={**good, "Mcp-Method": "x"},
        )

    assert fine.json()["result"]["resultType"] == "complete"
    assert bare.json()["error"]["code"] == -32602
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, -32601)


async def test_a_call_is_counted_once_as_its_verb_of_the_api(
    application: Litestar, alices: Browser, system: Database, admin: AsyncConnection
) -> None:
    await admin.execute(text("SELECT viral.make_partitions()"))
    await admin.commit()
    async with agent(application, await make_key(alices)) as client:
        await told(client, "list_jobs")
        await refused(client, "order_concepts", count=0)
        await refused(client, "get_job", job_id=SOME_ID)
    await application.state.usage.write(system)

    rows = await admin.execute(
        text(
            "SELECT method, endpoint, status_code FROM api_usage"
            " WHERE api_key_id IS NOT NULL ORDER BY requested_at, id"
        )
    )
    assert [tuple(each) for each in rows] == [
        ("GET", "/api/v1/jobs", 200),
        ("POST", "/api/v1/concepts/orders", 422),
        ("GET", "/api/v1/jobs/{job_id}", 404),
    ]


async def test_an_agent_takes_one_turn_a_message_and_waits_like_others(
    settings: Settings, system: Database, alice: TestTenant
) -> None:
    limited = settings.model_copy(update={"key_requests": 3})
    async with serving(limited) as application, browsing(application) as browser:
        await sign_in(browser, system, alice)
        async with running(application, await make_key(browser)) as robot:
            answers = [await robot.post("/mcp", json=_call("list_jobs", {})) for _ in range(4)]

    assert [each.status_code for each in answers] == [200, 200, 200, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1


def _call(tool: str, arguments: object = None) -> dict[str, Any]:
    params = {"name": tool, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def test_the_page_names_every_tool_with_its_scope() -> None:
    page = (Path(__file__).parents[2] / "docs" / "mcp.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]

    told = {
        name: "read" if "| read |" in row else "write"
        for row in rows
        for name in re.findall(r"`(\w+)`", row.split("|")[1])
    }
    assert told == {name: "read" if name in READING else "write" for name in OFFERED}
