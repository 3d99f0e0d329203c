"""Rows that do not fit are left out with their reason; the others come in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from clusters import Cluster, superuser
from prisma_source import KEY, prisma_database, run_import
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.features.prisma_import.report import Report
from viral.schema.tables import METADATA

# A row like another, but for its id and the columns that follow.
_LIKE = """
CREATE FUNCTION like_row(name text, model text, new_id text, changes jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('INSERT INTO %1$I SELECT (jsonb_populate_record(t, $1)).* FROM %1$I AS t'
                 ' WHERE id = $2', name) USING changes || jsonb_build_object('id', new_id), model;
END
$$;
"""
_CONCEPT = '"title": "T", "category": "tech"'
_TWICE = '{"youtube": {"score": 1}, "youtube_shorts": {"score": 2}}'
# Table, id of a sound row, what is changed, and the reject: table, column, reason.
BROKEN = [
    ("tenants", "tenant_1", '"monthlyQuota": -1', "tenants", "monthlyQuota", "is negative"),
    ("tenants", "tenant_1", '"subscriptionStatus": "odd"', "tenants", "subscriptionStatus", "none"),
    (
        "users",
        "user_1",
        '"email": "PERSON2@example.com", "createdAt": "2026-01-01"',
        "users",
        "email",
        "has the same",
    ),
    ("users", "user_1", '"email": " "', "users", "email", "is empty"),
    ("users", "user_1", '"email": "e", "apiKey": "short"', "api_keys", "apiKey", "is too short"),
    ("generations", "generation_1", '"concepts": null', "generations", "concepts", "no JSON list"),
    ("generations", "generation_1", '"concepts": {}', "generations", "concepts", "no JSON list"),
    ("generations", "generation_1", '"date": "infinity"', "generations", "date", "is no moment"),
    ("generations", "generation_1", '"date": "0044-03-15 BC"', "generations", "date", "no moment"),
    ("generations", "generation_1", '"concepts": [7]', "concepts", "concepts", "no JSON object"),
    ("generations", "generation_1", '"concepts": [{"id": "c"}]', "concepts", "title", "is no text"),
    (
        "generations",
        "generation_1",
        f'"concepts": [{{{_CONCEPT}, "platformVirality": {{"tiktok": {{"score": 250}}}}}}]',
        "predictions",
        "platform_virality.score",
        "is not between 0 and 100",
    ),
    (
        "generations",
        "generation_1",
        f'"concepts": [{{{_CONCEPT}, "platform_virality": {_TWICE}}}]',
        "predictions",
        "platform_virality",
        "occurs twice",
    ),
    (
        "generations",
        "generation_1",
        f'"concepts": [{{{_CONCEPT}, "variants": [{{"label": "long"}}]}}]',
        "concept_variants",
        "variants.label",
        "is no letter",
    ),
    ("videos", "video_1", '"platform": "myspace"', "videos", "platform", "is no known platform"),
    ("videos", "video_1", '"generationCost": "NaN"', "videos", "generationCost", "no finite"),
    ("videos", "video_1", '"videoUrl": ""', "videos", "videoUrl", "is empty"),
    ("videos", "video_1", '"status": "odd"', "videos", "status", "is none of"),
    ("videos", "video_1", '"metadata": [1]', "videos", "metadata", "is no JSON object"),
    (
        "social_accounts",
        "account_1",
        '"username": "x", "dailyLimit": -1',
        "social_accounts",
        "dailyLimit",
        "is negative",
    ),
    (
        "social_accounts",
        "account_1",
        '"platform": "youtube-shorts"',
        "social_accounts",
        "username",
        "has the same",
    ),
    ("social_posts", "post_1", '"videoId": "none"', "social_posts", "videoId", "points to no row"),
    (
        "social_posts",
        "post_1",
        '"videoId": "video_3"',
        "social_posts",
        "videoId",
        "is another tenant's",
    ),
    ("social_posts", "post_1", '"createdAt": "2026-01-01"', "", "platformPostId", "has the same"),
    ("performance_feedback", "feedback_1", '"views": -5', "", "views", "is negative"),
    (
        "performance_feedback",
        "feedback_1",
        '"reportedAt": "2025-03-06T08:00"',
        "",
        "reportedAt",
        "has the same",
    ),
    ("performance_feedback", "feedback_1", '"reportedAt": "infinity"', "", "reportedAt", "moment"),
    ("performance_feedback", "feedback_1", '"dataSource": "guess"', "", "dataSource", "none of"),
    ("analytics_snapshots", "snapshot_1", '"videoId": "none"', "", "videoId", "points to no row"),
    ("analytics_snapshots", "snapshot_1", '"watchTime": -1', "", "watchTime", "is negative"),
    ("analytics_snapshots", "snapshot_1", '"snapshotAt": "1999-01-01"', "", "snapshotAt", "2005"),
    ("self_critiques", "critique_1", '"performanceGap": {}', "", "performanceGap.platform", "no"),
    ("self_critiques", "critique_1", '"confidenceLevel": "sure"', "", "confidenceLevel", "none"),
    ("reflexion_insights", "insight_1", '"pattern": "p", "impact": "odd"', "", "impact", "none"),
    ("scoring_adjustments", "adjustment_1", '"oldValue": "NaN"', "", "oldValue", "no finite"),
    ("job_queue", "job_1", '"tenantId": "none"', "", "tenantId", "points to no row"),
    ("job_queue", "job_1", '"attempts": -1', "", "attempts", "is negative"),
    ("job_queue", "job_1", '"maxAttempts": 0', "", "maxAttempts", "is zero"),
    ("job_queue", "job_1", '"payload": [1]', "", "payload", "is no JSON object"),
    ("system_metrics", "metric_1", '"value": "NaN"', "", "value", "is no finite number"),
    ("api_usage", "usage_1", '"tenantId": "none"', "", "tenantId", "points to no row"),
    ("api_usage", "usage_1", '"timestamp": "2999-01-01"', "", "timestamp", "in the future"),
    ("api_usage", "usage_1", '"responseTime": -1', "", "responseTime", "is negative"),
]
_ODD = f"""
INSERT INTO tenants SELECT 'namesake', name, 'PRO', 'active', NULL, NULL, 1, 1, now(), now(), now()
  FROM tenants WHERE id = 'tenant_1';
INSERT INTO tenants SELECT 'nameless', ' ', 'PRO', 'active', NULL, NULL, 1, 1, now(), now(), now();
INSERT INTO users SELECT 'of-broken', 'clerk-of-broken', 'of@broken', NULL, NULL, 'broken-0',
  'ADMIN', NULL, NULL, now(), now(), NULL;
SELECT like_row('generations', 'generation_1', 'again', '{{}}');
SELECT like_row('generations', 'generation_1', 'empty', '{{"concepts": [], "trends": null}}');
SELECT like_row('videos', 'video_1', 'of-nowhere', '{{"conceptId": "nowhere"}}');
SELECT like_row('performance_feedback', 'feedback_1', 'nowhere-1',
  '{{"conceptId": "nowhere", "conceptTitle": "Known by its result", "variantId": "none"}}');
SELECT like_row('self_critiques', 'critique_1', 'of-none', '{{"conceptId": "none"}}');
SELECT like_row('job_queue', 'job_1', 'with-key', '{{"payload": {{"key": "{KEY}000001"}}}}');
ALTER TABLE api_usage ADD extra text;
CREATE TABLE extra_table (id text);
CREATE TABLE _prisma_migrations (id text);
"""


def broken_id(number: int) -> str:
    return f"broken-{number}"


def statements() -> list[str]:
    """Make one row of each broken kind, and some that are odd but usable."""
    # JSON null stands for the value null, not for a missing one.
    rows = [
        f"SELECT like_row('{table}', '{model}', '{broken_id(number)}', '{{{_unique(table, number)}"
        f"{', ' if changes else ''}{changes}}}')"
        for number, (table, model, changes, *_) in enumerate(BROKEN)
    ]
    nulls = [
        "ALTER TABLE generations ALTER concepts DROP NOT NULL, ALTER trends DROP NOT NULL",
    ]
    return [_LIKE, *nulls, *rows, _ODD]


def _unique(table: str, number: int) -> str:
    """Give values of their own to columns that the source keeps unique."""
    own = {
        "users": f'"clerkId": "clerk-{number}", "apiKey": null',
        "reflexion_insights": f'"pattern": "pattern-{number}"',
        "tenants": '"stripeCustomerId": null',
    }
    return own.get(table, f'"id": "broken-{number}"')


@dataclass(frozen=True)
class Imported:
    """A source with broken rows that was imported, and what is to be seen of it."""

    report: Report
    admin: AsyncConnection

    async def rows(self, query: str) -> list[Any]:
        return [tuple(row) for row in (await self.admin.execute(text(query))).all()]


@pytest.fixture(scope="module")
async def imported(
    cluster: Cluster, module_database: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Imported]:
    folder: Path = tmp_path_factory.mktemp("report")
    async with prisma_database(cluster, *statements()) as url:
        dry = await run_import(cluster, module_database, url)
        report = await run_import(cluster, module_database, url, folder)
        assert dry.rejects == report.rejects
        assert dry.tables == report.tables
        async with superuser(cluster, module_database) as admin:
            yield Imported(report, admin)


@pytest.mark.parametrize("number", range(len(BROKEN)))
async def test_a_broken_row_is_named_with_its_column_and_reason(
    imported: Imported, number: int
) -> None:
    source, _, _, table, column, reason = BROKEN[number]

    found = [
        (each.table, each.column, reason in each.reason)
        for each in imported.report.rejects
        if each.id.partition(",")[0] == broken_id(number)
    ]

    assert [(table or source, column, True)] == found


async def test_nothing_else_is_rejected(imported: Imported) -> None:
    broken = {broken_id(number) for number in range(len(BROKEN))}

    others = {each for each in imported.report.rejects if each.id.partition(",")[0] not in broken}

    assert set() == others


async def test_every_source_row_is_accounted_for(imported: Imported) -> None:
    wrong = {
        table: each
        for table, each in imported.report.tables.items()
        if each.source != each.imported + each.already_there + each.rejected
    }

    assert {} == wrong


async def test_what_was_counted_is_here(imported: Imported) -> None:
    for table in METADATA.sorted_tables:
        if table.name in imported.report.tables:
            expected = imported.report.tables[table.name].imported
            assert [(expected,)] == await imported.rows(f"SELECT count(*) FROM {table}"), table


async def test_tenants_of_one_name_get_slugs_of_their_own(imported: Imported) -> None:
    slugs = {slug for (slug,) in await imported.rows("SELECT slug FROM tenants")}

    assert {"studio-1", "studio-2", "studio-3", "studio-4"} < slugs
    assert 1 == len([slug for slug in slugs if slug.startswith("studio-1-")])
    assert 1 == len([slug for slug in slugs if slug.startswith("tenant-nameless")])


async def test_a_person_whose_tenant_is_left_out_belongs_to_none(imported: Imported) -> None:
    query = """
    SELECT u.tenant_id, m.id FROM users AS u LEFT JOIN memberships AS m ON m.user_id = u.id
    WHERE u.email = 'of@broken'
    """

    assert [(None, None)] == await imported.rows(query)


async def test_a_concept_that_only_results_name_lives_on(imported: Imported) -> None:
    query = """
    SELECT c.origin, c.title, f.concept_title, f.variant_id, v.status
    FROM concepts AS c
    JOIN performance_feedback AS f ON (f.tenant_id, f.concept_id) = (c.tenant_id, c.id)
    JOIN videos AS v ON (v.tenant_id, v.concept_id) = (c.tenant_id, c.id)
    WHERE c.source_id = 'nowhere'
    """

    title = "Known by its result"
    assert [("imported", title, title, None, "completed")] == await imported.rows(query)


async def test_a_concept_id_that_occurs_again_is_replaced(imported: Imported) -> None:
    query = "SELECT count(*), count(DISTINCT id) FROM concepts WHERE title LIKE 'Concept 1 _'"

    assert [(6, 6)] == await imported.rows(query)


async def test_a_critique_may_be_of_no_concept(imported: Imported) -> None:
    query = "SELECT count(*) FROM self_critiques WHERE concept_id IS NULL"

    assert [(1,)] == await imported.rows(query)


async def test_a_key_in_a_document_is_made_unusable(imported: Imported) -> None:
    query = "SELECT payload FROM job_queue WHERE payload ? 'key'"

    assert [({"key": "vd_removed"},)] == await imported.rows(query)


async def test_what_is_mended_is_counted(imported: Imported) -> None:
    mended = imported.report.mended

    assert 1 == mended["users.tenantId: its tenant is not imported: set to null"]
    assert 1 == mended["tenants.name: was empty or longer than 200 characters"]
    assert 1 == mended["generations.trends: was no JSON list: left empty"]
    assert 1 == mended["self_critiques.conceptId: points to no row that is imported: set to null"]


async def test_what_is_beyond_the_schema_is_told(imported: Imported) -> None:
    assert ["extra_table"] == imported.report.extra_tables
    assert ["api_usage.extra"] == imported.report.extra_columns
