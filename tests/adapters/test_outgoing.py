"""Calls to the outside: what is sent, sent again, told and logged."""

from __future__ import annotations

import ast
import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from outside import OTHER, PUBLIC, Fake, answering, calling, replying, serving
from structlog.testing import capture_logs

import viral
from viral.adapters.outgoing import ADDRESSES, Answer, Outgoing, _retry_after_s
from viral.errors import AddressRefused, VendorRefused, VendorUnreachable


async def test_the_next_address_is_called_when_one_takes_no_connection() -> None:
    async with serving(replying("news")) as fake:
        names = {"feed.example": [OTHER, PUBLIC, "1.0.0.1"]}
        found = {OTHER: Fake(port=1), PUBLIC: fake, "1.0.0.1": Fake(port=1)}
        async with calling(names=names, found=found) as outgoing:
            answer = await outgoing.request("POST", "http://feed.example/", json={"a": 1})

    assert 200 == answer.status
    assert 1 == len(fake.requests)


async def test_no_more_addresses_are_called_than_the_deadline_has_room_for() -> None:
    dead = [f"1.1.1.{number}" for number in range(ADDRESSES)]
    async with serving(replying("news")) as fake:
        found = {PUBLIC: fake} | {address: Fake(port=1) for address in dead}
        async with calling(
            names={"feed.example": [*dead, PUBLIC]}, found=found, retries=0
        ) as outgoing:
            with pytest.raises(VendorUnreachable, match=r"^feed\.example cannot be reached"):
                await outgoing.request("GET", "http://feed.example/")

    assert [] == fake.requests


async def test_a_form_and_a_document_are_sent_as_such() -> None:
    async with serving(replying("{}")) as fake, calling(fake) as outgoing:
        await outgoing.request("POST", fake.url, form={"metadata[tenant]": "a b"})
        await outgoing.request("POST", fake.url, json={"a": ["\u00e9"]})

    assert "application/x-www-form-urlencoded" in fake.requests[0]
    assert fake.requests[0].endswith("\r\n\r\nmetadata%5Btenant%5D=a+b")
    assert "application/json" in fake.requests[1]
    assert fake.requests[1].endswith('\r\n\r\n{"a":["\u00e9"]}')


async def test_headers_of_an_answer_have_lower_case_names() -> None:
    reply = replying("x", head="X-Name: One\r\nX-Name: Two\r\n")
    async with serving(reply) as fake, calling(fake) as outgoing:
        answer = await outgoing.request("GET", fake.url)

    assert "One, Two" == answer.headers["x-name"]


