"""Who holds back vacuum: old snapshots keep the dead rows of the queue, and claims walk over them.

A row that was deleted or changed is removed once no transaction can see it any more. One that is
left open, a prepared one, or a slot that nobody reads from, keeps all of them: PostgreSQL's manual,
"Routine Vacuuming".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from viral.postgres.doctor.check import Check, Finding, looking_into, ok, warning

if TYPE_CHECKING:
    import asyncpg

    from viral.postgres.doctor.check import Patient

TOO_LONG = timedelta(minutes=5)
# Slots know since PostgreSQL 17 how long nobody has read from them.
_FIRST_WITH_SINCE = 17
_SLOTS = """
UNION ALL
SELECT 'slot', slot_name, NULL, NULL, now() - inactive_since
FROM pg_replication_slots
WHERE xmin IS NOT NULL AND NOT active AND inactive_since < now() - $1::interval
"""
# Sessions in other databases pin rows of shared catalogues only, and VACUUM pins nothing. A role
# that hides its statements hides its times as well; the server ends its transactions earlier.
_HOLDERS = """
SELECT 'session' AS kind, a.pid::text AS name, a.usename::text AS role,
       a.application_name AS application, now() - a.xact_start AS age
FROM pg_stat_activity AS a
WHERE (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL) AND a.pid <> pg_backend_pid()
  AND a.xact_start < now() - $1::interval AND a.datname = current_database()
  AND NOT EXISTS (SELECT FROM pg_stat_progress_vacuum AS v WHERE v.pid = a.pid)
UNION ALL
SELECT 'prepared', gid, owner::text, NULL, now() - prepared
FROM pg_prepared_xacts
WHERE database = current_database() AND prepared < now() - $1::interval
"""


@dataclass(frozen=True, slots=True)
class OldSnapshot:
    """Who holds back vacuum: a session by its pid, a prepared transaction or a slot by its name."""

    kind: str
    name: str
    role: str | None
    application: str | None
    age: timedelta

    def __str__(self) -> str:
        minutes = f"for {self.age / timedelta(minutes=1):,.0f} minutes"
        if self.kind == "slot":
            return f"The replication slot {self.name} was read by nobody {minutes}."
        who = f"{self.role}, {self.application}" if self.application else str(self.role)
        what = "The prepared transaction" if self.kind == "prepared" else "The transaction of pid"
        return f"{what} {self.name} ({who}) is open {minutes}."

    @property
    def fix(self) -> str:
        """What ends it."""
        if self.kind == "slot":
            return f"Start who reads from it, or SELECT pg_drop_replication_slot('{self.name}')."
        if self.kind == "prepared":
            return f"As {self.role}: ROLLBACK PREPARED '{self.name}'."
        return (
            "Let it end where it is a backup or an export; else end its program, or as a superuser"
            f" SELECT pg_terminate_backend({self.name})."
        )


async def old_snapshots(connection: asyncpg.Connection[asyncpg.Record]) -> list[OldSnapshot]:
    """Find those older than 5 minutes, the oldest first, as far as the connection's role sees."""
    has_since = connection.get_server_version().major >= _FIRST_WITH_SINCE
    query = _HOLDERS + (_SLOTS if has_since else "") + "ORDER BY age DESC"
    return [OldSnapshot(*row) for row in await connection.fetch(query, TOO_LONG)]


async def look_at_snapshots(patient: Patient) -> list[Finding]:
    """Name who keeps dead rows of the queue from being removed."""
    async with looking_into(patient.eye) as connection:
        found = await old_snapshots(connection)
    if found:
        said = "dead rows of the queue stay, and it becomes slower"
        return [
            finding
            for each in found
            for finding in warning("snapshots", f"{each} Meanwhile {said}.", each.fix)
        ]
    seen = "" if patient.embedded is not None else f" that {patient.eye.user} can see"
    return ok("snapshots", f"None{seen} is older than {TOO_LONG.seconds // 60} minutes.")


CHECKS = (Check("snapshots", look_at_snapshots, ("server",)),)
