"""The console's pages: who may do what there, and what they show."""

from __future__ import annotations

import asyncio
import html
import re

import pytest
from clusters import Cluster, superuser
from sqlalchemy import text

from studio_console.conftest import Desk, Ground
from viral.web.studio.console.running import MOST_AT_ONCE

SEAL = re.compile(r'name="seal" value="([^"]+)"')
RENAME = "UPDATE tenants SET name = 'Renamed by SQL'"


def words(page: str) -> str:
    """Return what a person reads."""
    plain = re.sub(r"<[^>]+>", " ", page)
    return " ".join(html.unescape(plain).split())


async def test_rows_are_shown_with_their_types(alices: Desk) -> None:
    answer = await alices.run("SELECT slug, 12 AS n, NULL AS a, '' AS b, id FROM tenants")

    assert 200 == answer.status_code
    shown = words(answer.text)
    assert "1 row, " in shown
    assert "slug Aa text n # integer a Aa text b Aa text id id uuid" in shown
    assert 'alice 12 null ""' in shown
    assert "<html" not in answer.text


async def test_without_a_script_the_whole_page_comes_back_with_the_text(alices: Desk) -> None:
    answer = await alices.run("SELECT slug\r\nFROM tenants", part=False, seconds="30")

    assert "<html" in answer.text
    assert "SELECT slug\nFROM tenants</textarea>" in answer.text
    assert '<option value="30" selected>' in answer.text
    assert "1 row, " in words(answer.text)


async def test_values_are_text_and_never_markup(alices: Desk) -> None:
    attack = "<script>alert(1)</script>"

    answer = await alices.run(f'SELECT \'{attack}\' AS "{attack}", \'{{"a": "{attack}"}}\'::jsonb')
    refused = await alices.run(f'SELECT "{attack}"')

    assert "<script>" not in answer.text + refused.text
    assert html.escape(attack) in answer.text


async def test_long_values_are_shown_from_their_beginning(alices: Desk) -> None:
    answer = await alices.run(
        "SELECT repeat('x', 5000), '[1.10, 2]'::jsonb || to_jsonb(repeat('y', 90))"
    )

    assert "3,000 more characters" in answer.text
    assert "  1.10,\n  2," in answer.text


async def test_a_link_brings_a_text_and_does_not_run_it(alices: Desk) -> None:
    page = await alices.get("/console?sql=SELECT+slug+FROM+tenants")

    assert "SELECT slug FROM tenants</textarea>" in page.text
    assert "1 row" not in words(page.text)


async def test_a_refusal_marks_its_place(alices: Desk) -> None:
    answer = await alices.run("SELECT slug,\n       titel\nFROM tenants")

    assert 'data-position="20"' in answer.text
    assert "<mark>titel</mark>" in answer.text
    assert 'Column "titel" does not exist. Line 2' in words(answer.text)


async def test_b19_nobody_is_let_in_without_signing_in(alices: Desk) -> None:
    token = await alices.form_token()
    alices.client.cookies.clear()

    answers = [
        await alices.client.post("/console/run", data={"sql": "SELECT 1", "_csrf_token": token}),
        await alices.get("/console"),
        await alices.get("/migrations"),
        await alices.get("/diagram"),
    ]

    assert {303, 403} >= {each.status_code for each in answers}
    assert not any("SQL console" in each.text for each in answers)


async def test_b19_another_site_a_foreign_name_and_a_missing_token_run_nothing(
    alices: Desk,
) -> None:
    data = {"sql": RENAME, "_csrf_token": await alices.form_token()}

    answers = [
        await alices.client.post(
            "/console/run", data=data, headers={"Origin": "https://elsewhere.example"}
        ),
        await alices.client.post("/console/run", data=data, headers={"Host": "rebound.example"}),
        await alices.client.post("/console/run", data={"sql": RENAME}),
    ]

    assert [403, 400, 403] == [each.status_code for each in answers]


@pytest.mark.parametrize("deed", ["run", "keep", "plan", "measure"])
async def test_b18_sql_that_writes_is_the_operators(bobs: Desk, deed: str) -> None:
    await bobs.switch("writing")

    answer = await bobs.run(RENAME, deed, writes="yes")
    page = await bobs.get("/console")

    assert 403 == answer.status_code
    assert "for the operator" in words(page.text)
    assert 'name="writes"' not in page.text


async def test_the_operator_allows_changes_first(alices: Desk) -> None:
    await alices.switch("reading")

    refused = await alices.run(RENAME, writes="yes")
    only_read = await alices.run(RENAME)

    assert (403, 200) == (refused.status_code, only_read.status_code)
    assert "Nothing may be changed here" in words(only_read.text)


async def test_changes_are_shown_confirmed_and_noted(
    alices: Desk, ground: Ground, cluster: Cluster
) -> None:
    await alices.switch("writing")
    trial = await alices.run(RENAME, writes="yes")
    seal = SEAL.search(trial.text)
    assert seal

    kept = await alices.run(RENAME, "keep", writes="yes", seal=seal[1])

    assert "This would change 1 row" in words(trial.text)
    assert "Stored: 1 row changed" in words(kept.text)
    async with superuser(cluster, ground.database) as admin:
        names = await admin.scalars(text("SELECT name FROM tenants ORDER BY slug"))
        assert ["Renamed by SQL", "Studio of bob"] == list(names)
        noted = (
            await admin.execute(text("SELECT * FROM audit_log WHERE action LIKE '%SQL'"))
        ).one()
    assert (ground.alice.user_id, "tenants", {"tenants": 1}, "127.0.0.1") == (
        noted.user_id,
        noted.subject,
        noted.details,
        noted.address,
    )


