"""What holds for every route: a session, headers, a description."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from clusters import Cluster
from litestar import Litestar

from web.conftest import Browser, browsing, serving, settings_for
from web.routes import PUBLIC, address_of, routes_of


async def test_every_route_but_the_listed_ones_requires_a_session(
    application: Litestar, stranger: Browser
) -> None:
    open_to_strangers = set()
    for method, path in routes_of(application):
        answer = await stranger.client.request(method, address_of(path))
        is_refused = answer.status_code == 401 or (
            answer.status_code == 303 and answer.headers["location"] == "/"
        )
        if not is_refused or (method, path) == ("POST", "/sign-out"):
            open_to_strangers.add((method, path))

    assert open_to_strangers == PUBLIC


async def test_the_api_answers_strangers_with_401(application: Litestar, stranger: Browser) -> None:
    for method, path in routes_of(application):
        if path.startswith("/api/"):
            answer = await stranger.client.request(method, address_of(path))

            assert (answer.status_code, answer.json()["code"]) == (401, "not_signed_in"), path


async def test_every_answer_carries_the_security_headers(
    application: Litestar, alices: Browser
) -> None:
    paths = [address_of(path) for _, path in routes_of(application)]
    for path in [*paths, "/nowhere", "/api/nowhere", "/reflexion/runs"]:
        answer = await alices.get(path)
        headers = answer.headers

        assert headers["content-security-policy"] == (
            "default-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none';"
            " object-src 'none'"
        ), path
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert re.fullmatch("[0-9a-f]{16}", headers["x-request-id"])
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers


async def test_the_api_description_lists_every_api_route(
    application: Litestar, stranger: Browser
) -> None:
    document = (await stranger.get("/schema/openapi.json")).json()

    listed = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
    }
    expected = {
        (method, re.sub(r":\w+}", "}", path))
        for method, path in routes_of(application)
        if path.startswith("/api/") or path == "/health"
    }
    # The description is not its own subject.
    expected.remove(("GET", "/api/v1/openapi.json"))
    assert expected == listed


async def test_the_api_description_is_complete_in_itself(stranger: Browser) -> None:
    document = (await stranger.get("/schema/openapi.json")).json()

    operations = [each for path in document["paths"].values() for each in path.values()]
    names = [each["operationId"] for each in operations]
    assert document["openapi"].startswith("3.1")
    assert len(names) == len(set(names))
    assert all(each.get("description") for each in operations)
    for reference in _references(document):
        target: object = document
        for part in reference.removeprefix("#/").split("/"):
            assert isinstance(target, dict)
            target = target[part]
    for path, methods in document["paths"].items():
        for operation in methods.values():
            declared = {
                each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"
            }
            assert set(re.findall(r"{(\w+)}", path)) == declared


async def test_the_api_description_loads_nothing_from_elsewhere(stranger: Browser) -> None:
    for path in ("/schema", "/schema/openapi.json"):
        answer = await stranger.get(path)

        assert "json" in answer.headers["content-type"]
    for page in ("redoc", "swagger", "elements", "rapidoc"):
        assert (await stranger.get(f"/schema/{page}")).status_code == 404


async def test_a_body_of_more_than_a_megabyte_is_refused(alices: Browser) -> None:
    answer = await alices.send("/api/v1/concepts", {"category": "x" * 1_000_001})

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_behind_https_cookies_are_bound_to_the_host(
    cluster: Cluster, short_folder: Path, database_name: str
) -> None:
    settings = settings_for(
        cluster, short_folder / "home", database_name, public_url="https://studio.example"
    )
    async with (
        serving(settings) as application,
        browsing(application, "https://studio.example") as browser,
    ):
        answer = await browser.get("/")

    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-viral_csrf_")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
    assert "max-age=" in answer.headers["strict-transport-security"]


def _references(node: object) -> Iterator[str]:
    if isinstance(node, Mapping):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for each in node.values():
            yield from _references(each)
    elif isinstance(node, list):
        for each in node:
            yield from _references(each)
