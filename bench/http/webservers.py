"""Who is measured: a process of each on a port of its own, over the same rows."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from viral.database import migrate
from viral.database.encryption.keys import KeyFile
from viral.database.engine import Database
from viral.database.tenancy import token_hash
from viral.database.urls import parse_url
from viral.features.generations import listing
from viral.features.tenants import create_tenant
from viral.features.users.api_keys import create_key
from viral.features.users.members import add_member
from viral.features.users.sessions import make_sign_in_link, open_session
from viral.postgres.bootstrap import DATABASE
from viral.postgres.branches.clone import administering
from viral.schema.tenants import User

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from viral.postgres.server import Server

FOLDER = Path(".bench/http").absolute()
HERE = Path(__file__).parent
OURS, BARE, USUAL = "ours", "Starlette", "FastAPI"
# Ours, with every page made anew.
ANEW = "anew"
EVERYBODY = (OURS, ANEW, BARE, USUAL)
TENANTS = 50
ROLE = "bench"
STARTS_WITHIN_S = 30
# All of them are counted; none is to be refused.
UNREACHED = "10000000"


@dataclass(frozen=True, slots=True)
class Ground:
    """A server with rows, and a key of each tenant."""

    server: Server
    keys: list[str] = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Contender:
    """A web server that runs."""

    name: str
    port: int
    pid: int

    def cpu_s(self) -> float:
        """Tell what the process has used so far; 0 where the system does not say so."""
        try:
            text = Path(f"/proc/{self.pid}/stat").read_text("utf-8")
        except OSError:
            return 0.0
        # After the name, which may hold spaces: the 14th and the 15th of proc_pid_stat(5).
        fields = text.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def prepare(server: Server) -> Ground:
    """Make tenants with a key each, all of their rows, and the role of the others."""
    await migrate.deploy(parse_url(server.url("viral_migrator", DATABASE)))
    keys = await _tenants(server)
    password = token_hex()
    async with administering(server.socket_url("viral_admin", DATABASE)) as admin:
        await admin.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{password}'")
        for name in ("rows.sql", "peers.sql"):
            await admin.execute((HERE / name).read_text("utf-8"))
        # The worker does so, and none runs here.
        await admin.execute("SELECT viral.make_partitions()")
        await admin.execute("VACUUM ANALYZE")
    # In production none are made up.
    KeyFile.load_or_create(server.home, may_create=True)
    return Ground(server, keys, password)


async def _tenants(server: Server) -> list[str]:
    secrets, keys = server.secrets, []
    system, app = (
        Database(parse_url(server.url(role, DATABASE)), context_key=lambda: secrets.context_key)
        for role in ("viral_system", "viral_app")
    )
    for number in range(TENANTS):
        async with system.session_without_tenant() as session:
            tenant_id = await create_tenant(
                session, slug=f"bench-{number}", tier="AGENCY", secrets=secrets
            )
            person = User(email=f"bench-{number}@example.com")
            session.add(person)
            await session.flush()
            await add_member(session, tenant_id=tenant_id, user_id=person.id, role="ADMIN")
            now = datetime.now(UTC)
            link = await make_sign_in_link(session, tenant_id=tenant_id, user_id=person.id, now=now)
        async with app.session_without_tenant() as session:
            token = (await open_session(session, link)).token
        async with app.tenant_session(tenant_id) as session:
            _, key = await create_key(
                session,
                token_hash(token),
                name="bench",
                scopes=["read"],
                expires_at=None,
                now=now,
                pepper=secrets.pepper,
            )
        keys.append(key)
    await app.close()
    await system.close()
    return keys


@asynccontextmanager
async def running(name: str, ground: Ground) -> AsyncIterator[Contender]:
    """Have the server of a contender run; what it logs lies beside the figures."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    program, environment = _program(name, ground, port)
    with (FOLDER / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *program, env=os.environ | environment, stdout=log, stderr=log
        )
    try:
        await _answering(name, process, port)
        yield Contender(name, port, process.pid)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _program(name: str, ground: Ground, port: int) -> tuple[tuple[str, ...], dict[str, str]]:
    server = ground.server
    if name in (OURS, ANEW):
        limits = ("KEY", "USER", "TENANT", "ADDRESS")
        return (sys.executable, "-m", "viral", "web"), {
            "VIRAL_ENVIRONMENT": "production",
            "VIRAL_HOME": str(server.home),
            "VIRAL_PORT": str(port),
            **({"VIRAL_PAGE_CACHE_MB": "0"} if name == ANEW else {}),
            "DATABASE_URL": server.url("viral_app", DATABASE),
            "DIRECT_URL": server.url("viral_migrator", DATABASE),
            **{f"VIRAL_{each}_REQUESTS": UNREACHED for each in limits},
        }
    url = parse_url(server.url("viral_app"))
    file = HERE / "peers" / f"run_{name.lower()}.py"
    return (str(FOLDER / "venv/bin/python"), str(file)), {
        "BENCH_URL": f"postgresql://{ROLE}:{ground.password}@{url.host}:{url.port}/{DATABASE}",
        "BENCH_PORT": str(port),
        "BENCH_PEPPER": server.secrets.pepper.hex(),
        "BENCH_PAGE": listing.NEWEST,
    }


async def _answering(name: str, process: asyncio.subprocess.Process, port: int) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + STARTS_WITHIN_S
    while process.returncode is None and loop.time() < until:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
    sys.exit(f"{name} does not answer; what it said is in {FOLDER / name}.log.")
