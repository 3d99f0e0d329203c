"""Edits are saved together or not at all; rows are added by type, and deleted with what hangs."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from factories import new_row

from studio_pages.conftest import Ground, Visitor, keys_of, words
from viral.features.studio.rows import key_address
from viral.features.studio.shapes import TENANT, shape_of, shapes
from viral.features.studio.values import as_text
from viral.schema.base import uuid7

# Parents that have one row of a table only: a new one needs another.
ANEW: dict[str, dict[str, object]] = {
    "quota_ledger": {},
    "reflexion_insights": {"pattern_key": "another"},
}
# What makes a second row of a table different from the first.
OTHERWISE: dict[str, dict[str, object]] = {
    "concepts": {
        "origin": "imported",
        "source_platform": "tiktok",
        "source_id": "s",
        "generation_id": None,
    },
    "concept_variants": {"label": "Z"},
    "predictions": {"platform": "instagram"},
}
LISTS = ("list", "texts")
Cell = dict[str, str | None]


async def add_concept(ground: Ground, **values: object) -> str:
    """Add a concept of Alice's; its key."""
    key = uuid7()
    row = {"origin": "imported", "source_platform": "tiktok", "source_id": str(key)}
    await ground.add("concepts", {"id": key, **row, "category": "food", "title": "old", **values})
    return str(key)


def edit(key: str, column: str, old: str | None, new: str | None) -> Cell:
    return {"key": key, "column": column, "old": old, "new": new}


async def value_of(ground: Ground, key: str, column: str) -> object:
    ((value,),) = await ground.fetch(f"SELECT {column} FROM concepts WHERE id = :key", key=key)
    return value


def sent(*cells: Cell, query: str = "") -> dict[str, str]:
    return {"edits": json.dumps(cells), "query": query}


async def test_edits_are_shown_old_beside_new_and_then_saved(
    writer: Visitor, ground: Ground
) -> None:
    first, second = await add_concept(ground), await add_concept(ground, duration_s=20)
    cells = (edit(first, "title", "old", "<b>new"), edit(second, "duration_s", "20", None))

    review = await writer.submit("/tables/concepts/review", sent(*cells))
    before = await value_of(ground, first, "title")
    saved = await writer.submit("/tables/concepts/save", sent(*cells, query="sort=-title"))

    assert "Old value: old → New value: <b>new" in words(review)
    assert "Old value: 20 → New value: null" in words(review)
    assert "<b>new" not in review.text
    assert "old" == before
    assert (303, "/tables/concepts?sort=-title") == (saved.status_code, saved.headers["location"])
    assert "2 cells of 2 rows saved." in words(await writer.get("/tables/concepts"))
    assert ("<b>new", None) == (
        await value_of(ground, first, "title"),
        await value_of(ground, second, "duration_s"),
    )


async def test_nothing_is_saved_when_one_cell_has_changed_since(
    writer: Visitor, ground: Ground
) -> None:
    first, second = await add_concept(ground), await add_concept(ground)
    await ground.change("UPDATE concepts SET title = 'theirs' WHERE id = :key", key=second)
    cells = (edit(first, "title", "old", "new"), edit(second, "title", "old", "new"))

    answer = await writer.submit("/tables/concepts/save", sent(*cells))

    assert 409 == answer.status_code
    assert 1 == words(answer).count("Somebody has changed it since: it is theirs now.")
    assert ("old", "theirs") == (
        await value_of(ground, first, "title"),
        await value_of(ground, second, "title"),
    )


