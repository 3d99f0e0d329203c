"""What the database remembers of its migrations: the current revision, and one row for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from viral.database.history import Revision

State = Literal["applying", "applied", "undoing"]

_TABLES = (
    # As Alembic makes it, so that its tools read it too.
    """
    CREATE TABLE IF NOT EXISTS viral.alembic_version (
      version_num varchar(32) NOT NULL,
      CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
    )
    """,
    "ALTER TABLE viral.alembic_version OWNER TO viral_owner",
    """
    CREATE TABLE IF NOT EXISTS viral.migrations (
      revision text PRIMARY KEY,
      name text NOT NULL,
      checksum text NOT NULL,
      state text NOT NULL CHECK (state IN ('applying', 'applied', 'undoing')),
      steps_done integer NOT NULL DEFAULT 0,
      steps_total integer NOT NULL,
      step text,
      started_at timestamptz NOT NULL DEFAULT now(),
      finished_at timestamptz,
      applied_by text NOT NULL,
      error text,
      CHECK (steps_done BETWEEN 0 AND steps_total)
    )
    """,
    "ALTER TABLE viral.migrations OWNER TO viral_owner",
    """
    COMMENT ON TABLE viral.migrations IS
    'Migrations and how far they got. No data of tenants, no grants: row security has no work here.'
    """,
)
_MISSING = """
SELECT to_regclass('viral.alembic_version') IS NULL OR to_regclass('viral.migrations') IS NULL
"""
_BEGIN = """
INSERT INTO viral.migrations (revision, name, checksum, state, steps_total, step, applied_by)
VALUES (:revision, :name, :checksum, :state, :total, :step, :by)
ON CONFLICT (revision) DO UPDATE
SET name = excluded.name, checksum = excluded.checksum, state = excluded.state, steps_done = 0,
    steps_total = excluded.steps_total, step = excluded.step, started_at = now(),
    finished_at = NULL, applied_by = excluded.applied_by, error = NULL
"""
_ADOPT = """
INSERT INTO viral.migrations (revision, name, checksum, state, steps_total, applied_by)
VALUES (:revision, :name, :checksum, 'applied', 0, :by)
"""
_RECORDS = """
SELECT revision, name, checksum, state, steps_done, steps_total, step, started_at, finished_at,
       applied_by, error
FROM viral.migrations ORDER BY started_at, revision
"""
_APPLIED = """
UPDATE viral.migrations
SET state = 'applied', steps_done = steps_total, step = NULL, finished_at = now(), error = NULL
WHERE revision = :revision
"""


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one revision; `step` is the one at work, or the one that failed."""

    revision: str
    name: str
    checksum: str
    state: State
    steps_done: int
    steps_total: int
    step: str | None
    started_at: datetime
    finished_at: datetime | None
    applied_by: str
    error: str | None

    @property
    def duration_s(self) -> float | None:
        """Seconds from the first step to the last; None where nobody measured."""
        if self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Memory:
    """The revisions that the version table names (one, unless somebody wrote there), and rows."""

    heads: tuple[str, ...]
    records: dict[str, Record]

    @property
    def current(self) -> str | None:
        """The revision that the database is at."""
        return self.heads[0] if self.heads else None

    @property
    def half_done(self) -> Record | None:
        """The revision that stopped on its way up or down."""
        return next((each for each in self.records.values() if each.state != "applied"), None)


async def ensure_bookkeeping(connection: AsyncConnection) -> None:
    """Make both tables where they are missing, in the caller's transaction, as viral_owner."""
    if await connection.scalar(text(_MISSING)):
        for statement in _TABLES:
            await connection.exec_driver_sql(statement)


async def read_memory(connection: AsyncConnection) -> Memory:
    """Read what is remembered; a database without these tables remembers nothing."""
    heads: tuple[str, ...] = ()
    records: dict[str, Record] = {}
    if await connection.scalar(text("SELECT to_regclass('viral.alembic_version') IS NOT NULL")):
        found = await connection.scalars(text("SELECT version_num FROM viral.alembic_version"))
        heads = tuple(found)
    if await connection.scalar(text("SELECT to_regclass('viral.migrations') IS NOT NULL")):
        rows = await connection.execute(text(_RECORDS))
        records = {row.revision: Record(*row) for row in rows}
    return Memory(heads, records)


async def adopt(connection: AsyncConnection, revisions: Iterable[Revision], *, by: str) -> None:
    """Write down as applied what was applied before there were rows."""
    for revision in revisions:
        await connection.execute(
            text(_ADOPT),
            {
                "revision": revision.id,
                "name": revision.name,
                "checksum": revision.checksum,
                "by": by,
            },
        )


async def begin_revision(
    connection: AsyncConnection, revision: Revision, *, state: State, steps: Sequence[str], by: str
) -> None:
    """Write down that a revision is on its way up or down, with nothing done."""
    await connection.execute(
        text(_BEGIN),
        {
            "revision": revision.id,
            "name": revision.name,
            "checksum": revision.checksum,
            "state": state,
            "total": len(steps),
            "step": steps[0] if steps else None,
            "by": by,
        },
    )


async def begin_step(connection: AsyncConnection, revision: str, *, step: str, by: str) -> None:
    """Name the step at work, and forget how it failed before."""
    await connection.execute(
        text(
            "UPDATE viral.migrations SET step = :step, applied_by = :by, error = NULL"
            " WHERE revision = :revision"
        ),
        {"revision": revision, "step": step, "by": by},
    )


async def count_step(
    connection: AsyncConnection, revision: str, *, done: int, following: str | None
) -> None:
    """Write down how many steps are done, and which one follows."""
    await connection.execute(
        text(
            "UPDATE viral.migrations SET steps_done = :done, step = :following"
            " WHERE revision = :revision"
        ),
        {"revision": revision, "done": done, "following": following},
    )


async def note_failure(connection: AsyncConnection, revision: str, *, error: str) -> None:
    """Write down why the step at work failed."""
    await connection.execute(
        text("UPDATE viral.migrations SET error = :error WHERE revision = :revision"),
        {"revision": revision, "error": error},
    )


async def finish_up(connection: AsyncConnection, revision: str) -> None:
    """Write down that a revision is applied and current."""
    await connection.execute(text(_APPLIED), {"revision": revision})
    await _set_current(connection, revision)


async def finish_down(connection: AsyncConnection, revision: str, *, parent: str | None) -> None:
    """Forget a revision: its parent is current."""
    await connection.execute(
        text("DELETE FROM viral.migrations WHERE revision = :revision"), {"revision": revision}
    )
    await _set_current(connection, parent)


async def _set_current(connection: AsyncConnection, revision: str | None) -> None:
    await connection.execute(text("DELETE FROM viral.alembic_version"))
    if revision is not None:
        await connection.execute(
            text("INSERT INTO viral.alembic_version (version_num) VALUES (:revision)"),
            {"revision": revision},
        )