@pytest.mark.parametrize("change", ["text", "seal", "none"])
async def test_what_was_not_shown_is_not_stored(alices: Desk, change: str) -> None:
    await alices.switch("writing")
    wanted = "UPDATE tenants SET name = 'Shown'"
    seal = SEAL.search((await alices.run(wanted, writes="yes")).text)
    assert seal
    sealed = {"text": seal[1], "seal": seal[1][:-4] + "AAAA", "none": ""}[change]
    sql = wanted if change != "text" else wanted.replace("Shown", "Not shown")

    answer = await alices.run(sql, "keep", writes="yes", seal=sealed)

    assert "not the text whose changes were shown" in words(answer.text)


async def test_rows_leave_as_csv(alices: Desk) -> None:
    sql = "SELECT slug, NULL AS nothing, 'a,b' AS pair, 1.50 AS money FROM tenants"

    answer = await alices.run(sql, "export", format="csv")

    assert 'slug,nothing,pair,money\r\nalice,,"a,b",1.50\r\n' == answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    assert re.search(r'filename="query-[\d-]+\.csv"', answer.headers["content-disposition"])


async def test_no_text_leaves_as_a_formula_and_numbers_stay_numbers(alices: Desk) -> None:
    sql = """SELECT '=1+1' AS "=typed", '@here' AS b, -5 AS n, '-5'::jsonb AS j,
                    '-1 day'::interval AS took, '-infinity'::date AS since"""

    file, document = [await alices.run(sql, "export", format=form) for form in ("csv", "json")]

    assert "'=typed,b,n,j,took,since\r\n'=1+1,'@here,-5,-5,-1 days,-infinity\r\n" == file.text
    assert "=1+1" == document.json()[0]["=typed"]


async def test_rows_leave_as_json_with_every_column(alices: Desk) -> None:
    sql = "SELECT slug, 1 AS n, 2 AS n, '{\"a\": 1.10}'::jsonb AS j FROM tenants"

    answer = await alices.run(sql, "export", format="json")

    assert [{"slug": "alice", "n": 1, "n_2": 2, "j": {"a": 1.1}}] == answer.json()


async def test_an_export_holds_more_than_a_page_and_is_noted(
    alices: Desk, ground: Ground, cluster: Cluster
) -> None:
    sql = "SELECT generate_series(1, 2500) AS n"

    page, file = await alices.run(sql), await alices.run(sql, "export")

    assert "The first 1,000 rows" in words(page.text)
    assert 2501 == len(file.text.splitlines())
    async with superuser(cluster, ground.database) as admin:
        query = "SELECT details FROM audit_log WHERE action = 'exported rows'"
        assert {"rows": 2500} in list(await admin.scalars(text(query)))


async def test_secrets_leave_in_no_form(alices: Desk) -> None:
    for table in ("users", "api_keys", "sessions", "social_accounts"):
        answer = await alices.run(f"SELECT * FROM {table}", "export", part=False)

        assert "Permission denied" in words(answer.text), table


async def test_a_plan_is_drawn_and_told(alices: Desk) -> None:
    answer = await alices.run("SELECT t.slug FROM tenants AS t ORDER BY 1", "measure")

    assert 2 == answer.text.count("<svg class=")
    assert "Where the time goes" in words(answer.text)
    assert re.search(r"steps, [\d.]+ ms\. Heaviest: ", words(answer.text))
    assert "style=" not in answer.text


async def test_a_plan_without_a_run_says_so(alices: Desk) -> None:
    answer = await alices.run("SELECT pg_sleep(60)", "plan")

    assert "The text was not run" in words(answer.text)


async def test_a_person_cancels_what_they_run(alices: Desk, bobs: Desk) -> None:
    run = asyncio.create_task(alices.run("SELECT pg_sleep(50)", seconds="60", run="mine"))
    await asyncio.sleep(0.5)
    await bobs.run("", "cancel", run="mine")
    await asyncio.sleep(0.3)
    still_runs = not run.done()

    answer = await alices.run("", "cancel", run="mine")

    assert (True, 204) == (still_runs, answer.status_code)
    assert "Cancelled." in words((await asyncio.wait_for(run, 5)).text)


async def test_only_so_many_texts_run_at_once(alices: Desk) -> None:
    runs = [
        asyncio.create_task(alices.run("SELECT pg_sleep(50)", seconds="60", run=str(number)))
        for number in range(MOST_AT_ONCE)
    ]
    await asyncio.sleep(0.5)

    answer = await alices.run("SELECT 1")

    for number in range(MOST_AT_ONCE):
        await alices.run("", "cancel", run=str(number))
    await asyncio.gather(*runs)
    assert "4 texts run already" in words(answer.text)
    assert "1 row" in words((await alices.run("SELECT 1")).text)


async def test_bob_sees_his_own_rows_alone(bobs: Desk, ground: Ground) -> None:
    answer = await bobs.run(f"SELECT slug FROM tenants WHERE true OR id = '{ground.alice.id}'")

    assert "bob" in words(answer.text)
    assert "alice" not in words(answer.text)


@pytest.mark.parametrize("field", ["seconds", "format", "writes", "more"])
async def test_a_field_that_no_page_sends_is_refused(alices: Desk, field: str) -> None:
    answer = await alices.run("SELECT 1", part=False, **{field: "9999"})

    assert answer.status_code in {303, 400, 422}
