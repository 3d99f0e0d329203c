"""Histories of migrations in folders of their own, and processes that deploy them.

PYTEST_DONT_REWRITE: it is imported by name before pytest takes it as a plugin.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.history import MIGRATIONS, read_history
from viral.database.urls import ServerUrl

_REVISION = '''"""A revision of a test."""

from pathlib import Path

from viral.database.steps import run_script

revision = {revision!r}
down_revision = {parent!r}
_SCRIPTS = Path(__file__).with_suffix("")


def upgrade() -> None:
    run_script(_SCRIPTS / "up.sql")


def downgrade() -> None:
    run_script(_SCRIPTS / "down.sql")
'''

_PYTHON_STEP = '''"""A revision of a test."""

from sqlalchemy import text

from viral.database.backfill import backfill, rls_suspended
from viral.database.steps import run_step

revision = {revision!r}
down_revision = {parent!r}
IRREVERSIBLE = "a test does not go back"


async def work(connection, progress):
    {body}


def upgrade():
    run_step("work", work)
'''

_FIVE_STEPS = '''"""Give videos a colour."""

from pathlib import Path

from viral.database.backfill import backfill
from viral.database.steps import run_script, run_step

revision = "five"
down_revision = {parent!r}
_SCRIPTS = Path(__file__).with_suffix("")


async def fill(connection, progress):
    await backfill(
        connection, "videos", assign="colour = 'red'", where="colour IS NULL",
        progress=progress, batch=100,
    )


def upgrade():
    run_script(_SCRIPTS / "before.sql")
    run_step("fill the colour", fill)
    run_script(_SCRIPTS / "after.sql")


def downgrade():
    run_script(_SCRIPTS / "down.sql")
'''
_BEFORE = """-- step: add the colour
ALTER TABLE videos ADD COLUMN colour text;
-- step: index the colour, outside a transaction
CREATE INDEX CONCURRENTLY ix_videos_colour ON videos (tenant_id, colour);
"""
_AFTER = """-- step: restrict the colour
ALTER TABLE videos ADD CONSTRAINT ck_videos_colour CHECK (colour IN ('red', 'blue')) NOT VALID;
-- step: validate the colour
ALTER TABLE videos VALIDATE CONSTRAINT ck_videos_colour;
"""
FIVE_STEPS = (
    "add the colour",
    "index the colour",
    "fill the colour",
    "restrict the colour",
    "validate the colour",
)
# Deploys, and holds still for ever once its progress comes to a word.
_DEPLOY = """
import asyncio, sys, time
from pathlib import Path
from viral.database import migrate
from viral.database.urls import parse_url
url, history, stop_at, ready = sys.argv[1:]
def progress(what, done, total):
    if stop_at and what.endswith(stop_at):
        Path(ready).touch()
        time.sleep(600)
waiting = lambda holder: Path(ready).write_text(holder)
print(asyncio.run(migrate.deploy(
    parse_url(url), history=Path(history), progress=progress, on_wait=waiting)))
"""


def copy_history(folder: Path) -> Path:
    """Copy the migrations of the repository."""
    return Path(shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__")))


def head(history: Path = MIGRATIONS) -> str:
    return read_history(history).revisions[-1].id


def revisions(history: Path = MIGRATIONS) -> list[str]:
    return [each.id for each in read_history(history).revisions]


def add_revision(
    history: Path, revision: str, *, up: str = "", down: str = "", parent: str | None = None
) -> Path:
    """Add a revision of two scripts to the end of a history; return its file."""
    source = _REVISION.format(revision=revision, parent=parent or head(history))
    return _add(history, revision, source, {"up": up, "down": down})


def add_python_step(history: Path, revision: str, body: str) -> Path:
    """Add a revision of one step in Python, with `connection` and `progress` at hand."""
    source = _PYTHON_STEP.format(revision=revision, parent=head(history), body=body)
    return _add(history, revision, source, {})


def edit(file: Path, old: str, new: str) -> None:
    """Change a file that somebody may have applied."""
    text_of = file.read_text()
    assert old in text_of
    file.write_text(text_of.replace(old, new))


def folder_of(revision: Path) -> Path:
    return revision.with_suffix("")


def add_five_steps(history: Path) -> Path:
    source = _FIVE_STEPS.format(parent=head(history))
    down = "ALTER TABLE videos DROP COLUMN colour;"
    return _add(history, "five", source, {"before": _BEFORE, "after": _AFTER, "down": down})


def _add(history: Path, revision: str, source: str, scripts: dict[str, str]) -> Path:
    folder = history / "versions" / f"2026_12_01_{revision}_test"
    folder.mkdir()
    for name, script in scripts.items():
        (folder / f"{name}.sql").write_text(script)
    file = folder.with_suffix(".py")
    file.write_text(source)
    return file


def start_deploy(
    url: ServerUrl, history: Path, *, ready: Path, stop_at: str = ""
) -> subprocess.Popen[str]:
    """Start a deploy; it touches `ready` where it stops, and writes there for whom it waits."""
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            _DEPLOY,
            url.libpq(password=True),
            str(history),
            stop_at,
            str(ready),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def wait_for(ready: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 30
    while not ready.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the deploy never came to that point"
        await asyncio.sleep(0.02)


async def end(process: subprocess.Popen[str]) -> None:
    """Kill a deploy as a power cut would."""
    process.kill()
    await asyncio.to_thread(process.communicate)


async def multiply_videos(admin: AsyncConnection, times: int) -> None:
    """Copy every video, with keys of their own."""
    await admin.execute(
        text(
            "INSERT INTO videos SELECT (jsonb_populate_record(v, jsonb_build_object("
            "'id', gen_random_uuid(), 'provider_job_id', gen_random_uuid()))).*"
            f" FROM videos AS v, generate_series(1, {times})"
        )
    )
    await admin.commit()


@asynccontextmanager
async def held(connection: AsyncConnection, statement: str) -> AsyncIterator[None]:
    """Hold what a statement locks."""
    await connection.rollback()
    await connection.execute(text(statement))
    yield
    await connection.rollback()


async def gone(connection: AsyncConnection) -> None:
    """Return once the server has noticed that the deploy was killed."""
    await _until(
        connection,
        "SELECT count(*) = 0 FROM pg_stat_activity"
        " WHERE application_name LIKE 'viral migrate%' AND datname = current_database()",
    )


async def waiting_for_a_lock(connection: AsyncConnection, words: str) -> None:
    """Return once a statement with these words waits for a lock."""
    await _until(
        connection,
        "SELECT count(*) > 0 FROM pg_stat_activity"
        f" WHERE wait_event_type = 'Lock' AND query LIKE '%{words}%'",
    )


async def _until(connection: AsyncConnection, query: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        is_so = await connection.scalar(text(query))
        # A transaction looks at the activity once; and CONCURRENTLY waits for open ones.
        await connection.rollback()
        if is_so:
            return
        assert time.monotonic() < deadline, f"never came true: {query}"
        await asyncio.sleep(0.02)