@pytest.mark.parametrize(
    ("column", "old", "new"),
    [
        ("title", "old", ""),
        ("title", "two\nlines", "one\nline"),
        ("hook_type", None, "question"),
        ("hook_type", "question", None),
        ("duration_s", "20", "31"),
        ("is_favorite", "false", "true"),
        ("post_at", None, "2026-11-24 18:30"),
        ("post_at", "2026-11-24 18:30:00.123456+00:00", "2026-11-25 07:00:00+01:00"),
        ("prompts", '{"a":[null,"x"],"b":1.5}', "{}"),
        ("trend", None, '{"topic": "tea"}'),
        ("trend", '{"topic":"tea"}', None),
        ("hashtags", "[]", '["tea"]'),
        ("script", '[{"s":1}]', "[]"),
    ],
)
async def test_a_value_of_every_type_is_read_back_as_it_was(
    writer: Visitor, ground: Ground, column: str, old: str | None, new: str | None
) -> None:
    key = await add_concept(ground)
    field = shape_of("concepts").field(column)
    literal = "NULL" if old is None else "'" + old.replace(":", "\\:") + "'"
    cast = "jsonb" if field.kind == "json" else "text" if field.kind == "text" else None
    typed = f"{literal}::{cast}" if cast else f"{literal}::{field.type_name.replace(' tz', 'tz')}"
    await ground.change(f"UPDATE concepts SET {column} = {typed} WHERE id = :key", key=key)

    forth = await writer.submit("/tables/concepts/save", sent(edit(key, column, old, new)))
    middle = as_text(await value_of(ground, key, column))
    back = await writer.submit("/tables/concepts/save", sent(edit(key, column, middle, old)))

    assert [303, 303] == [forth.status_code, back.status_code], words(forth)
    assert middle != old
    assert old == as_text(await value_of(ground, key, column))


@pytest.mark.parametrize(
    ("column", "new", "said"),
    [
        ("duration_s", "long", "duration_s is not a whole number."),
        ("duration_s", "-5", "does not take this: duration_s >= 0."),
        ("title", None, "title cannot be null."),
        ("title", "a\0b", "does not store"),
        ("is_favorite", "maybe", "true or false"),
        ("post_at", "soon", "a moment, such as"),
        ("prompts", "[1]", "a JSON object"),
        ("prompts", "{nope", "is not JSON"),
        ("hashtags", "[1]", "a JSON list of texts"),
        ("generation_id", "12", "a UUID"),
        ("id", str(UUID(int=1)), "cannot be changed"),
        ("tenant_id", str(UUID(int=1)), "cannot be changed"),
        ("origin", "generated", "does not take this"),
    ],
)
async def test_what_does_not_fit_is_refused_and_said(
    writer: Visitor, ground: Ground, column: str, new: str | None, said: str
) -> None:
    key = await add_concept(ground, duration_s=1)
    old = as_text(await value_of(ground, key, column))

    answer = await writer.submit("/tables/concepts/save", sent(edit(key, column, old, new)))

    assert (422, True) == (answer.status_code, said in words(answer)), words(answer)
    assert old == as_text(await value_of(ground, key, column))


@pytest.mark.parametrize(
    ("table", "column", "new"),
    [
        ("tenants", "monthly_quota", "100000"),
        ("tenants", "subscription_tier", "AGENCY"),
        ("memberships", "role", "ADMIN"),
        ("users", "email", "x@example.com"),
        ("audit_log", "action", "nothing"),
        ("trends", "topic", "mine"),
        ("social_accounts", "access_token", "stolen"),
        ("performance_feedback", "engagement_rate", "99"),
        ("predictions", "score", "99"),
    ],
)
async def test_what_the_role_may_not_write_is_no_edit(
    writer: Visitor, ground: Ground, table: str, column: str, new: str
) -> None:
    shape, row = shape_of(table), ground.rows[table]
    key = key_address(str(as_text(row[each.name])) for each in shape.key)
    page = await writer.client.get(f"/tables/{table}/row", params={"key": key})

    cell = edit(key, column, as_text(row[column]), new)
    answer = await writer.submit(f"/tables/{table}/save", sent(cell))

    assert f'name="new.{column}"' not in page.text
    assert answer.status_code in {404, 422}
    assert [(1,)] == await ground.fetch(
        f"SELECT count(*) FROM {table} WHERE id = :id", id=row["id"]
    )


async def test_the_form_of_a_row_sends_only_what_was_changed(
    writer: Visitor, ground: Ground
) -> None:
    key = await add_concept(ground, title="a\nb", caption="same\r\nlines")
    page = await writer.get(f"/tables/concepts/row?key={key}")
    was = {"title": "a\nb", "caption": "same\r\nlines", "hook": "", "prompts": "{}", "trend": None}
    form = {
        "was": json.dumps(was),
        "new.title": "a\r\nb\r\nc",
        "new.caption": "same\r\nlines",
        "new.hook": "",
        "new.prompts": " { } ",
        "new.trend": "",
    }

    review = await writer.submit(f"/tables/concepts/row?key={key}", form)
    same = await writer.submit(f"/tables/concepts/row?key={key}", {**form, "new.title": "a\r\nb"})

    assert 'name="was" value="{&#34;' in page.text
    assert "Save 1 cell of 1 row?" in words(review)
    assert 303 == same.status_code
    assert "Nothing is changed." in words(await writer.get("/tables"))


