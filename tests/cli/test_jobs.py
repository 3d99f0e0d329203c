"""`viral jobs`: what the operator sees of all tenants' jobs, and what they may do to them."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from clusters import Cluster
from factories import TestTenant
from queues import NUMBERED, Numbered
from shell import Answer, Shell, environment_of
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import execute, fetch

from viral.database.engine import Database
from viral.features.jobs.queue import Wish, ask_for_all, enqueue, enqueue_many
from viral.features.jobs.types import JobType
from viral.schema.base import uuid7

SECRET = 4711
STATUSES = "SELECT status, attempts, error_message FROM job_queue ORDER BY id"
FAIL = """
UPDATE job_queue SET status = 'failed', attempts = 3, completed_at = now(),
  error_message = 'work_failed: something private'
"""


@pytest.fixture
def shell(cluster: Cluster, database_name: str, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(environment_of(cluster, database_name), tmp_path_factory.mktemp("shell"))


@pytest.fixture
async def jobs(app: Database, system: Database, alice: TestTenant, bob: TestTenant) -> list[str]:
    """Put one job of each tenant and a system job into the queue; return their ids."""
    made = [await put(app, tenant) for tenant in (alice, bob)]
    async with system.session_without_tenant() as session:
        await ask_for_all(session)
    rows = await system.call("SELECT id FROM job_queue WHERE scope = 'system'")
    return [*made, str(rows[0]["id"])]


async def put(app: Database, tenant: TestTenant, wish: Wish | None = None) -> str:
    async with app.tenant_session(tenant.id) as session:
        made = await enqueue(
            session, NUMBERED, Numbered(n=SECRET), tenant_id=tenant.id, wish=wish or Wish()
        )
    return str(made)


async def run(shell: Shell, *arguments: str) -> Answer:
    return await asyncio.to_thread(shell.viral, "jobs", *arguments)


# Looking.


async def test_jobs_of_all_are_listed_without_what_they_are_about(
    shell: Shell, jobs: list[str], admin: AsyncConnection
) -> None:
    await execute(admin, f"{FAIL} WHERE id = '{jobs[0]}'")

    listed = await run(shell, "list", "--json")
    table = await run(shell, "list", "--status", "failed")

    assert [(each["id"], each["tenant"], each["status"]) for each in listed.document] == [
        (jobs[2], "(system)", "pending"),
        (jobs[1], "bob", "pending"),
        (jobs[0], "alice", "failed"),
    ]
    (row,) = table.out.splitlines()[1:]
    assert row.split()[:3] == [jobs[0], "failed", "3/3"]
    assert row.split()[-2:] == ["alice", "work_failed"]
    for text in (listed.out, table.out):
        assert "private" not in text
        assert str(SECRET) not in text


async def test_a_list_is_of_a_tenant_a_type_a_status_or_the_newest(
    shell: Shell, jobs: list[str], app: Database, alice: TestTenant
) -> None:
    newer = await put(app, alice)

    async def ids(*options: str) -> list[str]:
        answer = await run(shell, "list", "--json", *options)
        return [each["id"] for each in answer.document]

    assert await ids("--tenant", "alice") == [newer, jobs[0]]
    assert await ids("--tenant", "alice", "--limit", "1") == [newer]
    assert await ids("--tenant", "bob", "--status", "running") == []
    assert await ids("--type", "reflexion") == [jobs[2]]
    assert await ids("--limit", "2") == [newer, jobs[2]]
    unknown = await run(shell, "list", "--status", "lost", "--json")
    assert (unknown.code, unknown.document["error"]["code"]) == (1, "bad_input")
    assert (await run(shell, "list", "--tenant", "carol")).code == 1


async def test_one_job_is_shown_whole(
    shell: Shell, jobs: list[str], admin: AsyncConnection
) -> None:
    await execute(admin, f"{FAIL} WHERE id = '{jobs[0]}'")

    (ours, systems) = [(await run(shell, "show", jobs[i], "--json")).document for i in (0, 2)]
    facts = await run(shell, "show", jobs[0])

    assert (ours["tenant"], ours["payload"]) == ("alice", {"n": SECRET})
    assert ours["failure"] == "work_failed: something private"
    assert (systems["tenant"], systems["payload"]) == ("(system)", {})
    assert f'{{"n": {SECRET}}}' in facts.out


async def test_counts_are_by_tenant_and_type(
    shell: Shell, jobs: list[str], admin: AsyncConnection
) -> None:
    await execute(
        admin,
        "UPDATE job_queue SET status = 'completed', started_at = now() - interval '90 s',"
        f" completed_at = now() WHERE id = '{jobs[1]}'",
    )

    stats = await run(shell, "stats")
    counted = await run(shell, "stats", "--json")
    once = await run(shell, "watch")

    rows = [line.split() for line in stats.out.splitlines()]
    assert rows[0] == ["tenant", "type", "pending", "running", "done", "oldest", "p50", "p95"]
    assert [row[:5] for row in rows[1:4]] == [
        ["(system)", "reflexion", "1", "-", "-"],
        ["alice", "numbered", "1", "-", "-"],
        ["bob", "numbered", "-", "-", "1"],
    ]
    assert rows[3][-4:] == ["1.5", "min", "1.5", "min"]
    assert [each["jobs"] for each in counted.document] == [1, 1, 1]
    assert once.out.splitlines()[0] == stats.out.splitlines()[0]


# Acting.


async def test_jobs_are_canceled_and_retried_by_their_ids(
    shell: Shell, jobs: list[str], admin: AsyncConnection
) -> None:
    canceled = await run(shell, "cancel", *jobs)
    gone = await fetch(admin, STATUSES)
    again = await run(shell, "cancel", jobs[0], "--json")
    retried = await run(shell, "retry", *jobs)

    assert (canceled.code, canceled.out) == (0, "3 canceled.\n")
    assert [("canceled", 0, None)] * 3 == gone
    assert (again.code, again.document["left"]) == (1, [{"id": jobs[0], "status": "canceled"}])
    assert (retried.code, retried.out) == (0, "3 retried.\n")
    assert [("pending", 0, None)] * 3 == await fetch(admin, STATUSES)


async def test_all_that_failed_are_retried_those_of_a_type_alone(
    shell: Shell, jobs: list[str], admin: AsyncConnection
) -> None:
    await execute(admin, FAIL)

    some = await run(shell, "retry", "--failed", "--type", "reflexion", "--json")
    rest = await run(shell, "retry", "--failed")
    none = await run(shell, "retry", "--failed")

    assert some.document == {"retried": [jobs[2]], "left": []}
    assert (rest.out, none.out, none.code) == ("2 retried.\n", "0 retried.\n", 0)
    assert [("pending", 0, None)] * 3 == await fetch(admin, STATUSES)


async def test_more_failed_jobs_than_a_page_holds_are_all_retried(
    shell: Shell, app: Database, admin: AsyncConnection, alice: TestTenant
) -> None:
    async with app.tenant_session(alice.id) as session:
        await enqueue_many(session, JobType("plain"), [None] * 1_001)
    await execute(admin, FAIL)

    retried = await run(shell, "retry", "--failed")

    assert retried.out == "1,001 retried.\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "first"], "'first' is not a job's id"),
        (["cancel"], "Say which jobs"),
        (["retry"], "Say which jobs"),
        (["retry", "--type", "reflexion"], "Say which jobs"),
        (["show", str(UUID(int=(1 << 128) - 1))], "There is no job ffffffff-"),
    ],
)
async def test_what_names_no_job_is_refused(shell: Shell, arguments: list[str], said: str) -> None:
    answer = await run(shell, *arguments)

    assert (answer.code, said in answer.err) == (1, True)


async def test_nothing_is_done_where_one_id_is_unknown(
    shell: Shell, jobs: list[str], admin: AsyncConnection
) -> None:
    unknown = str(uuid7())

    answer = await run(shell, "cancel", *jobs, unknown)

    assert (answer.code, f"There is no job {unknown}." in answer.err) == (1, True)
    assert {row[0] for row in await fetch(admin, STATUSES)} == {"pending"}


# Schedules.


async def test_a_schedule_is_added_listed_paused_resumed_run_and_removed(
    shell: Shell, admin: AsyncConnection
) -> None:
    async def schedule(*arguments: str) -> Answer:
        return await run(shell, "schedule", *arguments)

    noon = ("noon", "--type", "reflexion", "--cron", "0 12 * * *", "--time-zone", "Europe/Berlin")
    added = await schedule("add", *noon, "--missed", "skip", "--json")
    twice = await schedule("add", *noon)
    paused = await schedule("pause", "noon")
    listed = await schedule("list")
    resumed = await schedule("resume", "noon")
    first, second = await schedule("run", "noon", "--json"), await schedule("run", "noon")
    removed = await schedule("remove", "noon")

    assert (added.document["missed"], added.document["time_zone"]) == ("skip", "Europe/Berlin")
    assert (twice.code, "There is a schedule 'noon'" in twice.err) == (1, True)
    assert paused.out.startswith("noon is paused.")
    assert listed.out.splitlines()[1].split()[-2:] == ["paused", "-"]
    assert resumed.out.startswith("noon comes next at ")
    assert await fetch(admin, "SELECT id::text, scope FROM job_queue") == [
        (first.document["job"], "system")
    ]
    assert second.out == "A job of noon waits already.\n"
    assert removed.out.startswith("The schedule noon is removed")
    assert await fetch(admin, "SELECT name FROM job_schedules") == []


async def test_a_schedule_of_a_type_that_nobody_does_is_refused(shell: Shell) -> None:
    answer = await run(shell, "schedule", "add", "x", "--type", "dance", "--cron", "0 3 * * *")

    assert answer.code == 1
    assert "There is no type of job 'dance'" in answer.err
    assert "There are: generate-concepts, reflexion" in answer.err
