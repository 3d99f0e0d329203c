"""A real Prisma client, with the guide's code, works on the same database as the product."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from clusters import Cluster
from factories import TestTenant, make_tenant
from javascript import HERE, code_of_guide, make_workspace, run
from sqlalchemy import select

from viral.database.engine import Database
from viral.schema.content import Concept, Generation
from viral.schema.tenants import QuotaEntry

# The first run installs the packages.
pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class Visit:
    """What a JavaScript program did as two tenants, and the database it did it in."""

    alice: TestTenant
    app: Database
    results: dict[str, object]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generate the client and compile the guide's code and ours, with strict types."""
    folder = make_workspace(tmp_path_factory.mktemp("client"))
    for name in ("tenant.ts", "tsconfig.json"):
        (folder / name).write_text(code_of_guide(name), "utf-8")
    (folder / "check_client.ts").write_bytes((HERE / "check_client.ts").read_bytes())
    # The downloaded engine is for migrations; with a program that fails nothing can use it.
    quiet = {"PRISMA_SCHEMA_ENGINE_BINARY": "/bin/false", "CHECKPOINT_DISABLE": "1"}
    run(folder, "npx", "prisma", "generate", "--schema", "schema.prisma", **quiet)
    run(folder, "npx", "tsc")
    return folder / "dist/check_client.js"


@pytest.fixture(scope="module")
async def visit(cluster: Cluster, module_database: str, program: Path) -> AsyncIterator[Visit]:
    # A server elsewhere in the world: what Prisma's adapter assumes of times does not hold there.
    await cluster.execute_as_admin(
        "postgres", f"ALTER DATABASE {module_database} SET timezone = 'Asia/Tokyo'"
    )
    system = cluster.database("viral_system", module_database)
    alice = await make_tenant(system, cluster.secrets, slug="alice")
    bob = await make_tenant(system, cluster.secrets, slug="bob")
    await system.close()
    request = {
        "contextKey": cluster.secrets.context_key.hex(),
        "alice": str(alice.id),
        "bob": str(bob.id),
    }
    answer = await asyncio.to_thread(
        run,
        program.parent,
        "node",
        str(program),
        stdin=json.dumps(request),
        DATABASE_URL=cluster.server.url("viral_app", module_database),
    )
    app = cluster.database("viral_app", module_database)
    yield Visit(alice, app, json.loads(answer))
    await app.close()


async def test_our_models_read_what_prisma_wrote(visit: Visit) -> None:
    async with visit.app.tenant_session(visit.alice.id) as session:
        concept, generation, entry = (
            await session.execute(
                select(Concept, Generation, QuotaEntry)
                .join(Generation, Generation.id == Concept.generation_id)
                .join(QuotaEntry, QuotaEntry.id == Generation.reservation_id)
            )
        ).one()

    assert concept.id == UUID(str(visit.results["conceptId"]))
    assert ("Soup in three minutes", [], "generated") == (
        concept.title,
        concept.script,
        concept.origin,
    )
    assert ("my-app", {}, 1) == (generation.writer, generation.settings, entry.amount)


async def test_ids_made_by_prisma_are_ordered_by_time_as_ours(visit: Visit) -> None:
    assert UUID(str(visit.results["conceptId"])).version == 7


async def test_times_are_the_same_on_both_sides(visit: Visit) -> None:
    async with visit.app.tenant_session(visit.alice.id) as session:
        post_at = await session.scalar(select(Concept.post_at))

    assert datetime(2026, 11, 22, 8, 0, 0, 123_000, tzinfo=UTC) == post_at


async def test_a_tenant_reads_its_rows_with_their_relations(visit: Visit) -> None:
    expected = {
        "title": "Soup in three minutes",
        "postAt": "2026-11-22T08:00:00.123Z",
        "generation": {"writer": "my-app"},
    }

    assert [expected] == visit.results["readByAlice"]


@pytest.mark.parametrize(
    ("attempt", "outcome"),
    [
        ("readByBob", []),
        ("writtenByBobForAlice", "42501"),
        ("withoutContext", "VT001"),
        ("withUnknownContext", "VT002"),
        ("afterATenantsTransaction", "VT001"),
    ],
)
async def test_prisma_gets_no_further_than_its_tenant(
    visit: Visit, attempt: str, outcome: object
) -> None:
    assert outcome == visit.results[attempt]


@pytest.mark.parametrize(
    ("attempt", "outcome"),
    [
        ("wholeUsers", "42501"),
        ("selectedUsers", [{"email": "alice@example.com"}]),
        ("job", "42501"),
        ("computed", {"engagementRate": 5, "isMature": True}),
        ("computedWritten", "428C9"),
        ("caughtInside", "23514"),
    ],
)
async def test_the_guide_says_what_meets_a_client(
    visit: Visit, attempt: str, outcome: object
) -> None:
    assert outcome == visit.results[attempt]
