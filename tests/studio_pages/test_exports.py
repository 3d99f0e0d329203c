"""Exports hold the rows that pass, exactly; a spreadsheet finds no formula in them."""

from __future__ import annotations

import csv
import io
import json

import pytest

from studio_pages.conftest import Ground, Visitor
from viral.features.studio.shapes import shape_of
from viral.schema.base import uuid7, uuid7_run

TITLES = ("plain", 'with "quotes", commas', "two\nlines", "", "=1+1", "@here", "\u2603")


async def filled(ground: Ground) -> str:
    category = f"export-{uuid7()}"
    await ground.add(
        "concepts",
        *(
            {"id": key, "origin": "imported", "source_platform": "tiktok", "title": title,
             "source_id": f"{category}{key}", "category": category}
            for key, title in zip(uuid7_run(len(TITLES)), TITLES, strict=True)
        ),
    )  # fmt: skip
    return category


async def test_csv_keeps_texts_null_and_empty_apart(alices: Visitor, ground: Ground) -> None:
    category = await filled(ground)

    answer = await alices.submit(
        "/tables/concepts/export", {"form": "csv", "where": f"category:is:{category}"}
    )

    assert 'attachment; filename="concepts.csv"' == answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    expected = ["'" + each if each[:1] in {"=", "@"} else each for each in TITLES]
    assert expected == [row["title"] for row in reversed(rows)]
    assert ',"",' in answer.text
    assert {""} == {row["hook_type"] for row in rows}


async def test_json_keeps_every_value(
    alices: Visitor, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    category = await filled(ground)
    # Parts that do not fit the number of rows.
    monkeypatch.setattr("viral.features.studio.export.PART", 3)

    answer = await alices.submit(
        "/tables/concepts/export", {"form": "json", "where": f"category:is:{category}"}
    )

    rows = json.loads(answer.text)
    assert list(TITLES) == [row["title"] for row in reversed(rows)]
    assert [field.name for field in shape_of("concepts").read] == list(rows[0])
    assert {None} == {row["hook_type"] for row in rows}
    assert [{}] * len(TITLES) == [row["prompts"] for row in rows]


async def test_an_export_holds_one_tenant_and_is_noted(alices: Visitor, ground: Ground) -> None:
    answer = await alices.submit("/tables/videos/export", {"form": "json"})

    owners = {row["tenant_id"] for row in json.loads(answer.text)}
    assert {str(ground.alice.id)} == owners
    noted = await ground.fetch(
        "SELECT user_id, details FROM audit_log WHERE action = 'exported rows'"
        " AND subject = 'videos'"
    )
    assert [(ground.alice.user_id, {"format": "json"})] == noted


async def test_an_export_without_rows_is_whole(alices: Visitor) -> None:
    nothing = {"where": "title:is:nothing of that name"}

    as_json = await alices.submit("/tables/concepts/export", {"form": "json", **nothing})
    as_csv = await alices.submit("/tables/concepts/export", {"form": "csv", **nothing})

    assert [] == json.loads(as_json.text)
    assert 1 == as_csv.text.count("\r\n")


@pytest.mark.parametrize(
    "fields",
    [
        {"form": "xml"},
        {"form": "csv", "where": "title:like:x"},
        {"form": "csv", "where": "id:is:1"},
    ],
)
async def test_what_cannot_be_exported_is_no_broken_file(
    alices: Visitor, fields: dict[str, str]
) -> None:
    answer = await alices.submit("/tables/concepts/export", fields)

    assert "content-disposition" not in answer.headers
