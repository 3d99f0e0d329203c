"""The server's log: kept small, and read for the reason of a failure."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_BYTES = 10_000_000
TAIL_BYTES = 65_536
REASON = re.compile(r"(?:FATAL|PANIC): +(?P<reason>.+)")


@dataclass(frozen=True, slots=True)
class LogMark:
    """A place in the log; what is asked of it concerns the lines after it."""

    path: Path
    size_bytes: int

    def tells_of_a_taken_port(self) -> bool:
        """Say whether the server gave up because another program has its port."""
        return "could not create any TCP/IP sockets" in self._text()

    def last_reason(self) -> str:
        """Give the last line that tells why the server ended."""
        lines = [line.strip() for line in self._text().splitlines() if line.strip()]
        reasons = [found["reason"] for line in lines if (found := REASON.search(line))]
        return (reasons or lines or ["it left no word in its log"])[-1].rstrip(".")

    def _text(self) -> str:
        with suppress(FileNotFoundError):
            # The folder is the server's: a link put there is not followed with our rights.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(self.size_bytes, end - TAIL_BYTES))
                return file.read().decode(errors="replace")
        return ""


def mark_log(path: Path) -> LogMark:
    """Mark the end of the log; a large one is set aside first, in place of the one before."""
    size_bytes = path.lstat().st_size if path.exists() else 0
    if size_bytes > LARGEST_BYTES:
        path.replace(path.with_name(f"{path.name}.1"))
        size_bytes = 0
    return LogMark(path=path, size_bytes=size_bytes)
