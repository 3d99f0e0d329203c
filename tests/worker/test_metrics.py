"""The queue in figures: for Prometheus, for the table of metrics, and in the worker's log."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
import structlog
from clusters import Cluster
from factories import TestTenant
from prometheus_client.parser import text_string_to_metric_families
from queues import NUMBERED, PLAIN, Claimant, Numbered, add, done, handled, until, work_off, working
from shell import Shell, environment_of
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import execute, fetch

from viral.cli.doctor import all_checks
from viral.errors import WorkFailed
from viral.features.jobs.types import JobType
from viral.features.usage.measurements import DATABASE, MACHINE
from viral.postgres.doctor import snapshots
from viral.postgres.doctor.check import Patient, examine
from viral.runtime import Runtime
from viral.schema.base import uuid7
from viral.worker import samples
from viral.worker.handling import AtWork
from viral.worker.metrics import serving_metrics
from viral.worker.samples import prune_samples, take_sample

ONCE = JobType("once", max_attempts=1)


@pytest.fixture(params=["listening"])
def jobs_listen() -> bool:
    """One way is enough where it does not matter."""
    return True


async def ask(port: int | None, request: str = "GET /metrics", host: str = "127.0.0.1") -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{request} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    return answer


def samples_of(answer: str) -> dict[tuple[str, ...], float]:
    head, _, text = answer.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4")
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_the_page_tells_age_counts_failures_and_run_times_by_type_and_tenant(
    runtime: Runtime, alice: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    async def fail(_at_work: AtWork) -> None:
        raise WorkFailed("of something private")

    await add(runtime, alice.id)
    await add(runtime, alice.id, ONCE)
    with handled(PLAIN, done), handled(ONCE, fail):
        await work_off(runtime, alice.id)
    await add(runtime, bob.id, NUMBERED, Numbered(n=4711))
    await execute(
        admin,
        "UPDATE job_queue SET scheduled_for = now() - interval '1 hour' WHERE status = 'pending'",
    )
    await runtime.system.call(
        "INSERT INTO job_queue (id, scope, job_type) VALUES ($1, 'system', 'plain')", uuid7()
    )

    async with serving_metrics(runtime, 0) as port:
        answer = await ask(port)

    figures = samples_of(answer)
    assert figures["viral_jobs", "pending", "bob", "numbered"] == 1
    assert figures["viral_jobs", "pending", "(system)", "plain"] == 1
    assert figures["viral_jobs_ended_last_hour", "completed", "alice", "plain"] == 1
    assert figures["viral_jobs_ended_last_hour", "failed", "alice", "once"] == 1
    assert 3600 <= figures["viral_job_oldest_seconds", "bob", "numbered"] < 3700
    assert 0 < figures["viral_job_run_seconds", "0.95", "completed", "alice", "plain"] < 60
    assert "private" not in answer
    assert "4711" not in answer


async def test_the_page_is_read_from_the_database_once_in_five_seconds(
    runtime: Runtime, alice: TestTenant
) -> None:
    async with serving_metrics(runtime, 0) as port:
        before = await ask(port)
        await add(runtime, alice.id)
        after = await ask(port)

    assert before == after


async def test_a_database_that_is_gone_is_no_page(runtime: Runtime, cluster: Cluster) -> None:
    async with serving_metrics(runtime, 0) as port:
        await cluster.execute_as_admin("postgres", "ALTER ROLE viral_system NOLOGIN")
        try:
            answer = await ask(port)
        finally:
            await cluster.execute_as_admin("postgres", "ALTER ROLE viral_system LOGIN")
        back = await ask(port)

    assert answer.startswith("HTTP/1.0 503 ")
    assert back.startswith("HTTP/1.0 200 ")


@pytest.mark.parametrize(
    ("request_line", "host", "status"),
    [
        ("GET /", "127.0.0.1", "404"),
        ("POST /metrics", "127.0.0.1", "404"),
        ("GET /metrics", "evil.example", "403"),
        ("GET /metrics", "localhost", "200"),
    ],
)
async def test_only_the_page_is_served_and_only_under_its_own_name(
    runtime: Runtime, request_line: str, host: str, status: str
) -> None:
    async with serving_metrics(runtime, 0) as port:
        assert (await ask(port, request_line, host)).startswith(f"HTTP/1.0 {status} ")


async def test_a_port_that_is_taken_is_told_before_any_work(
    runtime: Runtime, cluster: Cluster, database_name: str, tmp_path: Path
) -> None:
    shell = Shell(environment_of(cluster, database_name), tmp_path)
    async with serving_metrics(runtime, 0) as port:
        worker = await asyncio.to_thread(shell.viral, "worker", "--metrics-port", str(port))

    assert worker.code == 1
    assert f"cannot be served at port {port}: Address already in use." in worker.err
    assert "worker.started" not in worker.err


# Each minute's rows.


@pytest.fixture
async def _partitions(runtime: Runtime) -> None:
    await runtime.worker.call("SELECT viral.make_partitions()")


@pytest.mark.usefixtures("_partitions")
async def test_one_worker_writes_a_minutes_rows(
    runtime: Runtime, alice: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    for tenant in (alice, bob, bob):
        await add(runtime, tenant.id)
    await Claimant(runtime).claim()
    written: list[bool] = []

    # The first minute may end between the calls; the one after it does not as well.
    while written.count(True) != 1:
        await execute(admin, "DELETE FROM system_metrics")
        written = list(await asyncio.gather(*(take_sample(runtime) for _ in range(3))))
        written.append(await take_sample(runtime))

    assert written.count(False) == 3
    assert await fetch(
        admin,
        "SELECT metric_type, metadata ->> 'type', metadata ->> 'status', value FROM system_metrics"
        " WHERE metric_type IN ('job_workers', 'jobs') ORDER BY metric_type, value",
    ) == [
        ("job_workers", None, None, 1.0),
        ("jobs", "plain", "running", 1.0),
        ("jobs", "plain", "pending", 2.0),
    ]
    shares = (
        "SELECT DISTINCT metric_type FROM system_metrics WHERE value > 0 AND metric_type = ANY "
    )
    names = sorted([*MACHINE, DATABASE])
    assert await fetch(
        admin,
        f"{shares} (ARRAY{names}) AND (value <= 100 OR metric_type = '{DATABASE}') ORDER BY 1",
    ) == [(name,) for name in names]
    minutes = "SELECT DISTINCT recorded_at = date_trunc('minute', recorded_at) FROM system_metrics"
    assert await fetch(admin, minutes) == [(True,)]


@pytest.mark.usefixtures("_partitions")
async def test_a_worker_takes_samples_by_itself(
    runtime: Runtime, admin: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "EVERY_S", 0.2)

    async def is_taken() -> bool:
        wanted = "SELECT value FROM system_metrics WHERE metric_type = 'job_workers'"
        return await fetch(admin, wanted) == [(1.0,)]

    async with working(runtime), serving_metrics(runtime, 0) as port:
        await until(is_taken)
        figures = samples_of(await ask(port))

    assert figures["viral_workers",] == 1


@pytest.mark.usefixtures("_partitions")
async def test_rows_are_kept_for_ninety_days(runtime: Runtime, admin: AsyncConnection) -> None:
    await execute(
        admin,
        "CREATE TABLE old PARTITION OF system_metrics FOR VALUES FROM ('2000-01-01') TO"
        " ('2001-01-01')",
    )
    for moment in ("'2000-06-01'", "now()"):
        await execute(
            admin,
            "INSERT INTO system_metrics (id, recorded_at, metric_type, value)"
            f" VALUES (gen_random_uuid(), {moment}, 'x', 1)",
        )

    await prune_samples(runtime)

    assert await fetch(admin, "SELECT recorded_at > '2020-01-01' FROM system_metrics") == [(True,)]


@pytest.mark.usefixtures("_partitions")
async def test_a_worker_tells_who_holds_back_vacuum(
    runtime: Runtime, cluster: Cluster, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "TOO_LONG", timedelta(0))
    holder = await cluster.connect("viral_migrator", database_name)
    await holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")

    with structlog.testing.capture_logs() as logs:
        await take_sample(runtime)

    pid = await holder.fetchval("SELECT pg_backend_pid()")
    await holder.close()
    told = [each for each in logs if each["event"] == "queue.old_snapshot"]
    assert [(str(pid), "viral_migrator")] == [(each["name"], each["role"]) for each in told]
    assert f"pg_terminate_backend({pid})" in told[0]["fix"]


async def test_the_doctor_names_who_holds_back_vacuum(
    cluster: Cluster, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = cluster.url("viral_migrator", database_name)
    patient = Patient(clock=lambda: datetime.now(UTC), direct=url, migrator=url)
    holder = await asyncpg.connect(
        url.libpq(password=True), server_settings={"application_name": "a report"}
    )
    await holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
    (young,) = await examine(patient, snapshots.CHECKS)
    monkeypatch.setattr(snapshots, "TOO_LONG", timedelta(0))

    (old,) = await examine(patient, snapshots.CHECKS)

    pid = await holder.fetchval("SELECT pg_backend_pid()")
    await holder.close()
    assert (young.state, old.state) == ("ok", "warning")
    assert f"The transaction of pid {pid} (viral_migrator, a report) is open for 0 min" in old.cause
    assert (await examine(patient, snapshots.CHECKS))[0].state == "ok"
    assert snapshots.CHECKS[0] in all_checks()
