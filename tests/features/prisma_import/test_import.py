"""A sound database of the former schema comes in whole: counts, references, values, secrets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hmac import digest
from pathlib import Path
from typing import Any

import pytest
from clusters import Cluster, superuser
from prisma_source import KEY, all_rows, prisma_database, run_import
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.catalog import differences, read_catalog
from viral.features.prisma_import.report import Report

TENANTS, GENERATIONS = 6, 60
# What the source has of each table; the last six live in other rows there.
EXPECTED = {
    "tenants": TENANTS,
    "users": 2 * TENANTS,
    "generations": GENERATIONS,
    "videos": GENERATIONS // 2,
    "social_accounts": 3 * TENANTS,
    "social_posts": GENERATIONS // 2,
    "performance_feedback": GENERATIONS,
    "analytics_snapshots": 2 * GENERATIONS,
    "self_critiques": GENERATIONS // 5,
    "reflexion_insights": GENERATIONS // 10,
    "scoring_adjustments": GENERATIONS // 10,
    "job_queue": GENERATIONS // 4,
    "system_metrics": GENERATIONS // 5,
    "api_usage": GENERATIONS,
    "memberships": 2 * TENANTS,
    "api_keys": TENANTS,
    "quota_ledger": GENERATIONS,
    "concepts": 3 * GENERATIONS,
    "concept_variants": 2 * GENERATIONS,
    "predictions": 6 * GENERATIONS,
}
FILES = {"audio_trends": 3, "competitor_videos": 3}


@dataclass(frozen=True)
class Imported:
    """A source that was imported once, and what is to be seen of it."""

    url: str
    database: str
    folder: Path
    admin: AsyncConnection
    report: Report

    async def rows(self, query: str, **values: object) -> list[Any]:
        return list((await self.admin.execute(text(query), values)).all())


@pytest.fixture(scope="module")
async def imported(
    cluster: Cluster, module_database: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Imported]:
    folder = tmp_path_factory.mktemp("report")
    async with prisma_database(cluster, tenants=TENANTS, generations=GENERATIONS) as url:
        report = await run_import(cluster, module_database, url, folder)
        report.write(folder)
        async with superuser(cluster, module_database) as admin:
            yield Imported(url, module_database, folder, admin, report)


async def test_every_row_of_the_source_is_here(imported: Imported) -> None:
    counts = {table: (each.source, each.imported) for table, each in imported.report.tables.items()}

    assert {table: (n, n) for table, n in (EXPECTED | FILES).items()} == counts
    for table, expected in EXPECTED.items():
        assert [(expected,)] == await imported.rows(f"SELECT count(*) FROM {table}"), table


async def test_nothing_is_rejected_of_a_sound_source(imported: Imported) -> None:
    assert [] == imported.report.rejects
    assert "" == (imported.folder / "rejects.jsonl").read_text()


async def test_a_second_run_changes_nothing(
    cluster: Cluster, imported: Imported, tmp_path: Path
) -> None:
    await imported.admin.rollback()
    before = await all_rows(imported.admin, versions=True)
    await imported.admin.rollback()

    report = await run_import(cluster, imported.database, imported.url, tmp_path)

    assert before == await all_rows(imported.admin, versions=True)
    assert 0 == report.rows
    assert EXPECTED == {
        table: each.already_there for table, each in report.tables.items() if table not in FILES
    }


async def test_a_dry_run_counts_the_same_and_writes_nothing(
    cluster: Cluster, imported: Imported, database_name: str, admin: AsyncConnection
) -> None:
    empty = await all_rows(admin, versions=True)
    await admin.rollback()

    report = await run_import(cluster, database_name, imported.url)

    assert empty == await all_rows(admin, versions=True)
    assert report.tables == imported.report.tables
    assert report.mended == imported.report.mended


async def test_the_schema_is_as_the_models_say_afterwards(
    imported: Imported, admin: AsyncConnection
) -> None:
    await admin.execute(text("SELECT viral.make_partitions()"))
    await imported.admin.execute(text("SELECT viral.make_partitions()"))

    assert [] == differences(await read_catalog(admin), await read_catalog(imported.admin))


async def test_rows_keep_their_tenant(imported: Imported) -> None:
    for table in ("generations", "videos", "social_accounts", "social_posts", "api_usage"):
        wrong = await imported.rows(
            f"SELECT DISTINCT t.name, count(*) FROM {table} AS x JOIN tenants AS t"
            " ON t.id = x.tenant_id GROUP BY t.name"
        )
        assert {EXPECTED[table] // TENANTS} == {number for _, number in wrong}, table


async def test_references_lead_to_the_rows_they_led_to(imported: Imported) -> None:
    query = """
    SELECT count(*) FROM social_posts AS p
    JOIN videos AS v ON (v.tenant_id, v.id) = (p.tenant_id, p.video_id)
    JOIN concepts AS c ON (c.tenant_id, c.id) = (v.tenant_id, v.concept_id)
    JOIN generations AS g ON (g.tenant_id, g.id) = (c.tenant_id, c.generation_id)
    WHERE v.video_url = replace(p.post_url, 'post', 'cdn')
      AND c.prompts ->> 'sora' = 'sora ' || split_part(p.post_url, '/', 4)
      AND c.title = 'Concept ' || split_part(p.post_url, '/', 4) || ' 0'
    """
    feedback = """
    SELECT count(*) FROM performance_feedback AS f
    JOIN concepts AS c ON (c.tenant_id, c.id) = (f.tenant_id, f.concept_id)
    WHERE c.title = f.concept_title || ' 0' AND (f.variant_id IS NULL) = (f.views % 2 = 1)
    """
    critiques = """
    SELECT count(*) FROM self_critiques
    WHERE performance_gap ->> 'concept_id' = concept_id::text AND performance_gap ? 'low'
    """

    assert [(GENERATIONS // 2,)] == await imported.rows(query)
    assert [(GENERATIONS,)] == await imported.rows(feedback)
    assert [(GENERATIONS // 5,)] == await imported.rows(critiques)


async def test_a_uuid_is_kept_and_another_id_is_replaced(imported: Imported) -> None:
    query = "SELECT id::text FROM users WHERE clerk_id = :name"

    kept = await imported.rows(query, name="clerk_2")
    replaced = await imported.rows(query, name="clerk_1")

    assert await imported.rows("SELECT md5('user2')::uuid::text") == kept
    assert 5 == int(replaced[0][0][14])


async def test_a_concept_has_its_columns_and_the_rest_is_kept(imported: Imported) -> None:
    query = """
    SELECT c.title, c.category, c.hook, c.caption, c.hashtags, c.duration_s, c.why_it_works,
           c.prompts, c.script -> 1 AS scene, c.post_at::text AS post_at,
           c.trend ->> 'topic' AS topic,
           g.settings -> 'imported' -> c.id::text -> 'monetization' AS rest, c.created_at = g.date,
           g.is_favorite, g.settings -> 'imported' -> c.id::text ? 'title'
    FROM concepts AS c JOIN generations AS g ON (g.tenant_id, g.id) = (c.tenant_id, c.generation_id)
    WHERE c.title = 'Concept 10 1'
    """

    [row] = await imported.rows(query)

    assert (
        "Concept 10 1",
        "tech",
        "Wait for it",
        "Look at this",
        ["a", "b"],
        12,
        "Because.",
        {"sora": "sora 10", "veo": "veo 10"},
        {"start_s": 3, "end_s": 12, "visual": "B", "camera": "close", "on_screen_text": ""},
        "2025-03-01 18:30:00+00",
        "Topic 10",
        {"score": 4},
        True,
        True,
        False,
    ) == tuple(row)


async def test_the_former_scores_are_predictions_of_a_former_model(imported: Imported) -> None:
    query = """
    SELECT p.platform, p.score, p.low, p.high, p.model_version FROM predictions AS p
    JOIN concepts AS c ON (c.tenant_id, c.id) = (p.tenant_id, p.concept_id)
    WHERE c.title = 'Concept 50 2' ORDER BY p.platform
    """

    found = await imported.rows(query)

    assert [("tiktok", 50, 40, 60, -1), ("youtube", 55.5, 44.4, 66.6, -1)] == found


async def test_feedback_is_published_when_its_video_was_posted(imported: Imported) -> None:
    query = """
    SELECT count(*) FILTER (WHERE f.published_at = p.posted_at), count(*) FROM social_posts AS p
    JOIN videos AS v ON (v.tenant_id, v.id) = (p.tenant_id, p.video_id)
    JOIN performance_feedback AS f ON (f.tenant_id, f.concept_id) = (v.tenant_id, v.concept_id)
      AND f.platform = p.platform
    """

    assert [(GENERATIONS // 2, GENERATIONS // 2)] == await imported.rows(query)


async def test_a_key_still_opens_and_can_be_read_nowhere(
    cluster: Cluster, imported: Imported
) -> None:
    plain = f"{KEY}000002"

    found = await imported.rows(
        "SELECT count(*) FROM api_keys AS k JOIN users AS u ON u.id = k.user_id"
        " WHERE u.clerk_id = 'clerk_2' AND k.key_hmac = :hmac AND k.prefix = 'vd_kkkkk'",
        hmac=digest(cluster.secrets.pepper, plain.encode(), "sha256"),
    )
    everything = json.dumps(await all_rows(imported.admin))
    files = "".join(path.read_text() for path in imported.folder.iterdir())

    assert [(1,)] == found
    for secret in (KEY, "secret-token", "secret-refresh", "prisma:prisma"):
        assert secret not in everything + files


async def test_usage_names_the_key_by_its_id(imported: Imported) -> None:
    query = """
    SELECT count(*) FROM api_usage AS x JOIN api_keys AS k ON k.id = x.api_key_id
    WHERE k.tenant_id = x.tenant_id AND k.user_id = x.user_id AND x.endpoint = '/api/v1/x'
    """

    assert [(TENANTS,)] == await imported.rows(query)


async def test_nothing_that_waited_there_starts_here(imported: Imported) -> None:
    for table in ("videos", "social_posts", "job_queue"):
        states = {state for (state,) in await imported.rows(f"SELECT status FROM {table}")}
        assert states <= {"completed", "posted", "failed", "canceled"}
        assert "canceled" in states
    assert [("expired",)] == await imported.rows(
        "SELECT DISTINCT token_status FROM social_accounts"
    )


async def test_json_that_is_missing_is_null_and_not_the_json_null(imported: Imported) -> None:
    query = """
    SELECT count(*) FILTER (WHERE metadata IS NULL), count(*) FILTER (WHERE metadata = 'null')
    FROM videos
    """

    assert [(GENERATIONS // 4, 0)] == await imported.rows(query)


async def test_tables_without_a_place_here_are_lines_in_files(imported: Imported) -> None:
    for table, expected in FILES.items():
        lines = (imported.folder / f"{table}.jsonl").read_text().splitlines()
        assert expected == len(lines)
        assert json.loads(lines[0])["platform"] == "tiktok"


async def test_the_report_is_a_file(imported: Imported) -> None:
    document = json.loads((imported.folder / "report.json").read_text())

    assert EXPECTED["concepts"] == document["tables"]["concepts"]["imported"]
    assert imported.report.document == document
    assert "analytics_snapshots_202503" in document["partitions"]


async def test_the_app_sees_a_tenant_and_its_rows(cluster: Cluster, imported: Imported) -> None:
    [(tenant_id,)] = await imported.rows("SELECT id FROM tenants WHERE slug = 'studio-2'")
    app = cluster.database("viral_app", imported.database)

    async with app.tenant_session(tenant_id) as session:
        seen = await session.scalar(text("SELECT count(*) FROM concepts"))
    await app.close()

    assert EXPECTED["concepts"] // TENANTS == seen