async def test_saved_edits_are_in_the_log_without_their_values(
    writer: Visitor, ground: Ground
) -> None:
    key = await add_concept(ground)
    cells = (edit(key, "title", "old", "very private"), edit(key, "hook", "", "also private"))

    await writer.submit("/tables/concepts/save", sent(*cells))

    assert [(ground.alice.user_id, "changed row", {"columns": "hook, title"}, "127.0.0.1")] == (
        await ground.fetch(
            "SELECT user_id, action, details, address FROM audit_log WHERE subject = :subject",
            subject=f"concepts {key}",
        )
    )


async def test_a_row_can_be_added_wherever_the_role_may(writer: Visitor, ground: Ground) -> None:
    # A reservation is settled once, and a result counts once for an insight.
    parents = {**ground.rows, **{name: await _another(ground, name) for name in ANEW}}
    added = []
    for shape in shapes():
        page = await writer.get(f"/tables/{shape.name}/new")
        if shape.why_no_insert:
            assert page.status_code in {403, 404}, shape.name
            continue
        columns = {each.name for each in shape.fields if each.may_insert}
        row = new_row(shape.table, tenant_id=ground.alice.id, parents=parents, columns=columns)
        row.pop(TENANT, None)
        row["id"] = uuid7()
        row |= OTHERWISE.get(shape.name, {})
        row |= {e.name: [] for e in shape.fields if e.name in row and e.document in LISTS}
        form = {f"new.{name}": as_text(value) or "" for name, value in row.items()}

        answer = await writer.submit(
            f"/tables/{shape.name}/new",
            {**form, **{f"null.{name}": "on" for name in columns - set(row)}},
        )

        assert 303 == answer.status_code, (shape.name, words(answer))
        again = await writer.get(answer.headers["location"])
        assert (200, True) == (again.status_code, str(row["id"]) in again.text), shape.name
        added.append(shape.name)
    assert {"concepts", "generations", "videos", "social_accounts", "social_posts"} <= set(added)
    assert not {"audit_log", "trends", "users", "tenants", "memberships"} & set(added)


async def _another(ground: Ground, table: str) -> dict[str, object]:
    row = {**ground.rows[table], **ANEW[table], "id": uuid7()}
    await ground.add(table, row)
    return row


async def test_the_form_of_a_new_row_makes_the_id_and_offers_words_and_rows(
    writer: Visitor,
) -> None:
    page = await writer.get("/tables/videos/new")

    assert 'name="new.id" type="text" value="0' in page.text
    assert '<option value="queued">queued</option>' in page.text
    assert page.text.count("<option value=") > 10
    assert '<datalist id="field-concept_id-choices"><option value="0' in page.text
    assert 'name="new.tenant_id"' not in page.text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"new.title": "x"}, "viral_app may not"),
        ({"new.concept_id": str(UUID(int=7))}, "points at none"),
        ({"new.platform": "myspace"}, "platform is one of tiktok"),
        ({"new.category": ""}, ""),
        ({"new.tenant_id": str(UUID(int=7))}, ""),
    ],
)
async def test_a_row_that_does_not_fit_is_shown_again(
    writer: Visitor, ground: Ground, fields: dict[str, str], said: str
) -> None:
    before = await ground.fetch("SELECT count(*) FROM videos")
    form = {
        "new.id": str(uuid7()),
        "new.concept_id": str(ground.rows["concepts"]["id"]),
        "new.category": "food",
        "new.platform": "tiktok",
        "new.provider": "local",
        "null.provider_job_id": "on",
        **fields,
    }

    answer = await writer.submit("/tables/videos/new", form)

    added = await ground.fetch("SELECT count(*) FROM videos") != before
    # What is no column of the form is left out.
    assert added is (said == "" or "viral_app" in said), words(answer)
    if not added:
        assert (422, True) == (answer.status_code, said in words(answer))
        assert form["new.provider"] in answer.text
    else:
        owners = await ground.fetch(
            "SELECT tenant_id FROM videos WHERE id = :id", id=form["new.id"]
        )
        assert [(ground.alice.id,)] == owners


