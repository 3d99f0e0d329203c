"""Where a database stands in its history, as `viral migrate status` shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from viral.cli.output import err, out, print_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.database.bookkeeping import Record
    from viral.database.catalog import Difference
    from viral.database.migrate import Status
    from viral.database.urls import ServerUrl

# Exit codes.
_PENDING = 2
_DRIFT = 3
_HALF_DONE = 4
_BETWEEN = "the database stands between two migrations"
_ASTRAY = "the files are not those that were applied"


@dataclass(frozen=True, slots=True)
class Standing:
    """What is remembered, and what differs from it; or why nobody could look for differences."""

    status: Status
    drift: list[Difference]
    unseen: str | None = None

    @property
    def exit_code(self) -> int:
        """The worst of what is found."""
        if self.status.half_done is not None:
            return _HALF_DONE
        if self.drift or self.status.broken:
            return _DRIFT
        return _PENDING if self.status.pending else 0


async def find_standing(url: ServerUrl) -> Standing:
    """Look at the database; where no shadow database can be made, without looking for drift."""
    from viral.database import migrate
    from viral.database.drift import find_drift
    from viral.errors import ShadowRefused

    status = await migrate.status(url)
    if status.half_done is not None:
        return Standing(status, [], _BETWEEN)
    if status.broken:
        return Standing(status, [], _ASTRAY)
    try:
        with err.status("Comparing the database with its migrations"):
            return Standing(status, await find_drift(url))
    except ShadowRefused as error:
        return Standing(status, [], f"{error.message.rstrip('.')}. {error.hint}".rstrip(". "))


def standing_json(standing: Standing) -> dict[str, object]:
    """Say all of it to programs; drift that was not looked for is null."""
    status = standing.status
    return {
        "current": status.current,
        "applied": status.applied,
        "pending": status.pending,
        "half_done": str(status.half_done) if status.half_done else None,
        "broken": status.broken,
        "drift": None if standing.unseen else [each.as_json() for each in standing.drift],
        "drift_not_looked_for": standing.unseen,
        "migrations": [_record_json(each) for each in status.records],
    }


def print_standing(standing: Standing) -> None:
    """Show a table of migrations, then what is wrong, each with its fix."""
    status = standing.status
    print_table(("migration", "state", "seconds", "finished (UTC)", "by"), _rows(status))
    if status.half_done:
        err.print(f"half done: {status.half_done}", markup=False, emoji=False)
        err.print("  fix: viral migrate deploy")
    for problem in status.broken:
        err.print(f"broken: {problem}", markup=False, emoji=False)
    for difference in standing.drift:
        err.print(f"drift: {difference}", markup=False, emoji=False)
    if standing.drift:
        err.print("  fix: viral migrate diff --from database --to migrations --script")
    if standing.unseen:
        err.print(f"drift was not looked for: {standing.unseen}.", markup=False, emoji=False)
    if status.pending and not status.half_done:
        out.print(f"{len(status.pending)} pending. Apply: viral migrate deploy")
    if standing.exit_code == 0:
        out.print(
            "Nothing is pending." if standing.unseen else "The database is as its migrations say."
        )


def _rows(status: Status) -> Iterator[tuple[object, ...]]:
    for each in status.records:
        finished = each.finished_at.strftime("%Y-%m-%d %H:%M") if each.finished_at else None
        yield each.name, each.state, each.duration_s, finished, each.applied_by
    known = {each.revision for each in status.records}
    for state, revisions in (("applied", status.applied), ("pending", status.pending)):
        for revision in revisions:
            if revision not in known:
                yield revision, state, None, None, None


def _record_json(record: Record) -> dict[str, object]:
    return {
        "revision": record.revision,
        "name": record.name,
        "state": record.state,
        "steps": record.steps_done,
        "duration_s": record.duration_s,
        "applied_at": record.finished_at,
        "applied_by": record.applied_by,
        "checksum": record.checksum,
    }
