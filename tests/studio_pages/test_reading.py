"""Every table opens; pages, filters and orders show what they say; secrets are nowhere."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB

from studio_pages.conftest import Ground, Visitor, keys_of, link_to, words
from viral.features.studio.rows import Query, key_address, read_page
from viral.features.studio.shapes import Shape, shape_of, shapes
from viral.features.studio.values import as_text
from viral.schema.base import uuid7, uuid7_run
from viral.schema.security import APP
from viral.schema.tables import METADATA
from viral.web.studio.cells import short_text

# Names that sound like a secret, of columns that hold none.
NO_SECRETS = {
    "input_tokens", "output_tokens", "token_status", "key", "api_key_id", "dedupe_key",
    "idempotency_key", "pattern_key", "key_id", "keywords", "topic_key",
}  # fmt: skip
# Rows of usage, with ids as the product makes them; and how many the transaction has looked at.
MANY = """
INSERT INTO api_usage (tenant_id, id, request_id, endpoint, method, status_code, response_time_ms)
SELECT :tenant_id, (lpad(to_hex(n), 12, '0') || '7fffbfffffffffffffff')::uuid,
       n, '/api/v1/concepts', 'GET', 200, n % 400
FROM generate_series(1, 3000) AS n
"""
TOUCHED = """
SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables
WHERE relname LIKE 'api_usage%'
"""
LADDER = [("a", 3), ("b", 1), ("c", None), ("d", 2), ("e", None), ("f", 1)]


def address(shape: Shape, row: dict[str, object]) -> str:
    return key_address(str(as_text(row[each.name])) for each in shape.key)


async def test_every_table_opens_and_so_does_its_row(alices: Visitor, ground: Ground) -> None:
    for shape in shapes():
        # Other tests add concepts, more than a page.
        oldest_first = "?sort=id" if shape.name == "concepts" else ""
        page = await alices.get(f"/tables/{shape.name}{oldest_first}")

        assert 200 == page.status_code, shape.name
        if shape.why_unreadable:
            assert f"not readable by {APP}" in words(page).lower()
            continue
        key = address(shape, ground.rows[shape.name])
        assert key in [each.replace("&#39;", "'") for each in keys_of(page)], shape.name
        row = await alices.client.get(f"/tables/{shape.name}/row", params={"key": key})
        assert 200 == row.status_code, shape.name


def test_every_table_of_the_schema_is_there() -> None:
    assert set(METADATA.tables) == {shape.name for shape in shapes()}


async def test_c02_secrets_are_shown_nowhere(alices: Visitor, ground: Ground) -> None:
    await ground.change("UPDATE social_accounts SET access_token = '\\xdeadbeefcafe'::bytea")
    secret = {
        (shape.name, field.name)
        for shape in shapes()
        for field in shape.fields
        if field.kind == "secret"
    }

    for table in sorted({table for table, _ in secret if not shape_of(table).why_unreadable}):
        shape = shape_of(table)
        key = address(shape, ground.rows[table])
        pages = [
            await alices.get(f"/tables/{table}"),
            await alices.client.get(f"/tables/{table}/row", params={"key": key}),
            await alices.submit(f"/tables/{table}/export", {"form": "csv"}),
            await alices.submit(f"/tables/{table}/export", {"form": "json"}),
        ]
        for column in (column for of, column in secret if of == table):
            value = ground.rows[table][column]
            held = "deadbeefcafe" if column == "access_token" else str(as_text(value))
            shown = "".join(page.text for page in pages)
            assert held not in shown or value is None
            assert bytes.fromhex("deadbeefcafe") not in pages[2].content
            assert pages[0].text.count("encrypted, not shown") >= 1
            assert column not in pages[2].text.partition("\r\n")[0].split(",")
            for asked in ({"sort": column}, {"where": f"{column}:is:x"}):
                assert (
                    422 == (await alices.client.get(f"/tables/{table}", params=asked)).status_code
                )

    lets_in = {"access_token", "refresh_token", "password_hash", "key_hmac", "token_sha256"}
    # Answers that are kept to be repeated.
    kept = {"body", "fingerprint"}
    assert lets_in | kept == {column for _, column in secret}


def test_a_column_that_sounds_like_a_secret_is_one() -> None:
    sounding = re.compile(r"token|secret|hash(?!tags)|hmac|password|key")

    spoken = {
        f"{shape.name}.{field.name}"
        for shape in shapes()
        for field in shape.fields
        if sounding.search(field.name) and field.name not in NO_SECRETS and field.kind != "secret"
    }

    assert set() == spoken


async def test_a_secret_has_no_editor_and_a_row_says_so(writer: Visitor, ground: Ground) -> None:
    key = address(shape_of("social_accounts"), ground.rows["social_accounts"])

    page = await writer.get(f"/tables/social_accounts/row?key={key}")

    assert 'name="new.username"' in page.text
    assert 'name="new.access_token"' not in page.text
    assert "encrypted, not shown" in words(page)


async def ladder(ground: Ground) -> str:
    """Add concepts with durations that repeat and miss; the category they share."""
    category = f"ladder-{uuid7()}"
    await ground.add(
        "concepts",
        *(
            {"id": key, "origin": "imported", "source_platform": "tiktok", "title": title,
             "source_id": f"{category}-{title}", "category": category, "duration_s": duration}
            for key, (title, duration) in zip(uuid7_run(len(LADDER)), LADDER, strict=True)
        ),
    )  # fmt: skip
    return category


async def titles(visitor: Visitor, path: str, ground: Ground) -> str:
    page = await visitor.get(path)
    assert page.status_code == 200
    rows = await ground.fetch("SELECT id::text, title FROM concepts")
    named = {key: title for key, title in rows}  # noqa: C416 - pairs of what type they are
    return "".join(str(named[key]) for key in keys_of(page))


@pytest.mark.parametrize(
    ("sort", "expected"),
    [("", "fedcba"), ("duration_s", "bfdace"), ("-duration_s", "ecadfb"), ("-title", "fedcba")],
)
async def test_rows_stand_in_the_order_that_is_asked_for(
    alices: Visitor, ground: Ground, sort: str, expected: str
) -> None:
    category = await ladder(ground)

    seen = await titles(
        alices, f"/tables/concepts?where=category:is:{category}&sort={sort}", ground
    )

    assert expected == seen


@pytest.mark.parametrize("sort", ["", "duration_s", "-duration_s", "title", "-created_at"])
async def test_paging_forth_and_back_shows_every_row_once(
    alices: Visitor, ground: Ground, monkeypatch: pytest.MonkeyPatch, sort: str
) -> None:
    category = await ladder(ground)
    start = f"/tables/concepts?where=category:is:{category}&sort={sort}"
    whole = keys_of(await alices.get(start))
    # The size is a default of the query.
    monkeypatch.setattr("viral.web.studio.grid.ROWS_SHOWN", 2)

    forth, path = [], start
    while path:
        page = await alices.get(path)
        forth.append(keys_of(page))
        last, path = path, link_to(page, "next") or ""
    back: list[list[str]] = []
    path = last
    while path:
        page = await alices.get(path)
        back.insert(0, keys_of(page))
        path = link_to(page, "prev") or ""

    assert 6 == len(whole)
    assert [whole[0:2], whole[2:4], whole[4:6]] == forth == back


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (["duration_s:at-least:2"], "da"),
        (["duration_s:above:2"], "a"),
        (["duration_s:below:2"], "fb"),
        (["duration_s:at-most:2"], "fdb"),
        (["duration_s:is:1", "title:is-not:f"], "b"),
        (["duration_s:is-not:1"], "edca"),
        (["duration_s:is-null:"], "ec"),
        (["duration_s:is-not-null:", "title:starts-with:a"], "a"),
        (["title:contains:D"], "d"),
        (["is_favorite:is:false", "title:is:e"], "e"),
        (['prompts:contains:{"a": {"b": 1}}'], "c"),
        (["created_at:above:2020-01-01", "title:is:a"], "a"),
    ],
)
async def test_filters_pass_what_they_say(
    alices: Visitor, ground: Ground, where: list[str], expected: str
) -> None:
    category = await ladder(ground)
    await ground.change(
        'UPDATE concepts SET prompts = \'{"a": {"b": 1, "c": 2}}\''
        " WHERE category = :category AND title = 'c'",
        category=category,
    )
    query = "&".join(f"where={each}" for each in (*where, f"category:is:{category}"))

    assert expected == await titles(alices, f"/tables/concepts?{query}", ground)


async def test_a_new_filter_joins_those_in_force_and_each_can_be_removed(alices: Visitor) -> None:
    page = await alices.get(
        "/tables/concepts?where=category:is:food&column=duration_s&operator=at-most&value=30"
    )

    assert "category is food" in words(page)
    assert "duration_s ≤ 30" in words(page)
    assert 'href="/tables/concepts?where=duration_s%3Aat-most%3A30"' in page.text


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("duration_s:is:many", "duration_s is not a whole number"),
        ("duration_s:is:99999999999", "between"),
        ("created_at:above:yesterday", "a moment, such as"),
        ("id:is:12", "a UUID"),
        ("id:contains:12", "knows no condition"),
        ("title:like:x", "no condition"),
        ("prompts:contains:{", "is not JSON"),
    ],
)
async def test_a_filter_that_cannot_be_read_says_what_would_be(
    alices: Visitor, where: str, said: str
) -> None:
    answer = await alices.client.get("/tables/concepts", params={"where": where})

    assert (422, True) == (answer.status_code, said in words(answer))


async def test_a_relation_is_a_link_with_a_preview(alices: Visitor, ground: Ground) -> None:
    row = ground.rows["videos"]
    page = await alices.get("/tables/videos")
    link = f"key={row['concept_id']}"

    assert f'href="/tables/concepts/row?{link}"' in page.text
    preview = await alices.get(f"/tables/concepts/preview?{link}")

    assert str(ground.rows["concepts"]["title"]) in preview.text
    assert "<html" not in preview.text


async def test_a_person_s_column_leads_to_the_person(alices: Visitor, ground: Ground) -> None:
    page = await alices.get("/tables/generations")

    assert f'href="/tables/users/row?key={ground.alice.user_id}"' in page.text


async def test_a_row_lists_what_points_at_it(alices: Visitor, ground: Ground) -> None:
    page = await alices.get(f"/tables/concepts/row?key={ground.rows['concepts']['id']}")

    said = words(page).partition("What points here")[2]
    assert "predictions concept_id 1" in said
    assert "videos concept_id 1" in said
    link = f"/tables/videos?where=concept_id%3Ais%3A{ground.rows['concepts']['id']}"
    assert [str(ground.rows["videos"]["id"])] == keys_of(await alices.get(link))


async def test_a_document_is_pretty_printed_and_inert(alices: Visitor, ground: Ground) -> None:
    key = ground.rows["concepts"]["id"]
    await ground.change(
        'UPDATE concepts SET prompts = \'{"veo": "<script>alert(1)</script>"}\' WHERE id = :key',
        key=key,
    )

    answer = await alices.get(f"/tables/concepts/document/prompts?key={key}")

    assert "{\n  &#34;veo&#34;: &#34;&lt;script&gt;" in answer.text
    await ground.change("UPDATE concepts SET prompts = '{}' WHERE id = :key", key=key)


async def test_what_is_long_is_cut_in_a_grid_and_whole_in_its_row(
    alices: Visitor, ground: Ground
) -> None:
    key = uuid7()
    long = "w" * 5000 + "END"
    await ground.add("self_critiques", {**_critique(), "id": key, "critique": long})

    grid = await alices.get(f"/tables/self_critiques?where=id:is:{key}")
    row = await alices.get(f"/tables/self_critiques/row?key={key}")

    assert "END" not in grid.text
    assert "www…" in grid.text
    assert long in row.text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("0.30000000000000004", "0.3"), ("17774300.0", "17774300"), ("-999999.5", "-1000000"),
     ("1e+300", "1e+300"), ("nan", "nan")],
)  # fmt: skip
def test_a_number_is_short_and_a_large_one_whole(text: str, shown: str) -> None:
    assert shown == short_text(shape_of("system_metrics").field("value"), text)


async def test_null_empty_and_text_look_different(alices: Visitor, ground: Ground) -> None:
    category = await ladder(ground)
    await ground.change(
        "UPDATE concepts SET title = '' WHERE category = :c AND title = 'c'", c=category
    )

    page = await alices.get(
        f"/tables/concepts?where=category:is:{category}&where=duration_s:is-null:"
    )

    assert 'look-empty" data-label="title"' in page.text
    assert page.text.count('look-null num" data-label="duration_s"') == 2


def test_every_key_of_a_readable_table_can_be_read() -> None:
    hidden = [s.name for s in shapes() if not s.why_unreadable and any(f.why_hidden for f in s.key)]

    assert [] == hidden


def test_documents_know_what_they_hold() -> None:
    kinds = {
        f"{shape.name}.{field.name}": field.document
        for shape in shapes()
        for field in shape.fields
        if isinstance(field.column.type, JSONB)
    }

    assert ("object", "list", "texts") == (
        kinds["concepts.prompts"],
        kinds["concepts.script"],
        kinds["concepts.hashtags"],
    )
    assert None not in kinds.values()


def _critique() -> dict[str, object]:
    return {
        "performance_gap": {},
        "hypothesized_reasons": [],
        "scoring_issues": [],
        "adjustment_plan": "",
        "confidence_level": "low",
        "critic": str(uuid7()),
    }


async def test_the_first_page_of_a_table_reads_no_more_rows_than_it_shows(ground: Ground) -> None:
    await ground.change(MANY, tenant_id=ground.bob.id)
    await ground.change("ANALYZE api_usage")
    shape, query = shape_of("api_usage"), Query(size=50)

    async with ground.app.tenant_session(ground.bob.id) as session:
        first = await read_page(session, shape, ground.bob.id, query)
        touched = await session.scalar(text(TOUCHED))

    assert (50, True) == (len(first.rows), first.has_next)
    # And one more, which tells of the next page.
    assert 51 == touched
