"""The description at an address of the API, and the page that shows it."""

from __future__ import annotations

import re

import pytest
from factories import TestTenant
from litestar import Litestar

from viral.database.engine import Database
from viral.settings import Settings
from web.conftest import Browser, browsing, serving, sign_in
from web.programs import make_key, running

DOCUMENT = "/api/v1/openapi.json"
PAGE = "/settings/keys/reference"


async def test_a_key_reads_the_description_and_keeps_it_by_its_tag(
    application: Litestar, alices: Browser
) -> None:
    async with running(application, await make_key(alices, "read")) as program:
        first = await program.get(DOCUMENT)
        again = await program.get(DOCUMENT, headers={"If-None-Match": first.headers["etag"]})

    assert (await alices.get("/schema/openapi.json")).json() == first.json()
    assert (304, b"") == (again.status_code, again.content)


async def test_strangers_read_no_description_at_the_api(stranger: Browser) -> None:
    answer = await stranger.get(DOCUMENT)

    assert (401, "not_signed_in") == (answer.status_code, answer.json()["code"])


@pytest.mark.parametrize("path", [DOCUMENT, PAGE])
async def test_who_may_use_the_api_sees_the_description_where_strangers_do_not(
    settings: Settings, system: Database, alice: TestTenant, path: str
) -> None:
    hidden = settings.model_copy(update={"api_description": False})
    async with serving(hidden) as application, browsing(application) as browser:
        assert 404 == (await browser.get("/schema/openapi.json")).status_code
        await sign_in(browser, system, alice)

        answer = await browser.get(path)

    assert 200 == answer.status_code
    assert "list_concepts" in answer.text


async def test_the_page_shows_every_operation_object_and_field(alices: Browser) -> None:
    document = (await alices.get(DOCUMENT)).json()
    page = (await alices.get(PAGE)).text

    operations = {
        operation["operationId"]
        for path, methods in document["paths"].items()
        if path.startswith("/api/")
        for operation in methods.values()
    }
    shown = re.findall(r'<details class="api-operation" id="(\w+)"', page)
    assert sorted([*operations, *document["components"]["schemas"]]) == sorted(shown)
    assert set(re.findall(r'href="#(\w+)"', page)) <= {*shown, "objects", "main"}
    assert all(
        f"<code>{name}</code>" in page
        for schema in document["components"]["schemas"].values()
        for name in schema["properties"]
        if not name.startswith("_")
    )
    assert PAGE in (await alices.get("/settings/keys")).text


async def test_the_page_says_who_may_and_what_is_refused(alices: Browser) -> None:
    page = (await alices.get(PAGE)).text

    def entry(name: str) -> str:
        found = re.search(rf'id="{name}">(.*?)</details>', page, re.DOTALL)
        assert found
        return found[1]

    assert "A key that may write and admin." in entry("rename_tenant")
    assert "The operator, signed in." in entry("add_trends")
    assert "People who are signed in." in entry("list_sessions")
    assert "client.list_sessions" not in entry("list_sessions")
    assert "client.undo_adjustment(…)</code>; agents have it as a tool" in entry("undo_adjustment")
    assert "The plan&#39;s concepts for this month are used." in entry("generate_concepts")
    assert "&#34;platform&#34;: &#34;tiktok&#34;" in entry("generate_concepts")
    assert '<a href="#ConceptOut">ConceptOut</a>' in entry("generate_concepts")
    assert "text/csv or application/x-ndjson" in entry("export_concepts")
