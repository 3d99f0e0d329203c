"""An installation as processes see it, and the ways a worker may reach its database."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from clusters import Cluster
from ways import IS_POLLING

from viral.runtime import Runtime, open_runtime
from viral.settings import Settings


@dataclass(frozen=True)
class Installation:
    """A database as a process of the product sees it."""

    settings: Settings
    environment: dict[str, str]

    @contextmanager
    def worker(self, log: Path, *, module: str = "viral") -> Iterator[subprocess.Popen[bytes]]:
        """Run a real `viral worker`; it is gone at the end."""
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", module, "worker"],
                env=self.environment,
                stdout=file,
                stderr=file,
            )
            try:
                yield process
            finally:
                process.kill()
                process.wait(10)


@pytest.fixture(params=["polling"] if IS_POLLING else ["listening", "polling"])
def jobs_listen(request: pytest.FixtureRequest) -> bool:
    """Tell workers of new jobs, or let them look: everything holds either way."""
    return bool(request.param == "listening")


@pytest.fixture
def installation(
    cluster: Cluster,
    database_name: str,
    short_folder: Path,
    jobs_listen: bool,  # noqa: FBT001 - a fixture
) -> Installation:
    jobs_listen = jobs_listen and not IS_POLLING
    home = short_folder / "home"
    app = cluster.server.url("viral_app", database_name)
    direct = cluster.server.url("viral_migrator", database_name)
    return Installation(
        Settings(home=home, database_url=app, direct_url=direct, jobs_listen=jobs_listen),
        {
            **os.environ,
            "VIRAL_HOME": str(home),
            "DATABASE_URL": app,
            "DIRECT_URL": direct,
            "VIRAL_JOBS_LISTEN": str(jobs_listen).lower(),
            "PYTHONPATH": str(Path(__file__).parent.parent),
        },
    )


@pytest.fixture
async def runtime(installation: Installation) -> AsyncIterator[Runtime]:
    async with open_runtime(installation.settings) as opened:
        yield opened
