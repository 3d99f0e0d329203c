"""Branches on this machine: what a copy is, the rules, the past, and what commands work on."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from branching import (
    WITH_A_PAST,
    as_superuser,
    databases,
    fresh_name,
    is_direct,
    make,
    now,
    query,
    rows_of,
    silent,
)
from servers import ask
from shell import Shell

from viral.database import migrate
from viral.database.engine import Database
from viral.database.secrets import Secrets
from viral.database.urls import parse_url
from viral.errors import (
    AlreadyExists,
    BadInput,
    BranchRefused,
    NotFound,
    RestoreRefused,
)
from viral.postgres.backup.physical import create_backup
from viral.postgres.branches.difference import BranchDifference, compare_branches
from viral.postgres.branches.local import LocalBranches, delete_expired
from viral.postgres.branches.provider import Branch, check_name, kept_name
from viral.postgres.branches.registry import MAIN
from viral.runtime import open_runtime
from viral.servers import backup_target, field_keys, local_branches, main_server, urls_of
from viral.settings import Settings

pytest_plugins = ["servers", "branching"]

A_TENANT = """
INSERT INTO tenants (id, slug, name, subscription_tier, monthly_quota)
VALUES (gen_random_uuid(), '{}', 'A tenant', 'PRO', 100)
"""

JOBS = """
INSERT INTO job_queue (id, scope, job_type, status, scheduled_for, worker_id, waits_for)
SELECT gen_random_uuid(), 'system', 'reflexion', status, now() + span, worker_id, waits_for
FROM (VALUES
  ('pending', interval '0', NULL::uuid, NULL::jsonb),
  ('pending', interval '1 day', NULL, NULL),
  ('running', interval '0', gen_random_uuid(), NULL),
  ('blocked', interval '0', NULL, '["another"]'),
  ('completed', interval '0', NULL, NULL)
) AS j (status, span, worker_id, waits_for)
"""
RESERVATION = """
INSERT INTO job_reservations (id, worker_id, queue, jobs, open)
SELECT gen_random_uuid(), gen_random_uuid(), 'default', array_agg(id), 1 FROM job_queue
"""
STATUSES = "SELECT string_agg(status, ' ' ORDER BY status) FROM job_queue"
ITS_OWN = """
SELECT (SELECT count(*) FROM job_queue WHERE status = 'canceled' AND completed_at IS NOT NULL
        AND worker_id IS NULL AND error_message LIKE 'copied%'),
       (SELECT count(*) FROM job_reservations),
       (SELECT count(*) FROM viral.claim_jobs(
          gen_random_uuid(), 'default', 10, gen_random_uuid(), NULL, NULL, NULL, true)
        WHERE id IS NOT NULL)
