"""The main server set back: its former data are kept, and both pasts can be restored."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

import pytest
from pasts import ROWS, History, execute, one, silent
from servers import Homes

from viral import servers
from viral.errors import BackupError
from viral.postgres.backup.catalogue import list_backups
from viral.postgres.backup.claim import IN_PLACE, claimed
from viral.postgres.backup.recovery import plan_moment, read_archive
from viral.postgres.backup.restore import remove_server
from viral.postgres.backup.wal import ship, switch

pytest_plugins = ["servers", "pasts"]

TIMELINE = "SELECT timeline_id FROM pg_control_checkpoint()"


async def test_in_place_the_former_data_are_kept_and_both_pasts_can_be_restored(
    history: History, homes: Homes
) -> None:
    server, identity = history.server, history.server.installation.id
    former = datetime.now(UTC)
    timeline = await one(server, TIMELINE)
    assert isinstance(timeline, int)

    done = await servers.restore_in_place(history.settings, at=history.moment, advance=silent)
    kept, made = done.kept, done.backup

    assert kept is not None
    assert made is not None
    assert await one(server, "SELECT count(*) FROM kept") == ROWS
    assert (kept / "PG_VERSION").is_file()
    assert made.timeline == timeline + 1
    assert await one(server, "SHOW archive_command") != "true"
    catalogue = await list_backups(history.target, identity, history.ring)
    archive = await read_archive(
        history.target, identity, history.ring, system=made.system_identifier
    )
    assert plan_moment(catalogue, archive, former).timeline == timeline
    assert plan_moment(catalogue, archive, None).backup == made
    # Without the backup that was made after it, the way leads over the fork.
    await execute(server, "CREATE TABLE after_fork()")
    shutil.rmtree(history.stored / "backups" / made.id)
    copy = await history.restore(homes.new())
    assert await one(copy, "SELECT to_regclass('after_fork')") is not None
    assert await one(copy, "SELECT to_regclass('later')") is None
    await remove_server(copy)


async def test_a_lost_server_is_restored_in_place_and_nobody_is_to_do_it_again(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The closing backup is refused, as the worker makes one; the restore is done all the same."""
    server, home = history.server, history.server.home
    await execute(server, "CREATE TABLE archived()")
    await switch(server)
    await ship(server, history.target, history.ring)
    await server.stop()
    shutil.rmtree(server.installation.state)
    monkeypatch.setattr(servers, "BACKUPS_FREE_WITHIN_S", 0.1)

    with claimed(home, "viral up"):
        done = await servers.restore_in_place(history.settings, advance=silent)

    assert done.kept is None
    assert done.backup is None
    assert "in use: viral up" in done.problem
    assert await one(server, "SELECT to_regclass('archived')") is not None


async def test_only_one_at_a_time_is_set_back(history: History) -> None:
    left = history.server.home / "restoring"
    left.mkdir()

    with (
        claimed(history.server.home, "viral backup restore --in-place", file_name=IN_PLACE),
        pytest.raises(BackupError, match="in use: viral backup restore --in-place"),
    ):
        await servers.restore_in_place(history.settings, advance=silent)

    assert left.exists()
