"""Each table that the specification names is browsed, and edited where its grants allow it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from litestar import Litestar

from studio_pages.conftest import Ground, Visitor, keys_of, visiting, words
from viral.features.studio.rows import key_address
from viral.features.studio.shapes import Shape, shape_of, shapes
from viral.features.studio.values import as_text

MOMENT = "2026-11-24 18:30:00+00:00"
# A cell of each table that may be changed, and what it is changed to; None: none may be.
EDITS: dict[str, tuple[str, str] | None] = {
    "tenants": ("name", "Renamed"),
    "users": None,
    "generations": ("writer", "by hand"),
    "videos": ("category", "tea"),
    "social_accounts": ("username", "renamed"),
    "social_posts": ("title", "Another"),
    "analytics_snapshots": None,
    "performance_feedback": ("judged_at", MOMENT),
    "self_critiques": ("applied_at", MOMENT),
    "reflexion_insights": ("pattern", "Another"),
    "scoring_adjustments": ("revert_reason", "by hand"),
    "job_queue": None,
    "api_usage": None,
    "system_metrics": None,
}
# What no tenant's admin reads: rows of the installation.
OPERATORS = {"job_schedules", "system_metrics"}


@pytest.fixture(scope="module")
async def operator(studio: Litestar, ground: Ground) -> AsyncIterator[Visitor]:
    """Sign in who runs the installation, with changes allowed."""
    person = await ground.make_member("operator", "ADMIN", is_operator=True)
    async with visiting(studio) as visitor:
        await visitor.sign_in(ground, ground.alice, person)
        await visitor.submit("/mode", {"mode": "writing"})
        yield visitor


def key_of(shape: Shape, ground: Ground) -> str:
    row = ground.rows[shape.name]
    return key_address(str(as_text(row[each.name])) for each in shape.key)


@pytest.mark.parametrize("name", EDITS)
async def test_a_table_of_the_specification_is_browsed(
    operator: Visitor, ground: Ground, name: str
) -> None:
    shape = shape_of(name)
    key = key_of(shape, ground)

    grid = await operator.get(f"/tables/{name}")
    row = await operator.client.get(f"/tables/{name}/row", params={"key": key})
    found = await operator.get(f"/tables/{name}?where=id:is:{ground.rows[name]['id']}")
    file = await operator.submit(f"/tables/{name}/export", {"form": "json"})

    assert [200, 200, 200, 200] == [each.status_code for each in (grid, row, found, file)]
    assert [key] == keys_of(found)
    assert key in keys_of(grid)
    assert [each.name for each in shape.read] == list(json.loads(file.text)[0])


@pytest.mark.parametrize("name", EDITS)
async def test_a_table_of_the_specification_is_edited_where_it_may_be(
    operator: Visitor, ground: Ground, name: str
) -> None:
    shape, edit = shape_of(name), EDITS[name]
    grid = await operator.get(f"/tables/{name}")
    column, new = edit or (shape.read[-1].name, "7")
    old = as_text(ground.rows[name].get(column))
    cell = {"key": key_of(shape, ground), "column": column, "old": old, "new": new}

    answer = await operator.submit(f"/tables/{name}/save", {"edits": json.dumps([cell])})

    if edit is None:
        assert shape.why_no_update in words(answer)
        assert "data-edit" not in grid.text
        return
    assert 303 == answer.status_code, words(answer)
    kept = await ground.fetch(
        f"SELECT {column} FROM {name} WHERE id = :id", id=ground.rows[name]["id"]
    )
    assert [(new,)] == [(as_text(value),) for (value,) in kept]


async def test_rows_of_the_installation_are_its_operators(
    alices: Visitor, operator: Visitor, ground: Ground
) -> None:
    assert OPERATORS == {each.name for each in shapes() if each.is_of_installation}
    for name in sorted(OPERATORS):
        key = key_of(shape_of(name), ground)

        seen = [await each.get(f"/tables/{name}") for each in (alices, operator)]
        row = await alices.client.get(f"/tables/{name}/row", params={"key": key})
        file = await alices.submit(f"/tables/{name}/export", {"form": "csv"})

        assert [] == keys_of(seen[0])
        assert key in keys_of(seen[1])
        assert "not readable by viral_app" in words(seen[0]).lower()
        assert 404 == row.status_code
        assert "content-disposition" not in file.headers
        assert ">viral_system</span>" in seen[1].text


async def test_not_even_an_operator_reads_a_secret_table(operator: Visitor) -> None:
    closed = {each.name for each in shapes() if each.why_unreadable} - OPERATORS
    assert {"sessions", "viral.tenant_contexts", "webhook_events"} <= closed

    pages = [await operator.get(f"/tables/{name}") for name in sorted(closed)]

    assert [[]] * len(closed) == [keys_of(each) for each in pages]
