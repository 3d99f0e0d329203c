"""Who is let into Studio, from where, for which tenant, and when it writes."""

from __future__ import annotations

import json

import pytest
from litestar import Litestar

from studio_pages.conftest import ADDRESS, Ground, Visitor, link_to, visiting, words
from viral.schema.base import uuid7

PAGES = ("/tables", "/tables/concepts", "/tables/concepts/new")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "studio.localhost"])
async def test_b19_a_name_that_was_pointed_at_this_machine_is_refused(
    alices: Visitor, host: str
) -> None:
    answer = await alices.get("/tables", Host=f"{host}:5555")

    assert (400, True) == (answer.status_code, "foreign_host" in answer.text)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:8000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_b19_a_form_of_another_site_or_port_changes_nothing(
    writer: Visitor, ground: Ground, headers: dict[str, str]
) -> None:
    key = str(ground.rows["concepts"]["id"])

    answer = await writer.submit("/tables/concepts/delete", {"key": key, "seen": ""}, headers)

    assert (403, True) == (answer.status_code, "foreign_origin" in answer.text)
    assert [(1,)] == await ground.fetch("SELECT count(*) FROM concepts WHERE id = :id", id=key)


@pytest.mark.parametrize("path", ["/mode", "/tables/concepts/save", "/tables/concepts/export"])
async def test_b19_a_form_without_the_token_is_refused(writer: Visitor, path: str) -> None:
    answer = await writer.client.post(path, data={"mode": "writing", "edits": "[]", "form": "csv"})

    assert (403, True) == (answer.status_code, "stale_form" in answer.text)


@pytest.mark.parametrize("path", PAGES)
async def test_b19_nobody_reads_without_a_session(stranger: Visitor, path: str) -> None:
    answer = await stranger.get(path)

    assert (303, "/") == (answer.status_code, answer.headers["location"])
    assert "Sign in" in (await stranger.get("/")).text


async def test_b19_another_machine_is_refused_even_with_a_session(
    studio: Litestar, alices: Visitor
) -> None:
    async with visiting(studio, ADDRESS, peer="192.0.2.7") as elsewhere:
        elsewhere.client.cookies = alices.client.cookies

        answers = [await elsewhere.get(path) for path in (*PAGES, "/", "/sign-in")]

    assert {403} == {answer.status_code for answer in answers}
    assert "on this machine alone" in words(answers[0])


async def test_b19_a_row_of_another_tenant_is_as_absent_as_any(
    writer: Visitor, ground: Ground
) -> None:
    pages = ("row", "preview", "document/prompts", "delete")

    for page in pages:
        theirs, nobodys = [
            await writer.get(f"/tables/concepts/{page}?key={key}")
            for key in (ground.bobs_rows["concepts"]["id"], uuid7())
        ]
        assert 404 == theirs.status_code == nobodys.status_code
        assert words(theirs)[:60] == words(nobodys)[:60]


async def test_b19_an_edit_of_another_tenants_row_finds_no_row(
    writer: Visitor, ground: Ground
) -> None:
    row = ground.bobs_rows["concepts"]
    edit = {"key": str(row["id"]), "column": "title", "old": row["title"], "new": "mine"}

    answer = await writer.submit("/tables/concepts/save", {"edits": json.dumps([edit])})

    assert (409, True) == (answer.status_code, "The row is gone" in words(answer))
    found = await ground.fetch("SELECT title FROM concepts WHERE id = :id", id=row["id"])
    assert [(row["title"],)] == found


async def test_b19_a_cursor_of_another_tenant_is_refused(
    studio: Litestar, alices: Visitor, ground: Ground
) -> None:
    await ground.add(
        "learner_effects",
        *(
            {"platform": "tiktok", "goal": "reach", "family": "f", "key": f"k{n}", "mean": 0.0,
             "variance": 1.0, "samples": 1, "day": 1, "id": uuid7()}
            for n in range(60)
        ),
    )  # fmt: skip
    cursor = link_to(await alices.get("/tables/learner_effects"), "next")
    assert cursor is not None

    async with visiting(studio) as bobs:
        await bobs.sign_in(ground, ground.bob)
        answer = await bobs.get(cursor)

    assert (422, True) == (answer.status_code, "not one of yours" in words(answer))
    assert 200 == (await alices.get(cursor)).status_code


@pytest.mark.parametrize(
    "where",
    [
        "title:is:' OR true --",
        "title:contains:%",
        "title:starts-with:'; SELECT set_config('app.tenant','x',true); --",
    ],
)
async def test_b19_sql_in_a_filter_is_a_text_to_look_for(alices: Visitor, where: str) -> None:
    answer = await alices.client.get("/tables/concepts", params={"where": where})

    assert (200, True) == (answer.status_code, "No row of concepts passes" in words(answer))


