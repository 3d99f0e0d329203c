"""Measures what isolation costs: python bench/isolation.py [--json FILE].

One request is the tenant's context, its newest concepts, and an upsert. It runs through the
product's own session as viral_app, and without row security through a plain session with the
tenant in the WHERE clause: same server, same rows, same driver, same pool, same statements.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from secrets import token_hex
from statistics import median, quantiles
from time import perf_counter
from typing import TYPE_CHECKING

import asyncpg
import msgspec
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import selectinload

from viral.database import migrate
from viral.database.encryption.keys import KeyFile
from viral.database.engine import Database
from viral.database.secrets import Secrets
from viral.database.urls import ServerUrl, parse_url
from viral.features.generations.concepts import newest_concepts
from viral.features.tenants import create_tenant
from viral.postgres.account import ROOT_STATE
from viral.postgres.bootstrap import DATABASE, bootstrap
from viral.postgres.installation import load_installation
from viral.postgres.server import Server
from viral.schema.base import uuid7
from viral.schema.content import Concept
from viral.schema.learning import ReflexionInsight
from viral.schema.tables import METADATA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from uuid import UUID

    from sqlalchemy import Select
    from sqlalchemy.dialects.postgresql import Insert

# The least share of the plain throughput that isolation may leave.
TARGET = 0.85
TENANTS, CONCEPTS, INSIGHTS = 50, 400, 100
PAGE = 20
CLIENTS = (1, 8)
# Slices are short, so that other load on the machine meets both sides alike.
ROUNDS, TURNS, SLICE_S, WARM_UP_S = 7, 4, 0.25, 1.5
PLAIN = "bench_plain"
ROWS = Path(__file__).with_name("isolation.sql")


@dataclass(frozen=True, slots=True)
class Installation:
    """A server of the benchmark's own."""

    home: Path
    server: Server
    secrets: Secrets
    admin: ServerUrl

    def url(self, role: str) -> ServerUrl:
        return parse_url(self.server.url(role, DATABASE))

    async def execute(self, database: str, *statements: str) -> None:
        """Run statements as superuser; the time they take is not limited."""
        admin = self.admin
        connection = await asyncpg.connect(
            host=admin.host,
            port=admin.port,
            user=admin.user,
            password=admin.password,
            database=database,
        )
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two ways to the same rows; `is_filtered` says that the query names the tenant."""

    name: str
    session: Callable[[UUID], AbstractAsyncContextManager[AsyncSession]]
    is_filtered: bool

    async def request(self, tenant_id: UUID, key: str) -> None:
        """List the newest concepts with their predictions and store an insight."""
        statement = newest(tenant_id if self.is_filtered else None)
        async with self.session(tenant_id) as session:
            concepts = (await session.scalars(statement)).all()
            await session.execute(upsert(tenant_id, key))
        assert len(concepts) == PAGE


Sides = tuple[Side, Side]


@dataclass(slots=True)
class Figures:
    """What was counted with a number of clients; `ratios` holds one figure a round."""

    per_second: dict[str, list[float]] = field(default_factory=dict)
    times_s: dict[str, list[float]] = field(default_factory=dict)
    ratios: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return median(self.ratios)


def newest(tenant_id: UUID | None) -> Select[Concept]:
    """Select what `newest_concepts` does; `_check` compares the two."""
    statement = select(Concept).where(Concept.origin == "generated")
    if tenant_id is not None:
        statement = statement.where(Concept.tenant_id == tenant_id)
    return (
        statement.options(selectinload(Concept.predictions))
        .order_by(Concept.created_at.desc(), Concept.id.desc())
        .limit(PAGE)
    )


def upsert(tenant_id: UUID, key: str) -> Insert:
    """Insert an insight, or refresh the one there is."""
    statement = insert(ReflexionInsight).values(
        id=uuid7(),
        tenant_id=tenant_id,
        category="food",
        platform="tiktok",
        pattern_key=key,
        pattern="Questions work",
        impact="positive",
        effect_size=4.0,
        low=2.0,
        high=6.0,
        recommendation="Open with a question",
    )
    return statement.on_conflict_do_update(
        index_elements=["tenant_id", "category", "platform", "pattern_key"],
        set_={
            "evidence_count": ReflexionInsight.evidence_count + 1,
            "effect_size": statement.excluded.effect_size,
        },
    )


async def main(arguments: list[str]) -> int:
    """Print the table; 1 when the target is missed."""
    parser = argparse.ArgumentParser(description="Measures what isolation costs.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE too")
    options = parser.parse_args(arguments)
    async with AsyncExitStack() as stack:
        _say("Starting a server of its own ...")
        installation = await stack.enter_async_context(running_server())
        _say(f"Writing {TENANTS} tenants with {CONCEPTS} concepts each, twice ...")
        tenants = await fill(installation)
        plain = await copy_without_security(installation)
        sides = (
            await stack.enter_async_context(isolated_side(installation)),
            await stack.enter_async_context(plain_side(plain)),
        )
        await _check(*sides, tenants[0])
        figures = await measure(sides, tenants)
    print_figures(figures)
    if options.json:
        options.json.write_text(json.dumps(_document(figures), indent=2) + "\n", encoding="utf-8")
    return int(min(each.ratio for each in figures.values()) < TARGET)


@asynccontextmanager
async def running_server() -> AsyncIterator[Installation]:
    """Have a server with roles and tables; it is gone with all its files at the end."""
    home = Path(tempfile.mkdtemp(prefix="viral-bench-"))
    secrets = Secrets.load_or_create(home)
    server = Server(home=home, secrets=secrets)
    try:
        address = await server.start()
        password = secrets.password("viral_admin")
        admin = ServerUrl(
            host=str(address.socket_dir),
            port=address.port,
            user="viral_admin",
            password=password,
            database="postgres",
        )
        installation = Installation(home, server, secrets, admin)
        # Waiting for the disk is the same on both sides and would hide the difference.
        await installation.execute(
            "postgres", "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"
        )
        await bootstrap(admin, secrets)
        await migrate.deploy(installation.url("viral_migrator"))
        yield installation
    finally:
        await server.stop()
        found = load_installation(home)
        if found is not None and found.state.is_relative_to(ROOT_STATE):
            shutil.rmtree(found.state)
        shutil.rmtree(home)


async def fill(installation: Installation) -> list[UUID]:
    """Make the tenants through the product, their rows in SQL; return the tenants."""
    secrets = installation.secrets
    system = Database(installation.url("viral_system"), context_key=lambda: secrets.context_key)
    async with system.session_without_tenant() as session:
        tenants = [
            await create_tenant(session, slug=f"tenant-{number}", tier="AGENCY", secrets=secrets)
            for number in range(TENANTS)
        ]
    await system.close()
    await installation.execute(DATABASE, ROWS.read_text("utf-8"), "VACUUM ANALYZE")
    return tenants


async def copy_without_security(installation: Installation) -> ServerUrl:
    """Copy the database file by file, without row security; return the way of its plain owner."""
    password = token_hex()
    await installation.execute(
        "postgres",
        f"CREATE ROLE {PLAIN} LOGIN PASSWORD '{password}'",
        # Limits of the app that have nothing to do with isolation.
        f"ALTER ROLE {PLAIN} SET statement_timeout = '30s'",
        f"ALTER ROLE {PLAIN} SET lock_timeout = '10s'",
        f"ALTER ROLE {PLAIN} SET idle_in_transaction_session_timeout = '60s'",
        f"CREATE DATABASE {PLAIN} TEMPLATE {DATABASE} OWNER {PLAIN}",
    )
    await installation.execute(
        PLAIN,
        f"GRANT USAGE ON SCHEMA public TO {PLAIN}",
        *(
            f"ALTER TABLE {table.fullname} {change}"
            for table in METADATA.sorted_tables
            for change in ("DISABLE ROW LEVEL SECURITY", f"OWNER TO {PLAIN}")
        ),
        "CHECKPOINT",
    )
    return installation.url("viral_app").for_role(PLAIN, password).for_database(PLAIN)


@asynccontextmanager
async def isolated_side(installation: Installation) -> AsyncIterator[Side]:
    """Open the app's database as the product does, with everything on."""
    secrets = installation.secrets
    database = Database(
        installation.url("viral_app"),
        context_key=lambda: secrets.context_key,
        field_keys=KeyFile.load_or_create(installation.home, may_create=True),
    )
    try:
        yield Side("isolated", database.tenant_session, is_filtered=False)
    finally:
        await database.close()


