"""The queue's own tests, with PgBouncer in transaction mode in DATABASE_URL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from clusters import Cluster
from poolers import pooled, running_pooler

from viral.postgres.pooler import Pooler
from worker.conftest import Installation
from worker.test_loop import (
    test_a_failing_job_is_tried_again_later_and_fails_in_the_end,
    test_a_hundred_short_jobs_of_two_tenants_all_run,
    test_a_system_job_keeps_its_totals,
    test_a_worker_that_was_taken_for_dead_cannot_end_the_job,
)
from worker.test_queue import (
    test_a_delayed_job_runs_at_its_moment,
    test_a_job_waits_for_all_its_parents,
    test_a_running_job_can_be_canceled_and_its_result_is_refused,
    test_a_tenant_cancels_and_retries_only_its_own_jobs,
    test_an_effect_happens_once_over_all_attempts,
    test_jobs_without_a_transaction_are_put_in_in_one_call,
    test_no_more_jobs_of_a_tenant_run_at_once_than_its_type_allows,
    test_no_more_jobs_of_a_tenant_start_than_its_rate_allows,
    test_progress_is_seen_and_ends_an_attempt_that_lost_its_job,
    test_two_workers_at_once_keep_a_limit,
)

__all__ = [
    "test_a_delayed_job_runs_at_its_moment",
    "test_a_failing_job_is_tried_again_later_and_fails_in_the_end",
    "test_a_hundred_short_jobs_of_two_tenants_all_run",
    "test_a_job_waits_for_all_its_parents",
    "test_a_running_job_can_be_canceled_and_its_result_is_refused",
    "test_a_system_job_keeps_its_totals",
    "test_a_tenant_cancels_and_retries_only_its_own_jobs",
    "test_a_worker_that_was_taken_for_dead_cannot_end_the_job",
    "test_an_effect_happens_once_over_all_attempts",
    "test_jobs_without_a_transaction_are_put_in_in_one_call",
    "test_no_more_jobs_of_a_tenant_run_at_once_than_its_type_allows",
    "test_no_more_jobs_of_a_tenant_start_than_its_rate_allows",
    "test_progress_is_seen_and_ends_an_attempt_that_lost_its_job",
    "test_two_workers_at_once_keep_a_limit",
]


@pytest.fixture(params=["polling"])
def jobs_listen(request: pytest.FixtureRequest) -> bool:
    """Nothing can be heard through it."""
    return bool(request.param == "listening")


@pytest.fixture(scope="module")
async def pooler(cluster: Cluster) -> AsyncIterator[Pooler]:
    async with running_pooler(cluster.server) as pooler:
        yield pooler


@pytest.fixture
def installation(
    cluster: Cluster, database_name: str, installation: Installation, pooler: Pooler
) -> Installation:
    """Have the pooler before the app; a worker's own calls go past it, as DIRECT_URL says."""
    url = pooled(cluster, pooler, database_name).setting(password=True)
    settings = installation.settings.model_copy(update={"database_url": url})
    return replace(installation, settings=settings)