@pytest.mark.parametrize("column", ["title; DROP TABLE concepts", "1", "access_token", "tenant"])
async def test_b19_a_name_that_is_no_column_is_refused(alices: Visitor, column: str) -> None:
    for asked in ({"sort": column}, {"where": f"{column}:is:x"}):
        answer = await alices.client.get("/tables/concepts", params=asked)

        assert (422, True) == (answer.status_code, "cannot be shown" in words(answer))


async def test_a_member_is_refused_and_an_operator_is_not(studio: Litestar, ground: Ground) -> None:
    people = [
        await ground.make_member("member", "MEMBER"),
        await ground.make_member("operator", "MEMBER", is_operator=True),
    ]
    seen = []
    for person in people:
        async with visiting(studio) as visitor:
            await visitor.sign_in(ground, ground.alice, person)
            seen.append((await visitor.get("/tables")).status_code)

    assert [403, 200] == seen


async def test_studio_reads_until_changes_are_allowed(alices: Visitor, ground: Ground) -> None:
    row = ground.rows["concepts"]
    edit = {
        "key": str(row["id"]),
        "column": "title",
        "old": str(row["title"]),
        "new": "changed",
    }

    answers = [
        await alices.submit("/tables/concepts/save", {"edits": json.dumps([edit])}),
        await alices.submit("/tables/concepts/new", {"new.title": "x", "new.category": "y"}),
    ]
    deletion = await alices.submit("/tables/concepts/delete", {"key": edit["key"], "seen": ""})

    assert [True, True] == ["Studio is read-only" in words(answer) for answer in answers]
    assert deletion.status_code == 403
    found = await ground.fetch("SELECT title FROM concepts WHERE id = :id", id=row["id"])
    assert [(row["title"],)] == found


async def test_the_switch_holds_for_one_session_and_goes_back(
    studio: Litestar, writer: Visitor, ground: Ground
) -> None:
    assert "Changes allowed</button>" in (await writer.get("/tables")).text
    async with visiting(studio) as other:
        await other.sign_in(ground, ground.alice)
        for name, value in writer.client.cookies.items():
            if "studio" in name:
                other.client.cookies.set(name, value, domain="127.0.0.1")

        assert "Read-only</button>" in (await other.get("/tables")).text

    await writer.submit("/mode", {"mode": "reading"})
    assert "Read-only</button>" in (await writer.get("/tables")).text


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example/", "/\\evil.example"])
async def test_the_switch_leads_to_no_other_site(alices: Visitor, back: str) -> None:
    answer = await alices.submit("/mode", {"mode": "writing", "back": back})

    assert "evil" not in answer.headers.get("location", "")


async def test_every_page_names_database_and_tenant_and_loads_nothing_from_elsewhere(
    alices: Visitor, ground: Ground
) -> None:
    key = ground.rows["concepts"]["id"]
    for path in (*PAGES, f"/tables/concepts/row?key={key}", f"/tables/concepts/delete?key={key}"):
        page = await alices.get(path)

        title = page.text.partition("<title>")[2].partition("</title>")[0]
        assert f"- Alice - {ground.database} - Studio" in title
        assert "default-src 'self'" in page.headers["content-security-policy"]
        assert "://" not in page.text.replace("http://www.w3.org", "")
        assert "style=" not in page.text
        assert "<script>" not in page.text


async def test_the_tenant_is_switched_for_one_that_the_person_administers(
    studio: Litestar, ground: Ground
) -> None:
    from viral.features.users.members import add_member

    person = await ground.make_member("carol", "ADMIN")
    async with ground.system.session_without_tenant() as session:
        member = await add_member(session, tenant_id=ground.bob.id, user_id=person, role="ADMIN")
        membership = str(member.id)
    async with visiting(studio) as visitor:
        await visitor.sign_in(ground, ground.alice, person)
        await visitor.submit("/mode", {"mode": "writing"})
        before = await visitor.get("/tables/concepts")

        await visitor.submit("/switch", {"membership_id": membership})
        after = await visitor.get("/tables/concepts")

    assert membership in before.text
    assert str(ground.rows["concepts"]["id"]) in before.text
    assert str(ground.rows["concepts"]["id"]) not in after.text
    assert str(ground.bobs_rows["concepts"]["id"]) in after.text
    # The other tenant is read-only again.
    assert "Read-only</button>" in after.text
