"""The doctor, before real broken things: each is named, with its cause and what mends it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from clusters import Cluster, free_port
from factories import TestTenant
from servers import Homes, as_admin, server_in
from shell import Shell

from viral.cli.doctor import all_checks, gather
from viral.database import migrate
from viral.database.encryption.keys import KeyFile
from viral.database.secrets import ContextKeys, Secrets
from viral.database.urls import ServerUrl, parse_url
from viral.postgres.backup.physical import create_backup
from viral.postgres.backup.target import LocalFolder
from viral.postgres.bootstrap import bootstrap
from viral.postgres.configuration import GAP
from viral.postgres.doctor import connection, storage
from viral.postgres.doctor.check import Finding, Patient, examine
from viral.postgres.server import Server

pytest_plugins = ["servers"]

Use = Callable[..., Patient]


@pytest.fixture
def use(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Use:
    """Return what gathers an installation from its environment, as the command does."""
    monkeypatch.chdir(tmp_path)

    def at(home: Path = cluster.home, **variables: str) -> Patient:
        monkeypatch.setenv("VIRAL_HOME", str(home))
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return gather()

    return at


@pytest.fixture
def patient(use: Use, cluster: Cluster, database_name: str) -> Patient:
    """Give an installation on a server elsewhere that is well."""
    return use(
        DATABASE_URL=cluster.direct_url("viral_app", database_name).setting(password=True),
        DIRECT_URL=cluster.server.url("viral_migrator", database_name),
    )


@pytest.fixture(scope="module")
async def own(homes: Homes) -> AsyncIterator[Server]:
    """Give an embedded server with little room, prepared, without a schema."""
    server = server_in(homes.new())
    await server.start()
    connection = await as_admin(server)
    for setting in ("fsync = off", "max_connections = 20", "max_prepared_transactions = 2"):
        await connection.execute(f"ALTER SYSTEM SET {setting}")
    await connection.close()
    await server.stop()
    await server.start()
    await bootstrap(server.socket_url("viral_admin"), server.secrets)
    await migrate.deploy(parse_url(server.url("viral_migrator")))
    yield server
    await server.stop()


async def look(patient: Patient, name: str) -> list[Finding]:
    return await examine(patient, all_checks(), only=name)


async def only(patient: Patient, name: str) -> Finding:
    (found,) = await look(patient, name)
    assert (found.fix is None) == (found.state in {"ok", "skipped"})
    return found


async def test_an_installation_that_is_well_has_no_error(
    patient: Patient, cluster: Cluster
) -> None:
    KeyFile.load_or_create(cluster.home, may_create=True)
    findings = await examine(patient, all_checks())

    assert {check.name for check in all_checks()} == {finding.check for finding in findings}
    assert [] == [finding for finding in findings if finding.state == "error"]
    skipped = {finding.check for finding in findings if finding.state == "skipped"}
    assert skipped == {"archive", "backups"}


def with_app(patient: Patient, change: Callable[[ServerUrl], ServerUrl]) -> Patient:
    assert patient.app is not None
    return replace(patient, app=change(patient.app))


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda url: replace(url, port=free_port()), "nothing listens there"),
        (lambda url: replace(url, host="no.such.invalid"), "host name is not known"),
        (lambda url: replace(url, password="tops3cret"), "password of viral_app is wrong"),
        (lambda url: replace(url, database="nowhere"), "no database nowhere"),
        (lambda url: replace(url, tls=(("sslmode", "require"),)), "offers no TLS"),
    ],
)
async def test_a_server_that_cannot_be_reached_is_told_apart(
    patient: Patient, broken: Callable[[ServerUrl], ServerUrl], said: str
) -> None:
    found, direct = await look(with_app(patient, broken), "server")

    assert (found.state, direct.state) == ("error", "ok")
    assert said in found.cause
    assert found.fix
    assert "tops3cret" not in f"{found}"


@pytest.mark.parametrize(
    ("answer", "said"), [(b"", "no answer in time"), (b"HTTP/1.1 400 Bad\r\n\r\n", "127.0.0.1")]
)
async def test_what_is_not_postgresql_is_not_waited_for(
    patient: Patient, answer: bytes, said: str
) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(answer)
        await writer.drain()
        if not answer:
            await reader.read()
        writer.close()
        await writer.wait_closed()

    program = await asyncio.start_server(other, "127.0.0.1", 0)
    port = program.sockets[0].getsockname()[1]
    fast = with_app(patient, lambda url: replace(url, port=port, connect_timeout_s=0.3))

    found, _ = await look(fast, "server")

    program.close()
    await program.wait_closed()
    assert found.state == "error"
    assert said in found.cause


async def test_a_role_without_a_connection_left_is_told_to_use_a_pooler(
    patient: Patient, cluster: Cluster
) -> None:
    await cluster.execute_as_admin("postgres", "ALTER ROLE viral_app CONNECTION LIMIT 0")

    try:
        found, _ = await look(patient, "server")
    finally:
        await cluster.execute_as_admin("postgres", "ALTER ROLE viral_app CONNECTION LIMIT -1")

    assert "no connection left" in found.cause
    assert "viral pooler start" in (found.fix or "")


async def test_a_server_that_is_nearly_full_is_told_before_it_is(own: Server, use: Use) -> None:
    patient = use(own.home)
    before = await only(patient, "connections")
    url = own.url("viral_app")
    held = [await asyncpg.connect(url) for _ in range(14)]

    found = await only(patient, "connections")

    for each in held:
        await each.close()
    # Ten connections of four roles in two processes do not fit into seventeen.
    assert (before.state, before.fix and before.fix[:22]) == ("warning", "Set connection_limit=2")
    assert (found.state, "of 17 connections are used: soon" in found.cause) == ("warning", True)


@pytest.mark.parametrize(
    ("role", "said"),
    [
        ("SUPERUSER", "is a superuser"),
        ("BYPASSRLS", "has BYPASSRLS"),
        ("IN ROLE viral_owner", "is a member of viral_owner"),
    ],
)
async def test_a_role_that_passes_row_security_is_an_error(
    patient: Patient, cluster: Cluster, role: str, said: str
) -> None:
    make = f"CREATE ROLE strong LOGIN PASSWORD 'strong' {role}"
    grant = f"GRANT CONNECT ON DATABASE {patient.app and patient.app.database} TO strong"
    await cluster.execute_as_admin("postgres", make, grant)

    try:
        found = await only(
            with_app(patient, lambda url: url.for_role("strong", "strong")), "app_role"
        )
    finally:
        revoke = grant.replace("GRANT", "REVOKE").replace(" TO ", " FROM ")
        await cluster.execute_as_admin("postgres", revoke, "DROP ROLE strong")

    assert found.state == "error"
    assert said in found.cause


@pytest.mark.parametrize(
    ("change", "undo", "said"),
    [
        (
            "ALTER ROLE viral_worker BYPASSRLS",
            "ALTER ROLE viral_worker NOBYPASSRLS",
            "viral_worker passes row security",
        ),
        (
            "GRANT viral_owner TO viral_signin",
            "REVOKE viral_owner FROM viral_signin",
            "viral_signin is a member of viral_owner, not of nothing",
        ),
        ("ALTER ROLE viral_owner LOGIN", "ALTER ROLE viral_owner NOLOGIN", "owner may log in"),
    ],
)
async def test_roles_that_are_not_as_they_were_made_are_named(
    patient: Patient, cluster: Cluster, change: str, undo: str, said: str
) -> None:
    await cluster.execute_as_admin("postgres", change)

    try:
        found = await only(patient, "roles")
    finally:
        await cluster.execute_as_admin("postgres", undo)

    assert found.state == "error"
    assert said in found.cause


async def test_statements_that_others_could_read_are_told(
    patient: Patient, cluster: Cluster
) -> None:
    hidden = await only(patient, "statements")
    role = "ALTER ROLE viral_app SET track_activities"
    await cluster.execute_as_admin("postgres", f"{role} = on")

    try:
        shown = await only(patient, "statements")
    finally:
        await cluster.execute_as_admin("postgres", f"{role} = off")

    assert (hidden.state, shown.state) == ("ok", "warning")
    assert "set_config" in shown.cause


async def test_a_pending_migration_is_an_error(use: Use, cluster: Cluster) -> None:
    await cluster.execute_as_admin(
        "postgres",
        "CREATE DATABASE unmigrated OWNER viral_owner",
        "GRANT CONNECT ON DATABASE unmigrated TO viral_migrator, viral_app",
    )
    patient = use(
        DATABASE_URL=cluster.server.url("viral_app", "unmigrated"),
        DIRECT_URL=cluster.server.url("viral_migrator", "unmigrated"),
    )

    found = await only(patient, "migrations")

    await cluster.execute_as_admin("postgres", "DROP DATABASE unmigrated WITH (FORCE)")
    assert (found.state, found.fix) == ("error", "viral migrate deploy")
    assert "0001" in found.cause


async def test_a_table_without_row_security_is_named(
    patient: Patient, cluster: Cluster, database_name: str
) -> None:
    await cluster.execute_as_admin(
        database_name, "ALTER TABLE public.concepts DISABLE ROW LEVEL SECURITY"
    )

    found = await only(patient, "row_security")

    assert (found.state, found.fix) == ("error", "viral validate --db")
    assert "concepts" in found.cause


async def test_a_former_context_key_is_to_be_retired(
    patient: Patient, alice: TestTenant, cluster: Cluster
) -> None:
    keys = cluster.secrets.context

    def begun(found: ContextKeys) -> ContextKeys:
        return replace(found, former=replace(found.current, id=9))

    before = await only(patient, "context_keys")
    cluster.secrets.change_context(begun)
    try:
        found = await only(patient, "context_keys")
    finally:
        cluster.secrets.change_context(lambda _: keys)

    assert before.cause == f"Key {keys.current.id} for all 1 tenants."
    assert (found.state, found.fix) == ("warning", "viral keys retire --context")
    assert alice.id


async def test_files_of_keys_that_others_read_are_an_error(use: Use, tmp_path: Path) -> None:
    home = tmp_path / "home"
    Secrets.load_or_create(home)
    (home / "secrets.json").chmod(0o644)

    found, left_out = await only(use(home), "files"), await only(use(home), "passwords")

    assert (found.state, found.fix) == ("error", f"chmod 600 {home / 'secrets.json'}")
    assert "0644" in found.cause
    assert (left_out.state, "other users" in left_out.cause) == ("skipped", True)


async def test_passwords_are_due_after_a_quarter(patient: Patient) -> None:
    late = replace(patient, clock=lambda: datetime.now(UTC) + timedelta(days=91))

    young, old = await only(patient, "passwords"), await only(late, "passwords")

    assert young.state == "ok"
    assert (old.state, "91 days old" in old.cause) == ("warning", True)
    assert old.fix == "viral keys rotate --roles --admin-url URL"


async def test_a_misspelt_setting_is_named(use: Use, tmp_path: Path) -> None:
    (tmp_path / ".env.local").write_text("VIRAL_BAKCUP_URL=/mnt\n")

    found = await only(use(VIRAL_HOEM="/tmp"), "settings")

    assert "VIRAL_BAKCUP_URL, VIRAL_HOEM" in found.cause


async def test_settings_that_cannot_be_read_are_the_one_error(use: Use) -> None:
    findings = await examine(use(VIRAL_PORT="many"), all_checks())

    assert {finding.state for finding in findings} == {"skipped", "error"}
    assert [finding.check for finding in findings if finding.state == "error"] == ["settings"]


@pytest.mark.parametrize(
    ("app", "direct", "said"),
    [
        ("postgresql://viral_app:p@127.0.0.1:6432/v", None, "DIRECT_URL is not set"),
        (
            "postgresql://viral_app:p@127.0.0.1:1/v",
            "postgresql://viral_migrator:p@127.0.0.1:6432/v",
            "DIRECT_URL leads to a pooler",
        ),
        ("postgresql://viral_app:p@db.invalid/v", None, "does not ask for TLS"),
        ("postgresql://me:p@127.0.0.1:1/v", None, "as me, not as viral_app"),
    ],
)
async def test_the_form_of_addresses_is_judged(
    use: Use, app: str, direct: str | None, said: str
) -> None:
    variables = {"DATABASE_URL": app} | ({"DIRECT_URL": direct} if direct else {})

    findings = await look(use(**variables), "urls")

    assert said in findings[0].cause


async def test_a_pooler_that_is_not_there_is_an_error(patient: Patient) -> None:
    gone = with_app(patient, lambda url: replace(url, port=free_port(), is_pooled=True))

    found = await only(gone, "pooler")

    assert (found.state, "nothing listens there" in found.cause) == ("error", True)


async def test_transactions_that_nobody_ends_are_told(
    own: Server, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "TOO_LONG", timedelta(0))
    holder = await asyncpg.connect(own.url("viral_system"))
    await holder.execute("BEGIN")
    admin = await as_admin(own)
    await admin.execute("BEGIN; SELECT 1; PREPARE TRANSACTION 'left'")

    findings = await look(use(own.home), "transactions")

    await admin.execute("ROLLBACK PREPARED 'left'")
    await admin.close()
    await holder.close()
    said = " ".join(finding.cause for finding in findings)
    assert "1 prepared transactions" in said
    assert "(viral_system) are idle" in said


@pytest.mark.parametrize(("off_s", "state"), [(0, "ok"), (10, "warning"), (-3600, "error")])
async def test_a_clock_that_is_off_is_told(patient: Patient, off_s: int, state: str) -> None:
    off = replace(patient, clock=lambda: datetime.now(UTC) + timedelta(seconds=off_s))

    assert (await only(off, "clock")).state == state


async def test_a_worker_that_is_silent_is_told(
    patient: Patient, cluster: Cluster, database_name: str
) -> None:
    heard = "INSERT INTO job_workers (id, heartbeat_at) VALUES (gen_random_uuid(), {})"

    never = await only(patient, "worker")
    await cluster.execute_as_admin(database_name, heard.format("now() - interval '5 min'"))
    silent = await only(patient, "worker")
    await cluster.execute_as_admin(database_name, heard.format("now()"))
    at_work = await only(patient, "worker")

    assert (never.state, silent.state, at_work.state) == ("warning", "warning", "ok")
    assert "silent for 30" in silent.cause


async def test_a_disk_without_room_is_an_error(
    own: Server, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await only(use(own.home), "disk")
    monkeypatch.setattr(storage, "OUT_BYTES", 1 << 60)

    found = (await look(use(own.home), "disk"))[0]

    assert (before.state, found.state) == ("ok", "error")


async def test_wal_that_was_dropped_and_a_missing_archive_are_told(own: Server, use: Use) -> None:
    marker = own.installation.spool / GAP
    whole = await only(use(own.home), "archive")
    marker.write_text("000000010000000000000007\n")

    try:
        dropped = await only(use(own.home), "archive")
    finally:
        marker.unlink()
    off = await only(use(own.home, VIRAL_ARCHIVE="false"), "archive")

    assert (whole.state, dropped.state, off.state) == ("ok", "error", "warning")
    assert "000000010000000000000007" in dropped.cause
    assert dropped.fix == "viral backup create --full"


async def test_backups_that_are_missing_old_or_unverified_are_told(own: Server, use: Use) -> None:
    ring = KeyFile.load_or_create(own.home, may_create=True)
    patient = use(own.home)
    none = await only(patient, "backups")
    target = LocalFolder(own.home / "backups")
    backup = await create_backup(
        own, target, ring, kind="full", advance=lambda _step, _done, _total: None
    )

    fresh = await only(patient, "backups")
    late = replace(patient, clock=lambda: datetime.now(UTC) + timedelta(days=5))
    old = await only(late, "backups")
    sealed = next((own.home / "backups").rglob("base.tar.sealed"))
    os.truncate(sealed, 100)
    broken = await only(patient, "backups")

    assert "There is none" in none.cause
    assert (fresh.state, fresh.fix) == ("warning", "viral backup verify")
    assert backup.id in fresh.cause
    assert "5 days old" in old.cause
    assert (broken.state, "base.tar" in broken.cause) == ("error", True)


async def test_a_replica_that_follows_nobody_is_told(
    patient: Patient, use: Use, cluster: Cluster, database_name: str
) -> None:
    assert patient.direct
    found = await only(use(REPLICA_URL=cluster.server.url("viral_app", database_name)), "replica")

    assert (found.state, "follows nobody" in found.cause) == ("warning", True)


async def test_with_the_server_down_it_says_what_it_could_not_look_at(
    own: Server, tmp_path: Path
) -> None:
    shell = Shell({**os.environ, "VIRAL_HOME": str(own.home)}, tmp_path)

    await own.stop()
    try:
        table = await asyncio.to_thread(shell.viral, "doctor")
        document = await asyncio.to_thread(shell.viral, "doctor", "--json", "--only", "migrations")
    finally:
        await own.start()

    assert (table.code, document.code) == (1, 0)
    assert "nothing listens there" in table.out
    assert "fix: Start it: `viral up`" in table.out
    (migrations,) = document.document
    assert migrations["state"] == "skipped"
    assert "Can't reach the database server" in migrations["cause"]


async def test_where_nothing_was_started_nothing_is_made(tmp_path: Path, use: Use) -> None:
    home = tmp_path / "nothing"

    findings = await examine(use(home), all_checks())
    assert not home.exists()
    assert "viral up" in {finding.fix for finding in findings}
