"""Generate again after every save: each time in a fresh process that was started before it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from watchfiles import PythonFilter, watch

from viral.database.generate.sources import SOURCES, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# A save is seen within a step; an editor that writes several files at once is waited for.
STEP_MS = 50
LONGEST_WAIT_MS = 300
# Nothing of ours may be loaded before the save; these take most of the time, and stay the same.
LIBRARIES = (
    "alembic",
    "asyncpg",
    "jinja2",
    "litestar.openapi",
    "litestar.response",
    "msgspec",
    "pydantic_settings",
    "rich.table",
    "sqlalchemy.ext.asyncio",
    "structlog",
    "typer",
)
PROGRAM = f"""
import runpy, sys, {", ".join(LIBRARIES)}
if sys.stdin.readline():
    runpy.run_module("viral", run_name="__main__")
"""


class _Standby:
    """A process that has loaded the libraries and waits for the word to run one command."""

    def __init__(self, arguments: Sequence[str]) -> None:
        # -B: compiled files are told apart by the second, and two saves can lie in one.
        # A session of its own: Ctrl-C ends the watching, not a file that is half written.
        self._process = subprocess.Popen(
            [sys.executable, "-B", "-P", "-c", PROGRAM, *arguments],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self) -> None:
        """Run the command to its end."""
        self._process.communicate(b"\n")

    def dismiss(self) -> None:
        """End without having run anything."""
        self._process.communicate()


def generate_on_save(arguments: Sequence[str], say: Callable[[str], None]) -> None:
    """Run `viral ARGUMENTS` at once and after every save, until Ctrl-C or SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    standby = _Standby(arguments)
    say(f"Watching {' and '.join(map(shown, SOURCES))}; Ctrl-C ends it.")
    is_first = True
    # Waking at every step makes the first run begin when watching has begun: no save is missed.
    for saved in watch(
        *SOURCES,
        watch_filter=PythonFilter(),
        debounce=LONGEST_WAIT_MS,
        step=STEP_MS,
        rust_timeout=STEP_MS,
        yield_on_timeout=True,
        stop_event=stop,
    ):
        if saved or is_first:
            for path in sorted({path for _, path in saved}):
                say(f"saved {shown(Path(path))}")
            standby.run()
            standby = _Standby(arguments)
            is_first = False
    standby.dismiss()