@asynccontextmanager
async def plain_side(url: ServerUrl) -> AsyncIterator[Side]:
    """Open the copy with the pool and the JSON of the product, and nothing of its isolation."""
    engine = create_async_engine(
        url.sqlalchemy,
        connect_args=url.connect_args,
        pool_size=url.pool_size,
        max_overflow=0,
        pool_timeout=url.pool_timeout_s,
        pool_pre_ping=True,
        json_serializer=lambda value: msgspec.json.encode(value).decode(),
        json_deserializer=msgspec.json.decode,
        hide_parameters=True,
    )
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    try:
        yield Side("plain", lambda _tenant_id: sessions.begin(), is_filtered=True)
    finally:
        await engine.dispose()


async def measure(sides: Sides, tenants: list[UUID]) -> dict[int, Figures]:
    """Run both sides in turn, with every number of clients; return the figures of each."""
    figures = {clients: Figures() for clients in CLIENTS}
    for clients in CLIENTS:
        for side in sides:
            await run(side, tenants, clients=clients, seconds=WARM_UP_S)
    for number in range(ROUNDS):
        _say(f"Round {number + 1} of {ROUNDS} ...")
        for clients, found in figures.items():
            await _round(sides, tenants, found, clients=clients, is_swapped=number % 2 == 1)
    return figures


