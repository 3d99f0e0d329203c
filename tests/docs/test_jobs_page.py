"""The page about jobs says what is true: its code runs, its commands and metrics exist."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
import typer.core
import typer.main
from clusters import Cluster
from factories import TestTenant
from queues import until, working
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import fetch

from viral.cli.application import application
from viral.features.jobs.listing import QueueStats
from viral.runtime import open_runtime
from viral.settings import Settings
from viral.worker.handling import HANDLERS
from viral.worker.metrics import Queue

PAGE = (Path(__file__).parents[2] / "docs" / "jobs.md").read_text("utf-8")
DECLARED, PUT_IN = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


class Platform:
    """The service outside that the page's handler publishes at."""

    def __init__(self) -> None:
        self.posts: dict[str, str] = {}

    async def publish(self, video_id: UUID, *, idempotency_key: str) -> str:
        return self.posts.setdefault(idempotency_key, str(video_id))

    async def find(self, key: str) -> str | None:
        return self.posts.get(key)


@pytest.fixture
def _handlers() -> Iterator[None]:
    before = dict(HANDLERS)
    yield
    HANDLERS.clear()
    HANDLERS.update(before)


@pytest.mark.usefixtures("_handlers")
async def test_the_pages_code_declares_puts_in_and_runs_jobs(
    cluster: Cluster, database_name: str, alice: TestTenant, admin: AsyncConnection
) -> None:
    settings = Settings(
        home=cluster.home,
        database_url=cluster.server.url("viral_app", database_name),
        direct_url=cluster.server.url("viral_migrator", database_name),
    )
    scope: dict[str, object] = {"platform": Platform(), "tenant_id": alice.id}

    async def is_done() -> bool:
        open_jobs = "SELECT id FROM job_queue WHERE status <> 'completed' AND is_due"
        return await fetch(admin, open_jobs) == []

    async with open_runtime(settings) as runtime:
        scope["runtime"] = runtime
        for code in (DECLARED, f"async def put_in():\n{textwrap.indent(PUT_IN, '    ')}"):
            # Annotations as the page has them, not as this file does.
            exec(compile(code, "docs/jobs.md", "exec", dont_inherit=True), scope)
        await scope["put_in"]()  # type: ignore[operator]  # made by the line above
        async with working(runtime):
            await until(is_done)

    ended = "SELECT job_type, status, count(*) FROM job_queue GROUP BY 1, 2 ORDER BY 1, 3"
    assert await fetch(admin, ended) == [
        ("render", "pending", 1),
        ("render", "completed", 101),
        ("upload", "completed", 1),
    ]
    posts = "SELECT result FROM job_queue WHERE job_type = 'upload'"
    (((result,),), platform) = (await fetch(admin, posts), scope["platform"])
    assert isinstance(platform, Platform)
    assert [result] == [{"post": post} for post in platform.posts.values()]


def commands() -> dict[str, set[str]]:
    """Return every command with its options."""

    def walk(command: object, path: str) -> Iterator[tuple[str, set[str]]]:
        if isinstance(command, typer.core.TyperGroup):
            for name, child in command.commands.items():
                yield from walk(child, f"{path} {name}".strip())
        elif isinstance(command, typer.core.TyperCommand):
            yield path, {option for each in command.params for option in each.opts}

    return dict(walk(typer.main.get_command(application), ""))


def test_every_command_of_the_page_exists_and_none_of_jobs_is_missing() -> None:
    known = commands()
    lines = re.findall(r"(?:^\$ |`)viral ((?:[a-z]+ ?)+)([^`\n]*)", PAGE, re.MULTILINE)
    named = set()
    for words, rest in lines:
        path = max((each for each in known if f"{words.strip()} ".startswith(f"{each} ")), key=len)
        named.add(path)
        assert set(re.findall(r"--[a-z-]+", rest)) <= known[path]

    assert {path for path in known if path.startswith("jobs ")} <= named


def test_the_page_names_every_metric() -> None:
    stats = QueueStats("t", "default", "x", "pending", 1, 1.0, 1.0, 1.0)

    assert {family.name for family in Queue([stats], 1.0).collect()} == set(
        re.findall(r"^\| `(viral_\w+)`", PAGE, re.MULTILINE)
    )