async def test_c13_an_answer_that_drips_ends_at_the_deadline() -> None:
    async def reply(_request: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        for _ in range(200):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with serving(reply) as fake, calling(fake, timeout_s=0.3) as outgoing:
        with pytest.raises(VendorUnreachable, match=r"^127\.0\.0\.1 did not answer within 0\.3 s"):
            await outgoing.request("GET", f"{fake.url}/?key=abc")

    assert 1 == len(fake.requests)


async def test_the_deadline_covers_the_look_up() -> None:
    async def resolve(_host: str, _port: int) -> list[str]:
        await asyncio.sleep(5)
        return [PUBLIC]

    outgoing = Outgoing(timeout_s=0.05, resolve=resolve)
    with pytest.raises(VendorUnreachable, match=r"^feed\.example did not answer"):
        await outgoing.request("GET", "http://feed.example/")


@pytest.mark.parametrize(
    "first",
    [answering("503 Busy"), answering("429 Slow"), b""],
    ids=["busy", "slow", "broken off"],
)
@pytest.mark.parametrize(
    ("method", "headers", "is_idempotent", "status"),
    [
        ("GET", {}, None, 200),
        ("HEAD", {}, None, 200),
        ("PUT", {}, None, 200),
        ("DELETE", {}, None, 200),
        ("POST", {"Idempotency-Key": "a"}, None, 200),
        ("POST", {}, True, 200),
        ("POST", {}, None, None),
        ("PATCH", {}, None, None),
        ("GET", {}, False, None),
    ],
)
async def test_only_an_idempotent_call_is_sent_again(
    first: bytes,
    method: str,
    headers: dict[str, str],
    is_idempotent: bool | None,  # noqa: FBT001 - a table
    status: int | None,
) -> None:
    got: int | None = None
    async with serving(replying(first, answering("200 OK"))) as fake, calling(fake) as outgoing:
        with suppress(VendorUnreachable):
            answer = await outgoing.request(
                method, fake.url, headers=headers, is_idempotent=is_idempotent
            )
            got = answer.status

    assert (2 if status else 1) == len(fake.requests)
    assert (status is not None) == (got == 200)


@pytest.mark.parametrize("status", ["400 Bad", "404 None", "409 Conflict", "301 Moved"])
async def test_another_status_is_an_answer_at_once(status: str) -> None:
    async with serving(replying(answering(status))) as fake, calling(fake) as outgoing:
        answer = await outgoing.request("GET", fake.url)

    assert int(status[:3]) == answer.status
    assert 1 == len(fake.requests)


async def test_the_last_answer_is_given_when_no_attempt_is_left() -> None:
    async with serving(replying(answering("500 Oh"))) as fake, calling(fake, retries=1) as outgoing:
        answer = await outgoing.request("GET", fake.url)

    assert 500 == answer.status
    assert 2 == len(fake.requests)


async def test_a_connection_that_is_refused_names_the_host_alone() -> None:
    async with calling(Fake(port=1), retries=0) as outgoing:
        with pytest.raises(VendorUnreachable) as failure:
            await outgoing.request("GET", "http://127.0.0.1:1/hook?key=abc")

    assert "127.0.0.1 cannot be reached or breaks the connection off." == failure.value.message


async def test_retry_after_is_waited_for() -> None:
    busy = answering("429 Slow", "retry-after: 1\r\n")
    async with serving(replying(busy, "news")) as fake, calling(fake) as outgoing:
        answer = await outgoing.request("GET", fake.url)

    assert b"news" == answer.body
    assert fake.times[1] - fake.times[0] >= 1


@pytest.mark.parametrize(("seconds", "timeout_s"), [(31, 60.0), (5, 4.0)])
async def test_a_retry_after_that_is_too_long_is_an_answer(seconds: int, timeout_s: float) -> None:
    busy = answering("429 Slow", f"retry-after: {seconds}\r\n")
    async with serving(replying(busy)) as fake, calling(fake, timeout_s=timeout_s) as outgoing:
        answer = await outgoing.request("GET", fake.url)

    assert (429, str(seconds)) == (answer.status, answer.headers["retry-after"])
    assert 1 == len(fake.requests)


def test_retry_after_is_seconds_or_a_date() -> None:
    then = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
    form = "%a, %d %b %Y %H:%M:%S GMT"
    date, later = then.strftime(form), (then + timedelta(seconds=90)).strftime(form)

    def read(asked: str) -> float:
        return _retry_after_s(Answer(503, {"retry-after": asked, "date": date}, b""))

    assert [7.0, 90.0, 0.0, 0.0, 0.0] == [read(text) for text in ("7", later, "", "soon", "-1")]
    assert 0.0 == _retry_after_s(Answer(503, {"retry-after": later}, b""))


async def test_a_call_is_logged_in_one_line_without_secrets() -> None:
    async with serving(replying(answering("503 Busy"), "news")) as fake, calling(fake) as outgoing:
        with capture_logs() as lines:
            await outgoing.request(
                "GET", f"{fake.url}/v1/a?key=abc", headers={"authorization": "Bearer abc"}
            )

    duration_ms = lines[0].pop("duration_ms")
    assert isinstance(duration_ms, int)
    assert [
        {
            "event": "outgoing.call",
            "log_level": "info",
            "method": "GET",
            "host": "127.0.0.1",
            "path": "/v1/a",
            "status": 200,
            "attempt": 2,
            "error": None,
        }
    ] == lines


async def test_the_path_of_a_guarded_call_is_not_logged() -> None:
    async with calling(names={"feed.example": ["10.0.0.1"]}) as outgoing:
        with capture_logs() as lines, pytest.raises(AddressRefused):
            await outgoing.request("POST", "http://feed.example/services/T0/word")

    assert ["address_refused"] == [line["error"] for line in lines]
    assert "word" not in str(lines)


async def test_nothing_is_logged_by_the_http_client_beneath(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    async with serving(replying("news")) as fake, calling(fake) as outgoing:
        await outgoing.request("GET", f"{fake.url}/?key=abc")

    assert "abc" not in caplog.text


@pytest.mark.parametrize("value", ["word\r\nx: y", "word\u00e9", "word\x00"])
async def test_a_header_that_cannot_be_sent_is_not_told(value: str) -> None:
    async with serving(replying("news")) as fake, calling(fake) as outgoing:
        with pytest.raises(VendorRefused, match="a header has characters") as refusal:
            await outgoing.request("GET", fake.url, headers={"authorization": value})

    assert [] == fake.requests
    assert "word" not in refusal.value.message
    assert refusal.value.__cause__ is None


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async with serving(replying("news")) as fake, calling(fake, retries=0) as outgoing:
        answer = await outgoing.request("GET", fake.url)

    assert b"news" == answer.body


async def test_cookies_are_not_kept() -> None:
    reply = replying("news", head="set-cookie: word=1; Path=/\r\n")
    async with serving(reply) as fake, calling(fake) as outgoing:
        await outgoing.request("GET", fake.url)
        await outgoing.request("GET", fake.url)

    assert "cookie" not in fake.requests[1].lower()


@pytest.mark.parametrize("body", [b"<html>", b"", b"\xff", b"[" * 100_000])
def test_an_answer_that_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(VendorRefused, match="with status 200 should be JSON and is text/html"):
        Answer(200, {"content-type": "text/html"}, body).json()


CLIENTS = (
    "aiohttp",
    "anthropic",
    "http.client",
    "httpcore",
    "httpcore2",
    "httpx",
    "httpx2",
    "requests",
    "urllib.request",
    "urllib3",
)


def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_c13_one_module_alone_calls_the_outside_and_lends_its_client_to_one_sdk() -> None:
    root = Path(viral.__file__).parent
    callers = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for name in _imported(path)
        if name.startswith(tuple(f"{client}." for client in CLIENTS)) or name in CLIENTS
    }

    sdk = root / "adapters" / "claude" / "sdk.py"
    # The API's client runs in programs of others; no room of the product imports it.
    callers.discard("client/calls.py")
    assert {"adapters/outgoing.py", "adapters/claude/sdk.py"} == callers
    assert {"anthropic"} == {name for name in _imported(sdk) if name in CLIENTS}
    assert "http_client=client" in sdk.read_text()
