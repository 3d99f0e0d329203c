"""The local replica: made, ended, outrun, promoted by mistake, and let go."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from clusters import TEMPLATE, Cluster
from replicas import arrives, ask, send
from shell import Shell, environment_of

from viral.errors import ServerError
from viral.postgres import replica as replica_module
from viral.postgres.installation import load_installation
from viral.postgres.replica import (
    PASSWORD_FILE,
    ROLE,
    SETTINGS_FILE,
    SLOT,
    remove_replica,
    replica_status,
    start_replica,
)
from viral.postgres.server import Server

pytest_plugins = ["replicas"]

HAS_SLOT = f"SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{SLOT}'"


async def follows(cluster: Cluster, replica: Server) -> bool:
    """Say whether what the primary gets arrives, and nothing can be written on the replica."""
    status = await replica_status(cluster.server, replica)
    is_replica = await ask(replica, "SELECT pg_is_in_recovery()") is True
    return status.is_streaming and is_replica and await arrives(cluster, replica)


async def test_a_replica_follows_and_holds_no_password_in_its_settings(
    cluster: Cluster, replica: Server
) -> None:
    password = cluster.secrets.password(ROLE)
    state = replica.installation.state

    assert await follows(cluster, replica)
    assert password in (state / PASSWORD_FILE).read_text()
    assert (state / PASSWORD_FILE).stat().st_mode & 0o777 == 0o600
    for file in [*replica.data_dir.glob("*.conf"), replica.log_file]:
        assert password not in file.read_text()
    shown = await ask(replica, "SELECT setting FROM pg_settings WHERE name = 'primary_conninfo'")
    assert password not in str(shown)
    assert await ask(replica, "SHOW archive_mode") == "off"
    assert await ask(replica, "SHOW hot_standby_feedback") == "on"
    assert await ask(replica, "SHOW listen_addresses") == "127.0.0.1"
    assert await ask(cluster.server, "SHOW max_slot_wal_keep_size") == "1GB"


async def test_a_replica_keeps_its_port_and_comes_back_after_a_kill(
    cluster: Cluster, replica: Server
) -> None:
    port = (await replica.start()).port
    await send(replica, signal.SIGKILL)

    dead = await replica_status(cluster.server, replica)
    address = await start_replica(cluster.server, replica)

    assert (dead.is_made, dead.is_running, dead.is_streaming) == (True, False, False)
    assert (dead.slot, dead.lag_bytes) == ("reserved", None)
    assert address.port == port
    assert await follows(cluster, replica)


async def test_a_replica_is_told_where_the_primary_moved_to(
    cluster: Cluster, replica: Server
) -> None:
    await replica.stop()
    settings = replica.data_dir / SETTINGS_FILE
    settings.write_text(settings.read_text().replace(f"port={cluster.admin.port}", "port=1"))
    await replica.start()
    assert not await follows(cluster, replica)

    await start_replica(cluster.server, replica)

    assert await follows(cluster, replica)


async def test_a_replica_that_is_gone_fills_no_disk_and_can_be_let_go(
    cluster: Cluster, replica: Server
) -> None:
    await replica.stop()
    await cluster.execute_as_admin(
        "postgres",
        "ALTER SYSTEM SET max_slot_wal_keep_size = '16MB'",
        # As a restore may leave it; in the copy it would end the recovery.
        "ALTER SYSTEM SET recovery_target_time = '2020-01-01 00:00:00+00'",
        "SELECT pg_reload_conf()",
    )
    try:
        for _ in range(8):
            await cluster.execute_as_admin("postgres", "CREATE TABLE t ()", "DROP TABLE t")
            await cluster.execute_as_admin("postgres", "SELECT pg_switch_wal()")
        async with asyncio.timeout(20):
            # What is not summarized yet for incremental backups is kept a moment longer.
            while (await replica_status(cluster.server, replica)).slot != "lost":
                await cluster.execute_as_admin("postgres", "CHECKPOINT")

        with pytest.raises(ServerError, match="away for too long") as caught:
            await start_replica(cluster.server, replica)
        assert "viral replica start --again" in caught.value.hint

        installation = replica.installation
        await remove_replica(cluster.server, replica)
        assert await ask(cluster.server, HAS_SLOT) == 0
        assert not installation.state.exists()
        assert load_installation(replica.home) is None
        assert not (await replica_status(cluster.server, replica)).is_made

        await start_replica(cluster.server, replica)
        assert await follows(cluster, replica)
    finally:
        await cluster.execute_as_admin(
            "postgres",
            "ALTER SYSTEM RESET max_slot_wal_keep_size",
            "ALTER SYSTEM RESET recovery_target_time",
            "SELECT pg_reload_conf()",
        )


async def test_a_replica_that_was_promoted_is_refused_and_made_again(
    cluster: Cluster, replica: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica_module, "STREAM_TIMEOUT_S", 0.5)
    assert await ask(replica, "SELECT pg_promote()") is True

    with pytest.raises(ServerError, match="does not follow"):
        await start_replica(cluster.server, replica)
    monkeypatch.undo()
    await start_replica(cluster.server, replica, again=True)

    assert await follows(cluster, replica)


async def test_a_copy_that_fails_leaves_no_slot_and_no_folder(
    cluster: Cluster, short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Server(home=short_folder / "other", secrets=cluster.secrets)
    monkeypatch.setattr(replica_module, "ROLE", "viral_app")
    monkeypatch.setattr(replica_module, "SLOT", "of_the_other")

    with pytest.raises(ServerError, match=r"cannot be made: .*replication"):
        await start_replica(cluster.server, other)

    slots = await ask(cluster.server, HAS_SLOT.replace(SLOT, "of_the_other"))
    state = other.installation.state
    assert (slots, list(state.glob("replica.new-*"))) == (0, [])
    assert not other.data_dir.exists()
    await remove_replica(cluster.server, other)
    assert not state.exists()


async def test_the_commands_tell_what_is_and_what_to_do(
    cluster: Cluster, replica: Server, tmp_path: Path
) -> None:
    environment = environment_of(cluster, TEMPLATE)
    del environment["DATABASE_URL"], environment["DIRECT_URL"]
    shell = Shell(environment, tmp_path)

    stopped = shell.viral("replica", "stop")
    gone = shell.viral("replica", "status", "--json")
    started = shell.viral("replica", "start")
    well = shell.viral("replica", "status", "--json")

    assert (stopped.code, gone.code, started.code) == (0, 1, 0)
    assert "viral replica start" in gone.document["next"]
    assert f"REPLICA_URL={replica.url('viral_readonly', 'viral')}" in started.out
    assert (well.code, well.document["streaming"], well.document["next"]) == (0, True, None)