"""
NO_JOBS = "TRUNCATE job_queue, job_reservations CASCADE"


@dataclass(frozen=True)
class Past:
    """A branch with a past: at the moment `kept` had one row, there and in main; now it has two."""

    branch: Branch
    moment: datetime


@pytest.fixture(scope="module")
async def past(settings: Settings) -> Past:
    """Make a backup, and something to be forgotten after it; just then a copy of main is made."""
    branches = local_branches(settings)
    await as_superuser(
        branches,
        MAIN,
        "CREATE TABLE kept AS SELECT 1 AS number",
        "GRANT SELECT ON kept TO viral_app",
        JOBS,
    )
    branch = await make(branches, WITH_A_PAST)
    await create_backup(
        main_server(settings), backup_target(settings), field_keys(settings), advance=silent
    )
    await ask(main_server(settings), "ALTER DATABASE viral ALLOW_CONNECTIONS false")
    moment = now()
    await ask(main_server(settings), "ALTER DATABASE viral ALLOW_CONNECTIONS true")
    await as_superuser(branches, MAIN, NO_JOBS)
    for each in (MAIN, branch):
        await as_superuser(branches, each, "INSERT INTO kept VALUES (2)")
    return Past(branch, moment)


async def compared(settings: Settings, first: Branch, second: Branch) -> BranchDifference:
    url = urls_of(settings).for_role("viral_backup", Secrets.load_or_create(settings.home))
    return await compare_branches(
        url.for_database(first.database), url.for_database(second.database), advance=silent
    )


async def test_a_branch_is_its_parent_with_all_rows_and_privileges(
    settings: Settings, branches: LocalBranches
) -> None:
    await as_superuser(branches, MAIN, A_TENANT.format("whole"))

    branch = await make(branches)

    found = await compared(settings, MAIN, branch)
    assert (found.schema, found.rows) == ([], [])
    rows = await ask(
        main_server(settings),
        "SELECT count(DISTINCT (datdba, array(SELECT unnest(datacl)::text ORDER BY 1)))"
        f" FROM pg_database WHERE datname IN ('viral', '{branch.database}')",
    )
    assert rows == [(1,)]


async def test_a_branch_runs_none_of_the_jobs_that_its_parent_runs(
    branches: LocalBranches,
) -> None:
    await as_superuser(branches, MAIN, JOBS, RESERVATION)
    try:
        branch = await make(branches)

        assert await rows_of(branches, branch, ITS_OWN) == [(4, 0, 0)]
        assert await rows_of(branches, branch, STATUSES) == [(f"{'canceled ' * 4}completed",)]
        assert await rows_of(branches, MAIN, STATUSES) == [
            ("blocked completed pending pending running",)
        ]
    finally:
        await as_superuser(branches, MAIN, NO_JOBS)


async def test_what_is_done_in_a_branch_stays_there(
    settings: Settings, branches: LocalBranches
) -> None:
    branch = await make(branches)

    await as_superuser(branches, branch, A_TENANT.format("alone"), "CREATE TABLE extra (id int)")

    found = await compared(settings, MAIN, branch)
    assert [str(each).split(" (")[0] for each in found.schema] == ["table public.extra: unexpected"]
    counts = {each.table: (each.first, each.second) for each in found.rows}
    before, after = counts.pop("public.tenants")
    assert (before or 0) + 1 == after
    assert counts == {"public.extra": (None, 0)}


async def test_who_is_at_work_in_the_parent_comes_back_by_themselves(
    settings: Settings, branches: LocalBranches
) -> None:
    database = Database(
        urls_of(settings).app, context_key=Secrets.load_or_create(settings.home).context_key
    )
    other = await asyncpg.connect(urls_of(settings).app.libpq(password=True))
    async with database.session_without_tenant() as session:
        await session.connection()

    await make(branches)

    assert other.is_closed()
    async with database.session_without_tenant() as session:
        await session.connection()
    await database.close()
    assert branches.registry.read().held == []


async def test_a_branch_without_rows_has_the_schema_and_its_migrations(
    settings: Settings, branches: LocalBranches
) -> None:
    await as_superuser(branches, MAIN, A_TENANT.format("left-out"))
    session = await asyncpg.connect(urls_of(settings).app.libpq(password=True))

    branch = await make(branches, schema_only=True)

    assert not session.is_closed()
    await session.close()
    found = await compared(settings, MAIN, branch)
    assert found.schema == []
    assert {each.second for each in found.rows} == {0}
    direct = urls_of(settings).direct.for_database(branch.database)
    assert (await migrate.status(direct)).pending == []


async def test_a_branch_of_a_branch_has_its_rows(branches: LocalBranches) -> None:
    parent = await make(branches)
    await as_superuser(
        branches, parent, "DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 42 AS answer"
    )
    await as_superuser(branches, parent, "GRANT SELECT ON kept TO viral_app")

    child = await make(branches, parent=parent.name)

    assert child.parent_id == parent.id
    assert await query(branches, child, "SELECT answer FROM kept") == 42


async def test_deleting_takes_the_database_away(
    settings: Settings, branches: LocalBranches
) -> None:
    branch = await make(branches)
    assert branch.database in await databases(settings)

    await branches.delete(branch)

    assert branch.database not in await databases(settings)
    with pytest.raises(NotFound):
        await branches.get(branch.name)


async def test_the_rules_of_deleting(branches: LocalBranches) -> None:
    parent = await make(branches)
    child = await make(branches, parent=parent.id, protected=True)

    for branch, words in [
        (MAIN, "default"),
        (parent, f"branches of its own: {child.name}"),
        (child, "protected"),
    ]:
        with pytest.raises(BranchRefused, match=words):
            await branches.delete(branch)
    await branches.delete(await branches.protect(child, is_protected=False))
    await branches.delete(parent)


async def test_a_name_is_taken_once(branches: LocalBranches) -> None:
    branch = await make(branches)

    with pytest.raises(AlreadyExists):
        await make(branches, branch.name)
    with pytest.raises(AlreadyExists):
        await make(branches, "main")


@pytest.mark.parametrize("name", ["feature/video-generation", "v1.2", "A_b", "x" * 63])
def test_names_of_git_are_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "a b", "/a", "a/", "a//b", "a..b", "-a", "a.lock", "br-1", "x" * 64, "a\n", "ä"]
)
def test_other_words_are_no_names(name: str) -> None:
    with pytest.raises(BadInput):
        check_name(name)


def test_a_kept_state_has_a_name_that_is_allowed() -> None:
    assert check_name(kept_name("x" * 63, now())).startswith("x" * 30)


async def test_commands_use_the_branch_that_is_checked_out(
    settings: Settings, branches: LocalBranches
) -> None:
    branch = await make(branches)

    await branches.check_out(branch)
    try:
        async with open_runtime(settings) as runtime:
            assert runtime.branch == branch.name
            assert {runtime.urls.app.database, runtime.urls.direct.database} == {branch.database}
        with pytest.raises(BranchRefused, match="checked out"):
            await branches.delete(branch)
    finally:
        await branches.check_out(MAIN)
    async with open_runtime(settings) as runtime:
        assert (runtime.branch, runtime.urls.app.database) == (None, "viral")


async def test_a_checked_out_branch_that_is_gone_says_what_to_do(
    settings: Settings, branches: LocalBranches
) -> None:
    branch = await make(branches)
    await branches.check_out(branch)
    await ask(main_server(settings), f"DROP DATABASE {branch.database} WITH (FORCE)")

    try:
        with pytest.raises(BranchRefused) as refusal:
            async with open_runtime(settings):
                pass
    finally:
        await branches.check_out(MAIN)
    assert "checkout main" in refusal.value.hint
    await branches.delete(branch)


async def test_expired_branches_go_unless_something_holds_them(branches: LocalBranches) -> None:
    soon = now() + timedelta(hours=1)
    expired = await make(branches, expires_at=soon)
    child = await make(branches, parent=expired.id, expires_at=soon)
    parent = await make(branches, expires_at=soon)
    lasting = await make(branches, parent=parent.id)
    protected = await make(branches, expires_at=soon, protected=True)

    assert await delete_expired(branches, now=now()) == []
    deleted = await delete_expired(branches, now=soon)

    assert {each.id for each in deleted} == {expired.id, child.id}
    left = {each.id for each in await branches.list()}
    assert {parent.id, lasting.id, protected.id} <= left


async def test_what_is_deleted_is_judged_as_it_is_by_then(
    settings: Settings, branches: LocalBranches
) -> None:
    """Between the question and the deletion another command was at work."""
    guarded, replaced, gone = [await make(branches) for _ in range(3)]
    await branches.protect(guarded, is_protected=True)
    restored = await make(branches)
    with branches.registry.change() as contents:
        kept = contents.replace_by(replaced, restored, former=f"{replaced.name}_before")
    await branches.delete(gone)

    with pytest.raises(BranchRefused, match="is protected"):
        await branches.delete(guarded)
    with pytest.raises(NotFound, match=gone.name):
        await branches.delete(gone)
    await branches.delete(replaced)

    there = await databases(settings)
    assert {guarded.database, kept.database} <= there
    assert restored.database not in there
    assert branches.registry.get(guarded.id).is_protected


async def test_what_is_given_more_time_meanwhile_stays(
    branches: LocalBranches, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = now() + timedelta(hours=1)
    branch = await make(branches, expires_at=soon)
    delete = LocalBranches.delete

    async def slow(each: LocalBranches, found: Branch, **given: datetime) -> None:
        with branches.registry.change() as contents:
            contents.put(replace(branch, expires_at=None))
        await delete(each, found, **given)

    monkeypatch.setattr(LocalBranches, "delete", slow)

    assert await delete_expired(branches, now=soon) == []

    assert branches.registry.get(branch.id).state == "ready"


async def test_addresses_lead_to_the_branch(settings: Settings, branches: LocalBranches) -> None:
    branch = await make(branches)

    direct = await branches.connection_string(branch, pooled=False, password=False)
    pooled = await branches.connection_string(branch, pooled=True, password=True)

    assert is_direct(direct, branch)
    assert parse_url(direct).password == ""
    url = parse_url(pooled)
    assert (url.port, url.database, url.is_pooled) == (
        settings.pooler_port,
        branch.database,
        True,
    )


@pytest.mark.timeout(60)
async def test_a_branch_of_the_past_has_a_server_of_its_own(
    settings: Settings, branches: LocalBranches, past: Past
) -> None:
    branch = await make(branches, at=past.moment)

    assert branch.kind == "cluster"
    assert await query(branches, branch, "SELECT count(*) FROM kept") == 1
    assert await query(branches, MAIN, "SELECT count(*) FROM kept") == 2
    assert await rows_of(branches, branch, STATUSES) == [(f"{'canceled ' * 4}completed",)]
    server = branches._servers.at(branch.home)
    assert await ask(server, "SELECT datname FROM pg_database WHERE datname ~ '^viral'") == [
        ("viral",)
    ]
    with pytest.raises(RestoreRefused, match="not kept"):
        await branches.restore(branch, now(), advance=silent)
    await branches.check_out(branch)
    try:
        assert parse_url(server.url("viral_app")) == urls_of(settings).app
    finally:
        await branches.check_out(MAIN)

    folders = [server.home, server.installation.state]
    await branches.delete(branch)

    assert [each for each in folders if each.exists()] == []
    assert not await server.is_answering()


@pytest.mark.timeout(60)
async def test_a_restored_branch_keeps_its_former_state(
    branches: LocalBranches, past: Past
) -> None:
    child = await make(branches, parent=past.branch.id)

    kept = await branches.restore(past.branch, past.moment, advance=silent)

    restored = await branches.get(past.branch.name)
    assert (restored.id, restored.kind) == (past.branch.id, "cluster")
    assert await query(branches, restored, "SELECT count(*) FROM kept") == 1
    assert kept.name.startswith(f"{past.branch.name}_before_")
    assert await query(branches, kept, "SELECT count(*) FROM kept") == 2
    assert (await branches.get(child.id)).parent_id == kept.id


async def test_the_default_branch_is_not_restored_here(branches: LocalBranches) -> None:
    with pytest.raises(BranchRefused, match="server itself"):
        await branches.restore(MAIN, now(), advance=silent)


async def test_without_a_backup_there_is_no_past(branches: LocalBranches) -> None:
    name = fresh_name()

    with pytest.raises(RestoreRefused):
        await make(branches, name, at=now() - timedelta(days=1))

    assert branches.registry.read().find(name) is None


@pytest.fixture
def shell(settings: Settings, tmp_path: Path) -> Shell:
    return Shell({"PATH": os.environ["PATH"], "VIRAL_HOME": str(settings.home)}, tmp_path)


@pytest.mark.timeout(120)
async def test_commands_make_show_and_delete_a_branch(
    shell: Shell, branches: LocalBranches
) -> None:
    made = shell.viral("branch", "create", "feature/life", "--expires", "7d", "--json")
    branch = await branches.get("feature/life")
    assert (made.document["id"], made.document["database"]) == (branch.id, branch.database)
    address = parse_url(shell.viral("branch", "connection-string", branch.name).out.strip())
    assert (address.database, bool(address.password)) == (branch.database, True)

    assert shell.viral("branch", "checkout", branch.name).code == 0
    lines = shell.viral("branch", "list").out.splitlines()
    await branches.check_out(MAIN)
    unsure = shell.viral("branch", "delete", branch.name)
    deleted = shell.viral("branch", "delete", branch.name, "--confirm", branch.name)

    marks = {line.split()[0]: line.partition("MB")[2] for line in lines}
    assert ("checked out" in marks[branch.name], "default" in marks["main"]) == (True, True)
    assert (unsure.code, "--confirm feature/life" in unsure.err) == (1, True)
    assert deleted.code == 0
    assert branches.registry.read().find(branch.name) is None


@pytest.mark.timeout(60)
async def test_branches_that_differ_end_with_two(shell: Shell, branches: LocalBranches) -> None:
    branch = await make(branches, "other")
    await as_superuser(branches, branch, "CREATE TABLE extra AS SELECT 1 AS id")

    told = shell.viral("branch", "diff", "main", "other")

    assert told.code == 2
    assert "table public.extra: only in other" in told.out
    assert told.out.splitlines()[-1].split() == ["public.extra", "-", "1"]
