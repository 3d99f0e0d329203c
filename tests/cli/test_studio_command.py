"""`viral studio` as people run it: an address, a link that works, a line for a taken port."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import Cluster, free_port
from factories import make_tenant

from viral.settings import Settings

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
async def environment(cluster: Cluster, database_name: str, tmp_path: Path) -> dict[str, str]:
    system = cluster.database("viral_system", database_name)
    await make_tenant(system, cluster.secrets, slug="alice")
    await system.close()
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    shutil.copy2(cluster.home / "secrets.json", home)
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "VIRAL_HOME": str(home),
        "VIRAL_STUDIO_PORT": str(free_port()),
        "DATABASE_URL": cluster.url("viral_app", database_name).setting(password=True),
        "DIRECT_URL": cluster.url("viral_migrator", database_name).libpq(password=True),
    }


@pytest.fixture
def running(environment: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "viral", "studio", "--tenant", "alice"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
    )
    yield process
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_studio_prints_a_link_that_opens_it_here_and_ends_cleanly(
    running: subprocess.Popen[str], environment: dict[str, str]
) -> None:
    assert running.stdout is not None
    said = "".join(running.stdout.readline() for _ in range(4))
    address = f"http://127.0.0.1:{environment['VIRAL_STUDIO_PORT']}"

    found = re.search(rf"{re.escape(address)}/sign-in\?token=[\w-]+", said)
    assert found
    with urllib.request.urlopen(found[0]) as page:
        assert "Your studio is ready" in page.read().decode()
    others = {str(each[4][0]) for each in socket.getaddrinfo(socket.gethostname(), None)}
    for other in others - {"127.0.0.1", "::1"}:
        with pytest.raises(OSError, match=r"refused|unreachable"):
            socket.create_connection((other, int(environment["VIRAL_STUDIO_PORT"])), 1)
    running.send_signal(signal.SIGINT)
    assert 0 == running.wait(20)


def test_a_taken_port_is_said_in_one_line(environment: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", int(environment["VIRAL_STUDIO_PORT"]))):
        ended = subprocess.run(
            [sys.executable, "-m", "viral", "studio"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )

    assert 1 == ended.returncode
    assert "is taken by another program" in ended.stderr
    assert "viral studio --port" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_its_port_is_5555_unless_somebody_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 5555 == Settings().studio_port
    monkeypatch.setenv("VIRAL_STUDIO_PORT", "6000")
    assert 6000 == Settings().studio_port
