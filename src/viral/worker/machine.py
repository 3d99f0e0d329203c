"""How full a machine is: processors, memory and disk, in per cent."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_MEMORY = Path("/proc/meminfo")


def machine_shares(folder: Path) -> dict[str, float]:
    """Measure this machine, with the disk of a folder; what it does not tell is left out."""
    disk = shutil.disk_usage(folder)
    shares = {"disk_pct": 100 * disk.used / (disk.used + disk.free)}
    # The mean of the last minute: runnable processes for each processor, 100 at most.
    with_processors = os.cpu_count() or 1
    if hasattr(os, "getloadavg"):
        shares["processor_pct"] = min(100.0, 100 * os.getloadavg()[0] / with_processors)
    memory = _memory_share()
    return shares if memory is None else shares | {"memory_pct": memory}


def _memory_share() -> float | None:
    """Read what is in use of the memory (Linux, proc(5)); None elsewhere."""
    try:
        lines = _MEMORY.read_text("ascii").splitlines()
    except OSError:
        return None
    figures = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
    total, available = (int(figures[name][0]) for name in ("MemTotal", "MemAvailable"))
    return 100 * (total - available) / total
