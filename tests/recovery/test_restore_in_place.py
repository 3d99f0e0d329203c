"""The main server set back: its former data are kept, and both pasts can be restored."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

from pasts import ROWS, History, execute, one, silent
from servers import Homes

from viral import servers
from viral.postgres.backup.catalogue import list_backups
from viral.postgres.backup.recovery import plan_moment, read_archive
from viral.postgres.backup.restore import remove_server

pytest_plugins = ["servers", "pasts"]


async def test_in_place_the_former_data_are_kept_and_both_pasts_can_be_restored(
    history: History, homes: Homes
) -> None:
    server, identity = history.server, history.server.installation.id
    former = datetime.now(UTC)

    kept, made = await servers.restore_in_place(history.settings, at=history.moment, advance=silent)

    assert await one(server, "SELECT count(*) FROM kept") == ROWS
    assert (kept / "PG_VERSION").is_file()
    assert made.timeline == 2
    assert await one(server, "SHOW archive_command") != "true"
    catalogue = await list_backups(history.target, identity, history.ring)
    archive = await read_archive(history.target, identity, history.ring)
    assert plan_moment(catalogue, archive, former).timeline == 1
    assert plan_moment(catalogue, archive, None).backup == made
    # Without the backup that was made after it, the way leads over the fork.
    await execute(server, "CREATE TABLE after_fork()")
    shutil.rmtree(history.stored / "backups" / made.id)
    copy = await history.restore(homes.new())
    assert await one(copy, "SELECT to_regclass('after_fork')") is not None
    assert await one(copy, "SELECT to_regclass('later')") is None
    await remove_server(copy)