async def _round(
    sides: Sides, tenants: list[UUID], figures: Figures, *, clients: int, is_swapped: bool
) -> None:
    first, second = reversed(sides) if is_swapped else sides
    done = dict.fromkeys((side.name for side in sides), 0)
    took_s = dict.fromkeys(done, 0.0)
    # First, second, second, first: what grows or shrinks steadily meets both alike.
    for side in (first, second, second, first) * TURNS:
        begin = perf_counter()
        times = await run(side, tenants, clients=clients, seconds=SLICE_S)
        # To the last answer: a slice does not end in the middle of a request.
        took_s[side.name] += perf_counter() - begin
        figures.times_s.setdefault(side.name, []).extend(times)
        done[side.name] += len(times)
    isolated, plain = (done[side.name] / took_s[side.name] for side in sides)
    for side, per_second in zip(sides, (isolated, plain), strict=True):
        figures.per_second.setdefault(side.name, []).append(per_second)
    figures.ratios.append(isolated / plain)


async def run(side: Side, tenants: list[UUID], *, clients: int, seconds: float) -> list[float]:
    """Send requests of random tenants; return how long each took, in seconds."""
    times: list[float] = []
    end = perf_counter() + seconds

    async def client(rng: Random) -> None:
        while (begin := perf_counter()) < end:
            await side.request(rng.choice(tenants), f"pattern {rng.randint(1, INSIGHTS)}")
            times.append(perf_counter() - begin)

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(client(Random(number)))  # noqa: S311 - which rows, no secret
    return times


def print_figures(figures: dict[int, Figures]) -> None:
    """Print a row for each side and number of clients, and the ratios."""
    print("clients  side      requests/s  median ms  p95 ms")
    for clients, found in figures.items():
        for name, per_second in found.per_second.items():
            middle, late = _quantiles_ms(found.times_s[name])
            print(f"{clients:7}  {name:8}  {median(per_second):10.0f}  {middle:9.2f}  {late:6.2f}")
    ratios = "; ".join(
        f"{found.ratio:.3f} with {clients} client{'s' * (clients > 1)}"
        f" ({min(found.ratios):.3f} to {max(found.ratios):.3f})"
        for clients, found in figures.items()
    )
    print(f"ratio {ratios} (target >= {TARGET})")


def _document(figures: dict[int, Figures]) -> dict[str, object]:
    return {
        "target": TARGET,
        "clients": {
            str(clients): {
                "ratio": found.ratio,
                "ratios": found.ratios,
                "requests_per_second": found.per_second,
                "median_and_p95_ms": {
                    name: _quantiles_ms(times) for name, times in found.times_s.items()
                },
            }
            for clients, found in figures.items()
        },
    }


def _quantiles_ms(times_s: list[float]) -> tuple[float, float]:
    cuts = quantiles(times_s, n=20)
    return cuts[9] * 1000, cuts[18] * 1000


async def _check(isolated: Side, plain: Side, tenant_id: UUID) -> None:
    """Stop unless one side has row security, the other has none, and both list the same."""
    counted, listed = [], []
    for side in (isolated, plain):
        async with side.session(tenant_id) as session:
            # As text: the product adds no predicate of its own here.
            counted.append(await session.scalar(text("SELECT count(*) FROM concepts")))
            own = (await session.scalars(newest(tenant_id if side.is_filtered else None))).all()
            listed.append([concept.id for concept in own])
    assert counted == [CONCEPTS, CONCEPTS * TENANTS], counted
    async with isolated.session(tenant_id) as session:
        listed.append([each.id for each in await newest_concepts(session, limit=PAGE)])
    assert listed[0] == listed[1] == listed[2], "the sides list different concepts"


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(sys.argv[1:])))
    except KeyboardInterrupt:
        sys.exit(130)
