"""Plans of typed texts: estimated, measured, and read from what EXPLAIN writes."""

from __future__ import annotations

import json

import pytest

from studio_console.conftest import Ground
from viral.database.console.answers import Refusal
from viral.database.console.plan import Plan, explain, plan_of
from viral.database.console.sessions import Bounds

LOOPED = [
    {
        "Plan": {
            "Node Type": "Nested Loop",
            "Join Type": "Left",
            "Plan Rows": 10,
            "Actual Rows": 10,
            "Actual Loops": 1,
            "Actual Total Time": 10.0,
            "Plans": [
                {
                    "Node Type": "Seq Scan",
                    "Relation Name": "concepts",
                    "Alias": "c",
                    "Filter": "(score > 3)",
                    "Rows Removed by Filter": 90,
                    "Plan Rows": 1,
                    "Actual Rows": 10,
                    "Actual Loops": 1,
                    "Actual Total Time": 1.0,
                },
                {
                    "Node Type": "Index Scan",
                    "Index Name": "videos_pkey",
                    "Relation Name": "videos",
                    "Alias": "videos",
                    "Plan Rows": 1,
                    "Actual Rows": 1,
                    "Actual Loops": 10,
                    "Actual Total Time": 0.8,
                },
            ],
        },
        "Planning Time": 0.2,
        "Execution Time": 10.5,
    }
]


async def plan(
    ground: Ground, text: str, *, is_measured: bool, writes: bool = False
) -> Plan | Refusal:
    return await explain(
        ground.places,
        text,
        tenant_id=ground.tenant_id,
        bounds=Bounds(seconds=5),
        is_measured=is_measured,
        writes=writes,
    )


def test_a_step_has_the_time_of_all_its_loops() -> None:
    found = plan_of(json.dumps(LOOPED), is_measured=True)

    outer, scan, index = (step for _, step in found.root.walk())
    assert [10.0, 1.0, 8.0] == [outer.weight, scan.weight, index.weight]
    assert [1.0, 1.0, 8.0] == [outer.own, scan.own, index.own]
    assert (index, 0.8) == (found.heaviest, found.share(index))


def test_rows_are_counted_over_all_loops() -> None:
    found = plan_of(json.dumps(LOOPED), is_measured=True)

    _, scan, index = (step for _, step in found.root.walk())
    assert [(1, 10, 10.0), (10, 10, 1.0)] == [
        (each.estimated, each.actual, each.times_off) for each in (scan, index)
    ]


def test_a_step_is_named_as_postgresql_names_it() -> None:
    found = plan_of(json.dumps(LOOPED), is_measured=True)

    assert [
        "Nested Loop Left Join",
        "Seq Scan on concepts c",
        "Index Scan using videos_pkey on videos",
    ] == [step.title for _, step in found.root.walk()]
    assert (("Filter", "(score > 3)"),) == found.root.children[0].conditions


@pytest.mark.parametrize(
    ("name", "said"),
    [("InitPlan 1", "(tenant_id = (InitPlan 1).col1)"), ("InitPlan 1 (returns $0)", "(id = $0)")],
)
def test_what_is_worked_out_once_counts_where_it_is_asked_for(name: str, said: str) -> None:
    scan = {"Node Type": "Seq Scan", "Filter": said, "Plan Rows": 1, "Actual Rows": 1}
    once = {"Node Type": "Result", "Parent Relationship": "InitPlan", "Subplan Name": name}
    timed = [{**each, "Actual Loops": 1} for each in (once, scan)]
    timed[0]["Actual Total Time"], timed[1]["Actual Total Time"] = 7.0, 8.0
    root = {"Node Type": "Sort", "Actual Loops": 1, "Actual Total Time": 9.0, "Plans": timed}

    found = plan_of(json.dumps([{"Plan": root}]), is_measured=True)

    assert [("Sort", 1.0), ("Seq Scan", 1.0), (f"{name}: Result", 7.0)] == [
        (step.title, step.own) for _, step in found.root.walk()
    ]


async def test_the_parts_of_a_common_table_count_where_it_is_read(ground: Ground) -> None:
    text = "WITH c AS MATERIALIZED (SELECT slug FROM tenants) SELECT count(*) FROM c"

    found = await plan(ground, text, is_measured=True)

    assert isinstance(found, Plan)
    (scan,) = found.root.children
    assert ("CTE Scan on c", "CTE c: ") == (scan.title, scan.children[0].title[:7])


async def test_a_text_is_planned_without_being_run(ground: Ground) -> None:
    found = await plan(ground, "SELECT pg_sleep(30) FROM tenants", is_measured=False)

    assert isinstance(found, Plan)
    assert (False, None) == (found.is_measured, found.root.actual)


async def test_a_text_is_measured(ground: Ground) -> None:
    found = await plan(ground, "SELECT slug FROM tenants -- one", is_measured=True)

    assert isinstance(found, Plan)
    assert (True, 1) == (found.is_measured, found.root.actual)
    assert found.execution_ms


async def test_measuring_a_write_keeps_nothing(ground: Ground) -> None:
    text = "UPDATE tenants SET name = 'Measured'"

    found = await plan(ground, text, is_measured=True, writes=True)
    looked = await plan(ground, "SELECT 1 FROM tenants WHERE name = 'Measured'", is_measured=True)

    assert isinstance(found, Plan)
    assert isinstance(looked, Plan)
    assert ("Update on tenants", 0) == (found.root.title, looked.root.actual)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("DELETE FROM concepts", "25006"),
        ("EXPLAIN SELECT 1", "42601"),
        ("SELECT 1; SELECT 2", "42601"),
        ("(ANALYZE) DELETE FROM concepts", "42601"),
        ("VACUUM", "42601"),
    ],
)
async def test_what_cannot_be_measured_is_refused(ground: Ground, text: str, state: str) -> None:
    found = await plan(ground, text, is_measured=True)

    assert isinstance(found, Refusal)
    assert state == found.sqlstate


async def test_an_error_is_placed_in_the_text_that_was_typed(ground: Ground) -> None:
    found = await plan(ground, "SELECT frm", is_measured=False)

    assert isinstance(found, Refusal)
    assert 7 == found.position
