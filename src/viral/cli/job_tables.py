"""How jobs are shown to people: tables, which a live picture can show anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from viral.features.jobs.listing import JobLine, QueueStats

_COUNTS = {
    "pending": "pending",
    "blocked": "blocked",
    "running": "running",
    "completed": "done",
    "failed": "failed",
    "canceled": "canceled",
}
# What a narrow terminal may fold. An id that is folded cannot be copied.
_FOLDED = {"type", "tenant", "failure"}
_WORDS = _FOLDED | {"id", "status"}
_MINUTE_S = 60.0
_HOUR_S = 3600.0
_DAY_S = 86_400.0


def lines_table(lines: Sequence[JobLine], *, now: datetime) -> Table:
    """Show jobs, one a line; further tries and failures only where there are any."""
    columns: dict[str, list[object]] = {
        "id": [line.id for line in lines],
        "status": [line.status for line in lines],
        "tries": [
            f"{line.attempts}/{line.max_attempts}" if line.attempts > 1 else None for line in lines
        ],
        "age": [_span((now - line.created_at).total_seconds()) for line in lines],
        "type": [line.job_type for line in lines],
        "tenant": [line.tenant for line in lines],
        "%": [line.progress if line.status == "running" else None for line in lines],
        "failure": [line.failure for line in lines],
    }
    return _table(columns, left_out={"tries", "%", "failure"})


def stats_table(stats: Sequence[QueueStats]) -> Table:
    """Show a line for each tenant and type: counts by status, the longest wait, the run times."""
    kinds = dict.fromkeys((each.tenant, each.job_type) for each in stats)
    columns: dict[str, list[object]] = {
        "tenant": [tenant for tenant, _ in kinds],
        "type": [job_type for _, job_type in kinds],
    }
    for status, title in _COUNTS.items():
        counts = {(e.tenant, e.job_type): e.jobs for e in stats if e.status == status}
        columns[title] = [f"{counts[kind]:,}" if kind in counts else None for kind in kinds]
    waits = {(e.tenant, e.job_type): e.oldest_s for e in stats if e.status == "pending"}
    columns["oldest"] = [_span(waits.get(kind)) for kind in kinds]
    done = {(e.tenant, e.job_type): e for e in stats if e.status == "completed"}
    columns["p50"] = [_span(done[kind].run_p50_s) if kind in done else None for kind in kinds]
    columns["p95"] = [_span(done[kind].run_p95_s) if kind in done else None for kind in kinds]
    return _table(columns, left_out={"blocked", "failed", "canceled"})


def picture(stats: Sequence[QueueStats], running: Sequence[JobLine], *, now: datetime) -> Group:
    """Show the counts, and below them jobs that run."""
    if not stats:
        return Group(Text("No job waits or runs, and none ended in the last hour."))
    if not running:
        return Group(stats_table(stats))
    return Group(stats_table(stats), Text(), lines_table(running, now=now))


def _table(columns: Mapping[str, Sequence[object]], *, left_out: set[str]) -> Table:
    """Show columns, but not those of `left_out` that are empty."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    shown = {
        name: cells
        for name, cells in columns.items()
        if name not in left_out or any(cell is not None for cell in cells)
    }
    for name in shown:
        side: Literal["left", "right"] = "left" if name in _WORDS else "right"
        table.add_column(name, justify=side, no_wrap=name not in _FOLDED, overflow="fold")
    for row in zip(*shown.values(), strict=True):
        table.add_row(*(Text("-" if cell is None else str(cell)) for cell in row))
    return table


def _span(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    for unit_s, unit in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min"), (1.0, "s")):
        if seconds >= unit_s:
            return f"{seconds / unit_s:.1f} {unit}"
    return f"{max(seconds, 0.0) * 1000:.0f} ms"
