"""How commands speak into a pipe."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
from viral.cli.output import print_table
print_table(("slug", "id"), [("a" * 60, "b" * 60), ("short", "b")])
"""


def test_in_a_pipe_every_row_of_a_table_is_one_line() -> None:
    piped = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )

    assert 3 == len(piped.stdout.splitlines())
    assert "a" * 60 in piped.stdout
