"""What the database refuses by itself, and what goes when a tenant goes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import RFC_4122

import pytest
from clusters import Cluster, superuser
from factories import Row, TestTenant, fill_every_table, insert_row, make_tenant, new_row
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.faults import sqlstate_of
from viral.schema.base import uuid7, uuid7_run
from viral.schema.security import SYSTEM
from viral.schema.tables import METADATA

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

# table, columns of an otherwise good row, the constraint that refuses it
BAD_ROWS: list[tuple[str, Row, str]] = [
    ("tenants", {"slug": "Alice"}, "ck_tenants_slug"),
    ("tenants", {"slug": "../etc"}, "ck_tenants_slug"),
    ("tenants", {"slug": "-a"}, "ck_tenants_slug"),
    ("tenants", {"slug": "a" * 64}, "ck_tenants_slug"),
    ("tenants", {"slug": "a\n"}, "ck_tenants_slug"),
    ("tenants", {"slug": "alice"}, "uq_tenants_slug"),
    ("tenants", {"name": ""}, "ck_tenants_name"),
    ("tenants", {"name": "x" * 201}, "ck_tenants_name"),
    ("tenants", {"subscription_tier": "GOLD"}, "ck_tenants_tier"),
    ("tenants", {"subscription_status": "broke"}, "ck_tenants_status"),
    ("tenants", {"monthly_quota": -1}, "ck_tenants_monthly_quota"),
    ("tenants", {"used_quota": -1}, "ck_tenants_used_quota"),
    ("users", {"email": "Alice@Example.com"}, "ck_users_email"),
    ("users", {"email": "alice@example.com"}, "uq_users_email"),
    ("memberships", {"role": "OWNER"}, "ck_memberships_role"),
    ("memberships", {}, "uq_memberships_tenant_id_user_id"),
    ("sessions", {"token_sha256": b"short"}, "ck_sessions_token_sha256"),
    ("api_keys", {"key_hmac": b"x" * 33}, "ck_api_keys_key_hmac"),
    ("quota_ledger", {"amount": 0}, "ck_quota_ledger_kind"),
    ("quota_ledger", {"amount": -1}, "ck_quota_ledger_kind"),
    ("quota_ledger", {"kind": "refund", "amount": -1}, "ck_quota_ledger_kind"),
    ("quota_ledger", {"kind": "gift"}, "ck_quota_ledger_kind"),
    ("trends", {"score": 100.5}, "ck_trends_score"),
    ("trends", {"topic": ""}, "ck_trends_topic"),
    ("concepts", {"generation_id": None}, "ck_concepts_origin"),
    ("concepts", {"origin": "imported"}, "ck_concepts_origin"),
    ("concepts", {"duration_s": -1}, "ck_concepts_duration_s"),
    ("concept_variants", {"label": "AA"}, "ck_concept_variants_label"),
    ("concept_variants", {"label": "B", "hook_source": "x"}, "ck_concept_variants_hook_source"),
    ("predictions", {"platform": "vine"}, "ck_predictions_platform"),
    ("predictions", {"platform": "youtube", "score": 101}, "ck_predictions_band"),
    ("predictions", {"platform": "youtube", "low": 2}, "ck_predictions_band"),
    ("predictions", {"platform": "youtube", "high": float("nan")}, "ck_predictions_band"),
    ("videos", {"platform": "youtube-shorts"}, "ck_videos_platform"),
    ("videos", {"status": "done"}, "ck_videos_status"),
    ("videos", {"status": "completed", "video_url": None}, "ck_videos_completed"),
    ("videos", {"generation_cost": -1}, "ck_videos_generation_cost"),
    ("social_accounts", {"token_status": "x"}, "ck_social_accounts_token_status"),
    ("social_accounts", {"used_today": -1}, "ck_social_accounts_limits"),
    ("social_posts", {"privacy": "secret"}, "ck_social_posts_privacy"),
    ("social_posts", {"status": "sent"}, "ck_social_posts_status"),
    ("performance_feedback", {"views": -1}, "ck_performance_feedback_counts"),
    ("performance_feedback", {"likes": -1}, "ck_performance_feedback_counts"),
    ("performance_feedback", {"data_source": "guess"}, "ck_performance_feedback_data_source"),
    ("analytics_snapshots", {"source": "x"}, "ck_analytics_snapshots_source"),
    ("analytics_snapshots", {"views": -1}, "ck_analytics_snapshots_counts"),
    ("analytics_snapshots", {"saves": -1}, "ck_analytics_snapshots_counts"),
    ("learner_effects", {"goal": "fame"}, "ck_learner_effects_goal"),
    ("shared_effects", {"platform": "x"}, "ck_shared_effects_platform"),
    ("model_versions", {"kind": "x"}, "ck_model_versions_kind"),
    ("self_critiques", {"confidence_level": "sure"}, "ck_self_critiques_confidence_level"),
    ("reflexion_insights", {"impact": "x"}, "ck_reflexion_insights_impact"),
    ("reflexion_insights", {"status": "x"}, "ck_reflexion_insights_status"),
    ("reflexion_insights", {"pattern_key": "x" * 201}, "ck_reflexion_insights_pattern_key"),
    ("scoring_adjustments", {"goal": "x"}, "ck_scoring_adjustments_goal"),
    ("job_queue", {"scope": "system"}, "ck_job_queue_scope_tenant"),
    ("job_queue", {"tenant_id": None}, "ck_job_queue_scope_tenant"),
    ("job_queue", {"status": "x"}, "ck_job_queue_status"),
    ("job_queue", {"max_attempts": 0}, "ck_job_queue_max_attempts"),
    ("viral.tenant_contexts", {"token_sha256": b"x"}, "ck_tenant_contexts_token_sha256"),
]


class Shared:
    """A connection whose changes each test takes back, and the rows of two tenants."""

    def __init__(self, admin: AsyncConnection, tenants: list[TestTenant]) -> None:
        self.admin = admin
        self.tenants = tenants
        self.rows: list[dict[str, Row]] = []


@pytest.fixture(scope="module")
async def shared(cluster: Cluster, module_database: str) -> AsyncIterator[Shared]:
    system = cluster.database(SYSTEM, module_database)
    tenants = [await make_tenant(system, cluster.secrets, slug=slug) for slug in ("alice", "bob")]
    await system.close()
    async with superuser(cluster, module_database) as admin:
        shared = Shared(admin, tenants)
        shared.rows = [await fill_every_table(admin, tenant) for tenant in tenants]
        yield shared


def row_for(shared: Shared, name: str) -> Row:
    return new_row(METADATA.tables[name], tenant_id=shared.tenants[0].id, parents=shared.rows[0])


@pytest.mark.parametrize(("name", "wrong", "constraint"), BAD_ROWS)
async def test_a_bad_row_is_refused_by_its_constraint(
    shared: Shared, name: str, wrong: Row, constraint: str
) -> None:
    row = row_for(shared, name) | wrong

    with pytest.raises(DBAPIError) as caught:
        await insert_row(shared.admin, METADATA.tables[name], row)
    await shared.admin.rollback()

    assert f'"{constraint}"' in str(caught.value.orig)


@pytest.mark.parametrize("count", [float("nan"), float("inf")])
async def test_a_score_is_a_number(shared: Shared, count: float) -> None:
    row = row_for(shared, "trends") | {"score": count}

    with pytest.raises(DBAPIError, match="ck_trends_score"):
        await insert_row(shared.admin, METADATA.tables["trends"], row)
    await shared.admin.rollback()


async def test_the_same_report_of_a_video_counts_once(shared: Shared) -> None:
    again = dict(shared.rows[0]["performance_feedback"]) | {"id": uuid7()}
    del again["engagement_rate"], again["is_mature"]

    with pytest.raises(DBAPIError, match="uq_performance_feedback"):
        await insert_row(shared.admin, METADATA.tables["performance_feedback"], again)
    await shared.admin.rollback()


@pytest.mark.parametrize(
    ("counts", "rate"),
    [
        ({"views": 0, "likes": 0, "shares": None, "comments": None}, 0),
        ({"views": 200, "likes": 10, "shares": None, "comments": 4}, 7),
        ({"views": 10, "likes": 3_000_000_000, "shares": 0, "comments": 0}, 30_000_000_000),
    ],
)
async def test_the_engagement_rate_is_the_databases_own(
    shared: Shared, counts: Row, rate: float
) -> None:
    row = row_for(shared, "performance_feedback") | counts

    made = await insert_row(shared.admin, METADATA.tables["performance_feedback"], row)
    await shared.admin.rollback()

    assert made["engagement_rate"] == rate


async def test_two_waiting_jobs_of_one_kind_are_one(shared: Shared) -> None:
    system = {"scope": "system", "tenant_id": None, "job_type": "tick", "dedupe_key": "now"}
    jobs = METADATA.tables["job_queue"]

    await insert_row(shared.admin, jobs, row_for(shared, "job_queue") | system)
    with pytest.raises(DBAPIError, match="uq_job_queue_dedupe_key"):
        await insert_row(shared.admin, jobs, row_for(shared, "job_queue") | system)
    await shared.admin.rollback()


async def test_a_snapshot_outside_the_partitions_is_refused(shared: Shared) -> None:
    row = row_for(shared, "analytics_snapshots") | {"snapshot_at": LONG_AGO}

    with pytest.raises(DBAPIError, match="no partition"):
        await insert_row(shared.admin, METADATA.tables["analytics_snapshots"], row)
    await shared.admin.rollback()


async def test_partitions_are_made_once_and_leave_no_gap(shared: Shared) -> None:
    made = await shared.admin.scalar(text("SELECT viral.make_partitions()"))
    for days in range(-28, 85, 7):
        at = datetime.now(UTC) + timedelta(days=days)
        row = row_for(shared, "system_metrics") | {"recorded_at": at}
        await insert_row(shared.admin, METADATA.tables["system_metrics"], row)
    await shared.admin.rollback()

    assert made == 0


async def test_a_critique_stays_while_an_adjustment_rests_on_it(shared: Shared) -> None:
    with pytest.raises(DBAPIError) as caught:
        await shared.admin.execute(text("DELETE FROM self_critiques"))
    await shared.admin.rollback()

    assert sqlstate_of(caught.value) == "23503"
    assert "scoring_adjustments" in str(caught.value.orig)


@pytest.mark.parametrize("role", ["viral_admin", "viral_auth"])
async def test_deleting_a_tenant_removes_its_rows_and_no_others(shared: Shared, role: str) -> None:
    alice, bob = shared.tenants
    owned = [t for t in METADATA.sorted_tables if "tenant_id" in t.c and t.name != "users"]

    await shared.admin.execute(text(f"SET LOCAL ROLE {role}"))
    await shared.admin.execute(text("DELETE FROM tenants WHERE id = :id"), {"id": alice.id})
    await shared.admin.execute(text("RESET ROLE"))
    left = {
        str(table): set(await shared.admin.scalars(select(table.c.tenant_id))) for table in owned
    }
    people = await shared.admin.execute(text("SELECT tenant_id FROM users"))
    first_tenants = set(people.scalars())
    await shared.admin.rollback()

    assert left == {str(table): {bob.id} for table in owned}
    assert first_tenants <= {None, bob.id}


def test_an_id_is_a_version_7_uuid_that_begins_with_the_time() -> None:
    before = time.time_ns() // 1_000_000
    ids = [uuid7() for _ in range(1000)]
    after = time.time_ns() // 1_000_000

    assert {(made.version, made.variant) for made in ids} == {(7, RFC_4122)}
    assert all(before <= made.int >> 80 <= after for made in ids)
    assert len(set(ids)) == 1000
    # 74 random bits: each is set now and then.
    assert all(any(made.int >> bit & 1 for made in ids) for bit in [*range(62), *range(64, 76)])


def test_ids_of_a_run_are_in_order_and_later_ones_are_greater() -> None:
    run = uuid7_run(500)
    time.sleep(0.002)

    assert run == sorted(run)
    assert uuid7() > run[-1]
    assert uuid7_run(0) == []
