"""Results come in once per video and day; what cannot be used is named and harms nothing else."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from factories import TestTenant
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import (
    NOW,
    add_results,
    add_trends,
    fetch,
    generate,
    learn,
    result,
    result_of,
)

from viral.database.engine import Database
from viral.features.performance.files import read_results
from viral.features.performance.imports import rows_by_tenant
from viral.schema.base import uuid7

BROKEN = [
    ("", "tiktok", "2026-01-31", "1", "", ""),
    ("x" * 201, "tiktok", "2026-01-31", "1", "", ""),
    ("a1", "", "2026-01-31", "1", "", ""),
    ("a2", "myspace", "2026-01-31", "1", "", ""),
    ("a3", "tiktok", "", "1", "", ""),
    ("a4", "tiktok", "31/01/2026", "1", "", ""),
    ("a5", "tiktok", "2027-01-01", "1", "", ""),
    ("a6", "tiktok", "1999-01-01", "1", "", ""),
    ("a7", "tiktok", "2026-01-31", "", "", ""),
    ("a8", "tiktok", "2026-01-31", "-1", "", ""),
    ("a9", "tiktok", "2026-01-31", "1.5", "", ""),
    ("b1", "tiktok", "2026-01-31", "1.2M", "", ""),
    ("b2", "tiktok", "2026-01-31", "1 234", "", ""),
    ("b3", "tiktok", "2026-01-31", "many", "", ""),
    ("b4", "tiktok", "2026-01-31", str(2**63), "", ""),
    ("b5", "tiktok", "2026-01-31", "1", "-7", ""),
    ("b6", "tiktok", "2026-01-31", "1", "", "soon"),
    ("b7", "tiktok", "2026-01-31", "1", "", "2027-01-01"),
    ("b8", "tiktok", "2026-01-31", "1", "", "2026-01-30"),
    ("b9", "tiktok", "2026-01-31", "1"),
    ("c1", "tiktok", "2026-01-31", "1", "", "", "more"),
    ("good", "tiktok", "2026-01-31", "9", "", ""),
]


async def test_a_second_import_changes_nothing(
    app: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    rows = [result("v1"), result("v2"), result("v1", platform="youtube")]
    first = await add_results(app, alice.id, rows)
    before = await fetch(admin, "SELECT * FROM performance_feedback ORDER BY id")

    second = await add_results(app, alice.id, [*rows, result("v1", views=1)])

    assert (first.stored, first.known) == (3, 0)
    assert (second.stored, second.known) == (0, 4)
    assert await fetch(admin, "SELECT * FROM performance_feedback ORDER BY id") == before
    assert await fetch(admin, "SELECT count(*) FROM concepts") == [(3,)]


async def test_two_tenants_may_report_one_video(
    app: Database, alice: TestTenant, bob: TestTenant
) -> None:
    await add_results(app, alice.id, [result("v1")])

    assert (await add_results(app, bob.id, [result("v1")])).stored == 1


async def test_another_days_reading_is_kept_but_not_learnt_again(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_results(app, alice.id, [result("v1"), result("v1", days=3, views=9_000)])
    first = await learn(app, system)

    await add_results(app, alice.id, [result("v1", days=9, views=90_000)])
    second = await learn(app, system)

    assert (first.results, second.results) == (1, 0)
    readings = "SELECT views, applied_no FROM performance_feedback ORDER BY observed_on"
    assert await fetch(admin, readings) == [(6_000, 1), (9_000, None), (90_000, None)]
    assert await fetch(admin, "SELECT count(*) FROM concepts") == [(1,)]


async def test_a_row_that_names_a_concept_belongs_to_it(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_trends(system)
    (concept,) = await generate(app, alice.id, 1)

    await add_results(app, alice.id, [result_of(concept, views=10, likes=1)])
    # A later reading need not name it again.
    await add_results(app, alice.id, [result(f"post-{concept.id}", days=5)])

    owners = await fetch(admin, "SELECT concept_id FROM performance_feedback")
    assert owners == [(concept.id,), (concept.id,)]


async def test_anothers_concept_is_rejected_like_one_that_does_not_exist(
    app: Database, system: Database, alice: TestTenant, bob: TestTenant
) -> None:
    await add_trends(system)
    (concept,) = await generate(app, alice.id, 1)

    report = await add_results(
        app,
        bob.id,
        [
            result("v1", concept_id=concept.id, line=2),
            result("v2", concept_id=uuid7(), line=3),
            result("v3", line=4),
        ],
    )

    assert report.stored == 1
    anothers, random = report.rejects
    assert (anothers.line, random.line) == (2, 3)
    assert (anothers.column, anothers.reason) == (random.column, random.reason)


async def test_imported_concepts_are_marked_and_have_no_prediction(
    app: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_results(app, alice.id, [result("v1", title="Made elsewhere", tags=("a", "b"))])

    assert await fetch(
        admin,
        "SELECT origin, source_platform, source_id, title, hashtags, hook, generation_id"
        " FROM concepts",
    ) == [("imported", "tiktok", "v1", "Made elsewhere", ["a", "b"], "", None)]
    assert await fetch(admin, "SELECT count(*) FROM predictions") == [(0,)]


async def test_the_kinds_of_broken_rows_are_named_and_the_good_ones_are_in(
    app: Database, alice: TestTenant, admin: AsyncConnection, tmp_path: Path
) -> None:
    file = tmp_path / "results.csv"
    header = "id,platform,published_at,views,likes,observed_on"
    file.write_text("\n".join([header, *(",".join(row) for row in BROKEN)]) + "\n")

    found = read_results(file, today=date(2026, 3, 1))
    report = await add_results(app, alice.id, found.rows)

    assert [reject.line for reject in found.rejects] == list(range(2, len(BROKEN) + 1))
    assert len({(each.column, each.reason) for each in found.rejects}) >= 20
    assert report.stored == 1
    stored = "SELECT external_id, views FROM performance_feedback"
    assert await fetch(admin, stored) == [("good", 9)]


def test_slugs_that_cannot_be_used_are_rejected_and_not_merged() -> None:
    rows = [
        result("v1", tenant="anna", line=2),
        result("v2", tenant="Anna", line=3),
        result("v3", tenant=" anna", line=4),
        result("v4", tenant=None, line=5),
        result("v5", tenant="an/na", line=6),
        result("v6", tenant="a" * 64, line=7),
        result("v7", tenant="ånna", line=8),
        result("v8", tenant="anna_2-b", line=9),
    ]

    groups, rejects = rows_by_tenant(rows)

    assert {slug: [row.external_id for row in group] for slug, group in groups.items()} == {
        "anna": ["v1"],
        "anna_2-b": ["v8"],
    }
    assert [reject.line for reject in rejects] == [3, 4, 5, 6, 7, 8]
    assert {reject.column for reject in rejects} == {"tenant"}


async def test_more_rows_than_a_statement_has_parameters_are_stored(
    app: Database, alice: TestTenant
) -> None:
    rows = [result(f"v{number}", published_at=NOW) for number in range(33_000)]

    report = await add_results(app, alice.id, rows)

    assert report.stored == 33_000
