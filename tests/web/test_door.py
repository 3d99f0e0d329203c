"""Foreign hosts, foreign origins and forms without a token stay outside."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from litestar import Litestar

from web.conftest import Browser
from web.routes import SIGNED, address_of, routes_of


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[", "10.0.0.5"])
async def test_a_foreign_host_is_refused(alices: Browser, host: str) -> None:
    page = await alices.get("/", Host=host)
    program = await alices.get("/api/v1/tenant", Host=host)

    assert (page.status_code, program.status_code) == (400, 400)
    assert "Alice" not in page.text


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000"])
async def test_the_names_of_this_machine_are_ours(alices: Browser, host: str) -> None:
    assert (await alices.get("/health", Host=host)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_another_site_cannot_change_anything(
    application: Litestar, alices: Browser, headers: dict[str, str]
) -> None:
    token = await alices.form_token()
    for method, path in routes_of(application):
        if method != "GET":
            answer = await change(alices, method, path, token=token, headers=headers)

            assert answer.status_code == 403, path
            assert "foreign_origin" in answer.text


async def test_every_change_needs_the_form_token(application: Litestar, alices: Browser) -> None:
    for method, path in routes_of(application):
        if method != "GET" and (method, path) not in SIGNED:
            without = await change(alices, method, path, token="")
            wrong = await change(alices, method, path, token="0" * 128)

            assert (without.status_code, wrong.status_code) == (403, 403), path
            assert "stale_form" in without.text


@pytest.mark.parametrize("token", ["é" * 128, "x", "0" * 10_000])
async def test_an_odd_form_token_is_refused(alices: Browser, token: str) -> None:
    answer = await alices.submit("/reflexion/runs", token=token)

    assert answer.status_code == 403


async def test_a_file_is_no_form_token(alices: Browser) -> None:
    answer = await alices.submit(
        "/performance/imports", token="", files={"_csrf_token": ("x", b"x")}
    )

    assert answer.status_code == 403


async def test_a_form_in_no_known_letters_is_refused(alices: Browser) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n\xff\xfe\r\n--b--\r\n'

    answer = await alices.client.post(
        "/performance/imports",
        content=body,
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )

    assert answer.status_code == 400


async def test_a_program_that_is_no_browser_may_use_the_form_token(alices: Browser) -> None:
    assert (await alices.send("/api/v1/reflexion/runs")).status_code == 202


async def test_the_request_id_is_ours(alices: Browser) -> None:
    answer = await alices.get("/api/v1/nowhere", **{"X-Request-Id": "mine\x0b"})

    assert "mine" not in answer.headers["x-request-id"]
    assert answer.headers["x-request-id"] == answer.json()["request_id"]


async def change(
    browser: Browser,
    method: str,
    path: str,
    *,
    token: str,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    """Send a form, by whichever method a route takes."""
    data = {"_csrf_token": token} if token else {}
    return await browser.client.request(method, address_of(path), data=data, headers=headers)


async def test_a_form_where_json_is_asked_for_is_answered(alices: Browser) -> None:
    async with asyncio.timeout(10):
        answer = await alices.upload("/api/v1/concepts", "a.csv", b"id\n")

    assert answer.status_code in {400, 415, 422}
