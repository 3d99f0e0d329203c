"""Measures learning through the database: python bench/learning_database.py [--rows N].

Results of many tenants wait, and one turn takes them in: loaded, learnt for both goals with the
errors of all three views, and stored. Stated are results a second of that transaction, and of
the whole turn with every tenant's conclusions; then whether a replay gives the same bits.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from time import perf_counter, process_time
from typing import TYPE_CHECKING

from viral.adapters.offline_critic import OfflineCritic
from viral.database import migrate
from viral.database.engine import Database
from viral.database.secrets import Secrets
from viral.database.urls import parse_url
from viral.features.performance.files import ResultRow
from viral.features.performance.imports import import_results
from viral.features.reflexion.learning import apply_results
from viral.features.reflexion.replay import replay_platform
from viral.features.reflexion.run import run_reflexion
from viral.features.scoring.effects import word_hasher
from viral.features.tenants import create_tenant
from viral.postgres.bootstrap import DATABASE, bootstrap
from viral.postgres.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

# Results a second that learning has to reach.
TARGET = 2_000
TENANTS = 50
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
HASHED = word_hasher(b"a key of the benchmark")
WORDS = [f"word{number}" for number in range(2_000)]


def results(rng: Random, count: int) -> Iterator[ResultRow]:
    """Make results of videos with eight words of title and four tags each."""
    level = rng.lognormvariate(9, 1)
    for number in range(count):
        published_at = NOW - timedelta(hours=count - number)
        words = [WORDS[int(rng.paretovariate(0.7)) % len(WORDS)] for _ in range(12)]
        views = int(level * rng.lognormvariate(0, 0.6))
        yield ResultRow(
            external_id=f"v{number}",
            platform="tiktok",
            format=None,
            tenant=None,
            concept_id=None,
            published_at=published_at,
            observed_on=(published_at + timedelta(days=2)).date(),
            category=rng.choice(("food", "tech", "travel", "fitness")),
            title=" ".join(words[:8]),
            tags=tuple(words[8:]),
            duration_s=rng.randrange(8, 90),
            views=views,
            likes=int(views * rng.uniform(0.01, 0.2)),
            comments=None,
            shares=None,
            followers=int(level * 3),
            sound="original",
            hook_type=rng.choice(("question", "list", "story")),
            line=number,
        )


async def measure(home: Path, rows: int) -> bool:
    """Fill a server, take the results in, and print the figures."""
    secrets = Secrets.load_or_create(home)
    server = Server(home=home, secrets=secrets)
    await server.start()
    roles = ("viral_app", "viral_system")
    try:
        await bootstrap(server.socket_url("viral_admin"), secrets)
        await migrate.deploy(parse_url(server.url("viral_migrator", DATABASE)))
        app, system = (
            Database(parse_url(server.url(role, DATABASE)), context_key=secrets.context_key)
            for role in roles
        )
        await fill(app, system, secrets, rows)
        is_fast = await learn(app, system, rows)
        for database in (app, system):
            await database.close()
        return is_fast
    finally:
        await server.stop()
        shutil.rmtree(server.installation.state)


async def fill(app: Database, system: Database, secrets: Secrets, rows: int) -> None:
    """Import results of fifty tenants."""
    rng = Random(7)  # noqa: S311 - figures, no secret
    for number in range(TENANTS):
        async with system.session_without_tenant() as session:
            slug = f"tenant{number}"
            tenant_id = await create_tenant(
                session, slug=slug, name=slug, tier="PRO", is_demo=False, secrets=secrets
            )
        async with app.tenant_session(tenant_id) as session:
            await import_results(session, list(results(rng, rows // TENANTS)))


async def learn(app: Database, system: Database, rows: int) -> bool:
    """Take everything in, then let the tenants conclude; True where the aim is reached."""
    began, began_cpu = perf_counter(), process_time()
    async with system.session_without_tenant() as session:
        applied = await apply_results(session, "tiktok", now=NOW, hashed=HASHED)
    took, took_cpu = perf_counter() - began, process_time() - began_cpu
    report = await run_reflexion(app, system, critic=OfflineCritic(), now=NOW, hashed=HASHED)
    whole = perf_counter() - began
    per_second = applied.results / took
    print(f"{applied.results:,} of {rows:,} results learnt in {took:.2f} s ({took_cpu:.2f} s CPU)")
    print(f"{per_second:,.0f} results/s (aim {TARGET:,}); with conclusions of {report.tenants}")
    print(f"tenants {applied.results / whole:,.0f} results/s")
    began = perf_counter()
    async with system.session_without_tenant() as session:
        replay = await replay_platform(session, "tiktok", hashed=HASHED, is_check=True)
    print(
        f"replay in memory: {perf_counter() - began:.2f} s, {len(replay.differences)} differences"
    )
    return per_second >= TARGET and not replay.differences


def main() -> int:
    """Read the command line; 1 where the aim is missed."""
    parser = argparse.ArgumentParser(description="Learning through the database.")
    parser.add_argument("--rows", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="viral-bench-") as folder:
        return 0 if asyncio.run(measure(Path(folder), options.rows)) else 1


if __name__ == "__main__":
    sys.exit(main())
