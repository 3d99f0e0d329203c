"""The command `viral` as a process of its own, as people and programs run it."""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from clusters import Cluster
from preloaded import LONGEST_S, Preloaded
from ways import SETTINGS


@dataclass(frozen=True)
class Answer:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Shell:
    """Runs `viral` as a process against one database."""

    environment: dict[str, str]
    folder: Path

    def viral(self, *arguments: str, stdin: str | bytes = "", **environment: str) -> Answer:
        with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
            given.write(stdin if isinstance(stdin, bytes) else stdin.encode())
            given.seek(0)
            code = self._run(
                arguments,
                {**self.environment, **environment},
                [given.fileno(), out.fileno(), err.fileno()],
            )
            out.seek(0)
            err.seek(0)
            answer = Answer(code, out.read().decode(), err.read().decode())
        assert "Traceback" not in answer.out + answer.err
        return answer

    def _run(
        self, arguments: Sequence[str], environment: dict[str, str], streams: list[int]
    ) -> int:
        if "PYTHONPATH" in environment:
            # A product that lies elsewhere.
            return subprocess.run(
                [sys.executable, "-m", "viral", *arguments],
                env=environment,
                cwd=self.folder,
                stdin=streams[0],
                stdout=streams[1],
                stderr=streams[2],
                timeout=LONGEST_S,
                check=False,
            ).returncode
        return preloaded().run(
            arguments, environment=environment, folder=self.folder, streams=streams
        )

    def file(self, name: str, content: str) -> str:
        (self.folder / name).write_text(content)
        return name


def environment_of(cluster: Cluster, database: str) -> dict[str, str]:
    """Name a database of the test server as the product's environment does."""
    # A key of this machine's would be paid for.
    foreign = ("VIRAL_", "ANTHROPIC_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {
        **kept,
        **SETTINGS,
        "VIRAL_HOME": str(cluster.home),
        "DATABASE_URL": cluster.server.url("viral_app", database),
        "DIRECT_URL": cluster.server.url("viral_migrator", database),
    }


@cache
def preloaded() -> Preloaded:
    """Start what forks, once; it ends with this process, whose end of the socket closes then."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        started = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("preloaded.py"))],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    atexit.register(_end, ours, started)
    return Preloaded(ours)


def _end(requests: socket.socket, started: subprocess.Popen[bytes]) -> None:
    requests.close()
    started.wait()
