"""A sound installation holds; a run leaves nothing behind, and tells nothing of its tenants."""

from __future__ import annotations

import asyncio
import json

import pytest
from clusters import Cluster, superuser
from factories import TestTenant, fill_every_table, make_tenant
from sqlalchemy import text
from verifications import installation_of, verify_database

from viral.errors import LockNotObtained, NotFound, ServerUnreachable, TenantContextUnknown
from viral.features.verification import run
from viral.features.verification.attacks.keys import KEYS
from viral.features.verification.parties import fill, make_party
from viral.features.verification.probe import open_probe
from viral.features.verification.relations import ATTACKERS, read_catalogue
from viral.features.verification.report import Report
from viral.features.verification.run import FAMILIES
from viral.schema.security import MIGRATOR, SYSTEM
from viral.schema.tables import METADATA

CONTENT = "SELECT count(*) FROM {table}"
# For tests of what a run does before and after its attacks.
FEW = (KEYS,)


@pytest.fixture(scope="module")
async def tenants(cluster: Cluster, module_database: str) -> tuple[TestTenant, TestTenant]:
    """Have an installation at work: two tenants with a row in every table."""
    system = cluster.database(SYSTEM, module_database)
    alice = await make_tenant(system, cluster.secrets, slug="alice")
    bob = await make_tenant(system, cluster.secrets, slug="bob")
    await system.close()
    async with superuser(cluster, module_database) as admin:
        await fill_every_table(admin, alice)
        await fill_every_table(admin, bob)
    return alice, bob


@pytest.fixture(scope="module")
async def report(
    cluster: Cluster, module_database: str, tenants: tuple[TestTenant, TestTenant]
) -> Report:
    assert tenants
    return await verify_database(cluster, module_database)


async def rows_by_table(cluster: Cluster, database: str) -> dict[str, int]:
    async with superuser(cluster, database) as admin:
        return {
            str(table): int(await admin.scalar(text(CONTENT.format(table=table))) or 0)
            for table in METADATA.sorted_tables
        }


def test_everything_holds_in_a_sound_installation(report: Report) -> None:
    assert [] == report.leaks
    assert report.total.tried == report.total.held > 1_500


def test_every_family_and_attack_is_tried(report: Report) -> None:
    tried = {
        (trial.attack.id, trial.attack.title)
        for trial in report.trials
        if trial.verdict.result != "not applicable"
    }
    # There are no views, nothing stored, and no sequences: their attacks have no target.
    absent = {"A24", "A25", "A33"}

    expected = {
        (attack.id, attack.title)
        for family in FAMILIES
        for attack in family.attacks
        if attack.id not in absent
    }
    assert expected == tried


def test_the_victim_has_a_row_that_it_sees_in_every_table_of_tenants(report: Report) -> None:
    # They belong to tenants, but no role of tenants may read them.
    closed = {"sessions", "webhook_events", "tenant_contexts"}

    expected = {
        f"{table.schema or 'public'}.{table.name}"
        for table in METADATA.sorted_tables
        if ("tenant_id" in table.c or table.name == "tenants") and table.name not in closed
    }
    assert expected == set(report.tables_seen)


def test_every_table_and_every_role_is_attacked(report: Report) -> None:
    attacked = {(trial.target.object, trial.target.role) for trial in report.trials}

    names = [f"{table.schema or 'public'}.{table.name}" for table in METADATA.sorted_tables]
    missing = {
        (name, role)
        for name in names
        for role in ("viral_worker", "viral_signin")
        if (name, role) not in attacked
    }
    assert set() == missing
    assert set(ATTACKERS) <= {role for _, role in attacked}


