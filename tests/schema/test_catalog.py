"""The judge notices every change made past the migrations, and names that object alone."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from clusters import Cluster, superuser
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.catalog import Difference, differences, read_catalog

CHANGES = [
    ("table public.videos", "ALTER TABLE videos DISABLE ROW LEVEL SECURITY"),
    ("table public.videos", "ALTER TABLE videos NO FORCE ROW LEVEL SECURITY"),
    ("table public.videos", "ALTER TABLE videos OWNER TO viral_backup"),
    ("table public.trends", "ALTER TABLE trends SET UNLOGGED"),
    ("table public.trends", "ALTER TABLE trends SET (fillfactor = 50)"),
    ("policy public.videos.extra", "CREATE POLICY extra ON videos TO viral_app USING (true)"),
    ("policy public.videos.tenant_only", "ALTER POLICY tenant_only ON videos USING (true)"),
    ("policy public.videos.tenant_only", "ALTER POLICY tenant_only ON videos TO PUBLIC"),
    ("policy public.videos.tenant_only", "DROP POLICY tenant_only ON videos"),
    ("grant table public.videos to PUBLIC", "GRANT SELECT ON videos TO PUBLIC"),
    ("grant table public.videos to viral_readonly", "GRANT DELETE ON videos TO viral_readonly"),
    (
        "grant table public.videos to viral_app",
        "GRANT SELECT ON videos TO viral_app WITH GRANT OPTION",
    ),
    (
        "grant column public.users.password_hash to viral_app",
        "GRANT SELECT (password_hash) ON users TO viral_app",
    ),
    (
        "grant function viral.take_quota(uuid,integer,uuid) to PUBLIC",
        "GRANT EXECUTE ON FUNCTION viral.take_quota TO PUBLIC",
    ),
    ("grant schema viral to PUBLIC", "GRANT USAGE ON SCHEMA viral TO PUBLIC"),
    (
        "grant default of viral_admin in public for r to viral_app",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO viral_app",
    ),
    (
        "constraint public.videos.ck_videos_status",
        (
            "ALTER TABLE videos DROP CONSTRAINT ck_videos_status,"
            " ADD CONSTRAINT ck_videos_status CHECK (status <> '')"
        ),
    ),
    (
        "constraint public.videos.ck_videos_generation_cost",
        (
            "ALTER TABLE videos DROP CONSTRAINT ck_videos_generation_cost,"
            " ADD CONSTRAINT ck_videos_generation_cost CHECK (generation_cost >= 0) NOT VALID"
        ),
    ),
    (
        "constraint public.memberships.fk_memberships_user_id",
        (
            "ALTER TABLE memberships DROP CONSTRAINT fk_memberships_user_id,"
            " ADD CONSTRAINT fk_memberships_user_id FOREIGN KEY (user_id) REFERENCES users (id)"
            " ON DELETE CASCADE"
        ),
    ),
    (
        "index ix_job_queue_running",
        (
            "DROP INDEX ix_job_queue_running;"
            "CREATE INDEX ix_job_queue_running ON job_queue (worker_id) WHERE status <> 'pending'"
        ),
    ),
    ("index ix_videos_tenant_id_status", "DROP INDEX ix_videos_tenant_id_status"),
    (
        "index ix_videos_tenant_id_status",
        (
            "UPDATE pg_index SET indisvalid = false"
            " WHERE indexrelid = 'ix_videos_tenant_id_status'::regclass"
        ),
    ),
    (
        "column public.tenants.monthly_quota",
        "ALTER TABLE tenants ALTER COLUMN monthly_quota SET DEFAULT 1000",
    ),
    ("column public.videos.model", "ALTER TABLE videos ALTER COLUMN model SET NOT NULL"),
    ("column public.videos.model", "ALTER TABLE videos ALTER COLUMN model TYPE varchar(10)"),
    ("column public.videos.extra", "ALTER TABLE videos ADD COLUMN extra text"),
    (
        "function viral.tenant_id()",
        "ALTER FUNCTION viral.tenant_id() SET search_path = public",
    ),
    ("function viral.tenant_id()", "ALTER FUNCTION viral.tenant_id() OWNER TO viral_backup"),
    (
        "function viral.heartbeat(uuid)",
        "ALTER FUNCTION viral.heartbeat(uuid) SECURITY INVOKER",
    ),
    (
        "trigger public.videos.watch",
        (
            "CREATE TRIGGER watch BEFORE UPDATE ON videos FOR EACH ROW"
            " EXECUTE FUNCTION suppress_redundant_updates_trigger()"
        ),
    ),
    (
        "references of public.webhook_events",
        "ALTER TABLE webhook_events DISABLE TRIGGER ALL",
    ),
    ("rule public.trends.nothing", "CREATE RULE nothing AS ON DELETE TO trends DO NOTHING"),
    ("view public.everything", "CREATE VIEW everything AS SELECT 1 AS one"),
    ("sequence public.numbers", "CREATE SEQUENCE numbers"),
    ("comment on public.videos", "COMMENT ON TABLE videos IS 'films'"),
    ("comment on public.users.tenant_id", "COMMENT ON COLUMN users.tenant_id IS 'first'"),
    ("partition {partition}", "GRANT SELECT ON {partition} TO viral_app"),
    ("partition {partition}", "ALTER TABLE {partition} NO FORCE ROW LEVEL SECURITY"),
    ("partition {partition}", "GRANT SELECT (id) ON {partition} TO viral_app"),
]


@pytest.fixture(scope="module")
async def shared(cluster: Cluster, module_database: str) -> AsyncIterator[AsyncConnection]:
    """Open a database whose changes each test takes back."""
    async with superuser(cluster, module_database) as connection:
        await connection.execute(text("SELECT viral.make_partitions()"))
        await connection.commit()
        yield connection


@pytest.mark.parametrize(("changed", "sql"), CHANGES, ids=[change for _, change in CHANGES])
async def test_a_change_past_the_migrations_is_named(
    shared: AsyncConnection, changed: str, sql: str
) -> None:
    partition = await shared.scalar(
        text("SELECT min(oid::regclass::text) FROM pg_class WHERE relispartition AND relkind = 'r'")
    )
    expected = await read_catalog(shared)

    for statement in sql.format(partition=partition).split(";"):
        await shared.execute(text(statement))
    found = differences(expected, await read_catalog(shared))
    await shared.rollback()

    assert [difference.object for difference in found] == [changed.format(partition=partition)]
    assert changed.format(partition=partition) in str(found[0])


async def test_nothing_differs_where_nothing_was_changed(shared: AsyncConnection) -> None:
    first = await read_catalog(shared)
    await shared.execute(text("SET LOCAL search_path = pg_catalog, viral"))
    second = await read_catalog(shared)
    await shared.rollback()

    assert differences(first, second) == []


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (Difference("table t", "a", None), "table t: missing (a)"),
        (Difference("table t", None, "b"), "table t: unexpected (b)"),
        (Difference("table t", "a\n  b", "c"), "table t: is c; should be a b"),
    ],
)
def test_a_difference_says_what_is_and_what_should_be(difference: Difference, said: str) -> None:
    assert str(difference) == said
