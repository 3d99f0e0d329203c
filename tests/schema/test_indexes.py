"""The five indexes that the specification names serve their queries, under row security."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import pytest
from clusters import Cluster, superuser
from factories import Row, TestTenant, fill_every_table, make_tenant
from sqlalchemy import Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.schema.security import APP, SYSTEM
from viral.schema.tables import METADATA

ROWS = 3_000
# What differs from row to row; every other column is that of the filler's row.
VARIED = {
    "quota_ledger": {"id": "md5(tenant_id || 'q' || n)::uuid"},
    "generations": {
        "id": "gen_random_uuid()",
        "reservation_id": "md5(tenant_id || 'q' || n)::uuid",
        "date": "now() - n * interval '1 hour'",
    },
    "concepts": {"id": "md5(tenant_id || 'c' || n)::uuid"},
    "videos": {
        "id": "gen_random_uuid()",
        "concept_id": "md5(tenant_id || 'c' || n % 300 + 1)::uuid",
        "provider_job_id": "n::text",
    },
    "social_posts": {
        "id": "gen_random_uuid()",
        "idempotency_key": "n::text",
        "platform_post_id": "n::text",
        "platform": "(ARRAY['tiktok', 'youtube', 'instagram'])[n % 3 + 1]",
        "posted_at": "now() - n * interval '1 minute'",
    },
    "self_critiques": {
        "id": "gen_random_uuid()",
        "critic": "n::text",
        "confidence_level": "CASE WHEN n % 50 = 0 THEN 'high' ELSE 'low' END",
    },
}


@dataclass(frozen=True)
class Crowded:
    """A database with many rows of three tenants."""

    name: str
    tenant: TestTenant
    rows: dict[str, Row]


async def multiply(admin: AsyncConnection, table: Table, tenant_id: UUID) -> None:
    """Copy the tenant's row many times, with the varied columns anew."""
    varied = VARIED[table.name]
    names = [column.name for column in table.columns if column.computed is None]
    values = ", ".join(varied.get(name, name) for name in names)
    await admin.execute(
        text(
            f"INSERT INTO {table} ({', '.join(names)})"
            f" SELECT {values} FROM (SELECT * FROM {table} WHERE tenant_id = :tenant LIMIT 1) AS t,"
            f" generate_series(1, {ROWS}) AS n"
        ),
        {"tenant": tenant_id},
    )


@pytest.fixture(scope="module")
async def crowded(cluster: Cluster, module_database: str) -> Crowded:
    system = cluster.database(SYSTEM, module_database)
    tenants = [
        await make_tenant(system, cluster.secrets, slug=slug) for slug in ("alice", "bob", "carol")
    ]
    await system.close()
    async with superuser(cluster, module_database) as admin:
        rows = {tenant.id: await fill_every_table(admin, tenant) for tenant in tenants}
        for name in VARIED:
            for tenant in tenants:
                await multiply(admin, METADATA.tables[name], tenant.id)
        await admin.execute(
            text(
                "INSERT INTO users (id, clerk_id, email)"
                " SELECT gen_random_uuid(), 'clerk_' || n, n || '@example.com'"
                f" FROM generate_series(1, {ROWS}) AS n"
            )
        )
        await admin.commit()
        await admin.execute(text("ANALYZE"))
        await admin.commit()
    return Crowded(module_database, tenants[0], rows[tenants[0].id])


def nodes(plan: dict[str, object]) -> Iterator[dict[str, object]]:
    yield plan
    children = plan.get("Plans", [])
    assert isinstance(children, list)
    for child in children:
        yield from nodes(child)


async def plan_of(
    connection: asyncpg.Connection[asyncpg.Record], sql: str
) -> list[dict[str, object]]:
    found = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) {sql}"))
    return list(nodes(found[0]["Plan"]))


@pytest.mark.parametrize(
    ("role", "index", "sql"),
    [
        (SYSTEM, "uq_users_clerk_id", "SELECT id FROM users WHERE clerk_id = 'clerk_7'"),
        (
            APP,
            "ix_generations_tenant_id_date",
            "SELECT id FROM generations WHERE tenant_id = '{tenant}' ORDER BY date DESC LIMIT 20",
        ),
        (
            APP,
            "ix_generations_tenant_id_date",
            "SELECT id FROM generations WHERE date > now() - interval '1 day' ORDER BY date DESC",
        ),
        (
            APP,
            "ix_videos_tenant_id_concept_id",
            "SELECT * FROM videos WHERE tenant_id = '{tenant}' AND concept_id = '{concept}'",
        ),
        (
            APP,
            "ix_videos_tenant_id_concept_id",
            "SELECT * FROM videos WHERE concept_id = '{concept}'",
        ),
        (
            APP,
            "ix_social_posts_tenant_id_platform_posted_at",
            (
                "SELECT id FROM social_posts WHERE tenant_id = '{tenant}' AND platform = 'tiktok'"
                " AND posted_at > now() - interval '1 hour' ORDER BY posted_at DESC"
            ),
        ),
        (
            APP,
            "ix_self_critiques_tenant_id_confidence_level",
            (
                "SELECT * FROM self_critiques WHERE tenant_id = '{tenant}'"
                " AND confidence_level = 'high'"
            ),
        ),
    ],
)
async def test_the_query_uses_the_index_under_row_security(
    cluster: Cluster, crowded: Crowded, role: str, index: str, sql: str
) -> None:
    connection = await cluster.connect(role, crowded.name)
    async with connection.transaction():
        await connection.execute(f"SET LOCAL app.tenant = '{cluster.token(crowded.tenant.id)}'")
        plan = await plan_of(
            connection,
            sql.format(tenant=crowded.tenant.id, concept=crowded.rows["concepts"]["id"]),
        )
    await connection.close()

    # Bitmap and plain index scans alike name the index; the context is looked up by its key.
    assert index in {node.get("Index Name") for node in plan}
    assert "Seq Scan" not in {node["Node Type"] for node in plan}
    assert "Sort" not in {node["Node Type"] for node in plan}