async def test_nothing_is_left_behind_but_two_people(
    cluster: Cluster, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cluster.execute_as_admin(database_name, "SELECT viral.make_partitions()")
    before = await rows_by_table(cluster, database_name)

    await verify_database(cluster, database_name)
    once = await rows_by_table(cluster, database_name)
    # What all attacks leave is known by now; this is about the people.
    monkeypatch.setattr(run, "FAMILIES", FEW)
    await verify_database(cluster, database_name)

    assert before | {"users": before["users"] + 2} == once
    assert once == await rows_by_table(cluster, database_name)


async def test_the_rows_of_tenants_at_work_stay_as_they_are(
    cluster: Cluster, module_database: str, report: Report
) -> None:
    async with superuser(cluster, module_database) as admin:
        slugs = set(await admin.scalars(text("SELECT slug FROM tenants")))

    counts = await rows_by_table(cluster, module_database)

    assert {"alice", "bob"} == slugs
    assert 2 == counts["concepts"] == counts["job_queue"] == counts["audit_log"]
    assert report.total.tried


async def test_what_a_killed_run_left_is_removed_by_the_next(
    cluster: Cluster, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "FAMILIES", FEW)
    await cluster.execute_as_admin(
        database_name,
        "CREATE TABLE notes (id uuid PRIMARY KEY, tenant_id uuid NOT NULL)",
        "ALTER TABLE notes OWNER TO viral_owner",
    )
    await leave_a_party(cluster, database_name)

    await verify_database(cluster, database_name)

    async with superuser(cluster, database_name) as admin:
        left = await admin.scalar(text("SELECT count(*) FROM tenants"))
        notes = await admin.scalar(text("SELECT count(*) FROM notes"))
    assert (0, 0) == (left, notes)


async def leave_a_party(cluster: Cluster, database: str) -> None:
    """Do what a run does before it attacks, and stop there."""
    installation = installation_of(cluster, database)
    system = cluster.database(SYSTEM, database)
    party = await make_party(system, cluster.secrets, run="00c0ffee", part="victim")
    await system.close()
    probes = {}
    for role in ("viral_app", SYSTEM, MIGRATOR):
        context = open_probe(installation.url_of(role))
        probes[role] = (await context.__aenter__(), context)
    ready = {role: probe for role, (probe, _) in probes.items()}
    await fill(party, await read_catalogue(ready[MIGRATOR]), ready)
    assert "public.notes" in party.rows
    for _, context in probes.values():
        await context.__aexit__(None, None, None)


async def test_a_run_that_is_interrupted_removes_its_tenants(
    cluster: Cluster, database_name: str
) -> None:
    running = asyncio.create_task(verify_database(cluster, database_name))
    async with superuser(cluster, database_name) as admin:
        while not await admin.scalar(text("SELECT count(*) FROM audit_log")):
            await admin.rollback()
            await asyncio.sleep(0.02)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await admin.rollback()

        assert 0 == await admin.scalar(text("SELECT count(*) FROM tenants"))


async def test_a_connection_that_ends_is_not_taken_for_a_wall_that_holds(
    cluster: Cluster, database_name: str
) -> None:
    running = asyncio.create_task(verify_database(cluster, database_name))
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'viral_app'"
    async with superuser(cluster, database_name) as admin:
        while not await admin.scalar(text("SELECT count(*) FROM audit_log")):
            await admin.rollback()
            await asyncio.sleep(0.02)
        await admin.execute(text(f"{end} AND datname = current_database()"))
        with pytest.raises(ServerUnreachable):
            await running
        await admin.rollback()

        assert 0 == await admin.scalar(text("SELECT count(*) FROM tenants"))


async def test_a_statement_that_ends_the_connection_is_not_refused(
    cluster: Cluster, database_name: str
) -> None:
    async with open_probe(cluster.direct_url("viral_app", database_name)) as probe:
        with pytest.raises(ServerUnreachable):
            await probe.ask("SELECT pg_terminate_backend(pg_backend_pid())")


async def test_two_runs_do_not_meet(
    cluster: Cluster, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "FAMILIES", FEW)
    runs = [verify_database(cluster, database_name) for _ in range(2)]

    ended = await asyncio.gather(*runs, return_exceptions=True)

    assert [LockNotObtained] == [type(each) for each in ended if isinstance(each, Exception)]


@pytest.fixture(scope="module")
async def against_bob(cluster: Cluster, module_database: str, report: Report) -> Report:
    assert report.total.tried
    return await verify_database(cluster, module_database, victim="bob")


async def test_a_tenant_of_yours_is_attacked_by_reads_alone(against_bob: Report) -> None:
    writing = {trial.verdict.result for trial in against_bob.trials if trial.attack.writes}
    reading = [trial for trial in against_bob.trials if trial.attack.id in {"A01", "A02"}]
    unseen = {each.target.object for each in reading if each.verdict.result == "not applicable"}

    assert {"not applicable"} == writing
    assert {"held", "not applicable"} == {trial.verdict.result for trial in reading}
    # No role of tenants reads them, so the key of a row cannot be learned.
    assert {"public.sessions", "public.webhook_events", "viral.tenant_contexts"} == unseen
    assert len(reading) > 100


async def test_a_report_tells_nothing_of_a_tenant(
    cluster: Cluster,
    against_bob: Report,
    report: Report,
    tenants: tuple[TestTenant, TestTenant],
) -> None:
    for each in (report, against_bob):
        written = json.dumps(each.as_json()) + each.as_html(public_key="k", document_sha256="d")
        for tenant in tenants:
            assert str(tenant.id) not in written
            assert tenant.slug not in written.replace("viral-verify", "")
            assert cluster.token(tenant.id) not in written
        assert cluster.secrets.context_key.hex() not in written
        assert cluster.secrets.password("viral_app") not in written


async def test_where_a_tenant_does_not_see_itself_nothing_is_verified(
    cluster: Cluster, database_name: str
) -> None:
    await cluster.execute_as_admin(database_name, "REVOKE SELECT ON tenants FROM viral_app")

    with pytest.raises(TenantContextUnknown, match="does not see its own row"):
        await verify_database(cluster, database_name)


async def test_a_tenant_that_does_not_exist_is_named(cluster: Cluster, database_name: str) -> None:
    with pytest.raises(NotFound, match="nobody"):
        await verify_database(cluster, database_name, victim="nobody")
