"""The command `viral` as a process of its own, as people and programs run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusters import Cluster


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
        ended = subprocess.run(
            [sys.executable, "-m", "viral", *arguments],
            env={**self.environment, **environment},
            cwd=self.folder,
            input=stdin if isinstance(stdin, bytes) else stdin.encode(),
            capture_output=True,
            timeout=60,
            check=False,
        )
        answer = Answer(ended.returncode, ended.stdout.decode(), ended.stderr.decode())
        assert "Traceback" not in answer.out + answer.err
        return answer

    def file(self, name: str, content: str) -> str:
        (self.folder / name).write_text(content)
        return name


def environment_of(cluster: Cluster, database: str) -> dict[str, str]:
    """Name a database of the test server as the product's environment does."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VIRAL_")}
    return {
        **kept,
        "VIRAL_HOME": str(cluster.home),
        "DATABASE_URL": cluster.server.url("viral_app", database),
        "DIRECT_URL": cluster.server.url("viral_migrator", database),
    }