async def test_a_deletion_says_what_goes_along_and_takes_it(
    writer: Visitor, ground: Ground
) -> None:
    key = await add_concept(ground)
    for label in ("A", "B"):
        await ground.add("concept_variants", {**_variant(key), "id": uuid7(), "label": label})

    asked = await writer.get(f"/tables/concepts/delete?key={key}")
    form = {"key": key, "seen": "concept_variants=2"}
    answer = await writer.submit("/tables/concepts/delete", form)

    assert "2 rows of other tables will be deleted along concept_variants 2 rows" in words(asked)
    assert "Delete 3 rows" in words(asked)
    assert 303 == answer.status_code
    assert "1 row of concepts deleted, and 2 rows that went along." in words(
        await writer.get("/tables/concepts")
    )
    assert [(0,)] == await ground.fetch(
        "SELECT count(*) FROM concept_variants WHERE concept_id = :key", key=key
    )
    assert [("deleted row",)] == await ground.fetch(
        "SELECT action FROM audit_log WHERE subject = :it", it=f"concepts {key}"
    )


async def test_what_hangs_deeper_is_counted_by_every_way(writer: Visitor, ground: Ground) -> None:
    key = ground.rows["concepts"]["id"]

    asked = words(await writer.get(f"/tables/concepts/delete?key={key}"))

    # A snapshot hangs on a video, which hangs on the concept; a post keeps the video.
    along = asked.partition("deleted along")[2]
    assert "predictions" in along
    assert "analytics_snapshots" in along
    assert "social_posts" in asked.partition("In the way")[2].partition("deleted along")[0]
    assert "Delete" not in along.replace("Delete or", "").partition("Cancel")[0]


async def test_nothing_is_deleted_when_more_goes_along_than_was_said(
    writer: Visitor, ground: Ground
) -> None:
    key = await add_concept(ground)
    await ground.add("concept_variants", {**_variant(key), "id": uuid7(), "label": "A"})

    answer = await writer.submit("/tables/concepts/delete", {"key": key, "seen": ""})

    assert (409, True) == (answer.status_code, "What goes along has changed" in words(answer))
    assert "old" == await value_of(ground, key, "title")


async def test_several_rows_are_deleted_together_or_none(writer: Visitor, ground: Ground) -> None:
    keys = [await add_concept(ground), await add_concept(ground)]

    refused = await writer.submit(
        "/tables/concepts/delete",
        {"key": [*keys, str(ground.bobs_rows["concepts"]["id"])], "seen": ""},
    )
    left = await ground.fetch(
        "SELECT count(*) FROM concepts WHERE id = ANY(:keys)", keys=[*map(UUID, keys)]
    )
    await writer.submit("/tables/concepts/delete", {"key": keys, "seen": ""})

    assert (303, "/") == (refused.status_code, refused.headers["location"])
    assert [(2,)] == left
    assert not set(keys) & set(keys_of(await writer.get("/tables/concepts")))


@pytest.mark.parametrize("table", ["tenants", "predictions", "audit_log", "api_usage", "trends"])
async def test_what_the_role_may_not_delete_has_no_way_to(
    writer: Visitor, ground: Ground, table: str
) -> None:
    shape, row = shape_of(table), ground.rows[table]
    key = key_address(str(as_text(row[each.name])) for each in shape.key)

    page = await writer.get(f"/tables/{table}")
    answer = await writer.submit(f"/tables/{table}/delete", {"key": key, "seen": ""})

    assert "data-pick" not in page.text
    assert 403 == answer.status_code


async def test_a_deletion_sees_every_table_that_may_go_along() -> None:
    from viral.features.studio.shapes import referrers

    unseen = [
        f"{each.table} of {shape.name}"
        for shape in shapes()
        if not shape.why_no_delete
        for each in referrers(shape.table)
        if shape_of(str(each.table)).why_unreadable
    ]

    assert [] == unseen


def _variant(key: str) -> dict[str, object]:
    return {"concept_id": UUID(key), "title": "t", "caption": "c", "hook_source": "template"}
