"""Typed SQL that writes: what it would change first, then exactly that."""

from __future__ import annotations

import asyncpg
import pytest
from clusters import Cluster
from studio import add_trends, generate

from studio_console.conftest import Ground
from viral.database.console.answers import Answer, Changed, Refusal
from viral.database.console.run import keep, rehearse
from viral.database.console.sessions import Bounds
from viral.errors import CommitLost

BOUNDS = Bounds(seconds=5)
RENAME = "UPDATE tenants SET name = 'Renamed'"


@pytest.fixture(scope="module", autouse=True)
async def _concepts(cluster: Cluster, ground: Ground) -> None:
    app = cluster.database("viral_app", ground.database)
    system = cluster.database("viral_system", ground.database)
    await add_trends(system)
    for each in (ground.alice, ground.bob):
        await generate(app, each.id, 3)
    await app.close()
    await system.close()


async def trial(ground: Ground, text: str) -> Answer | Refusal:
    return await rehearse(ground.places, text, tenant_id=ground.tenant_id, bounds=BOUNDS)


async def kept(
    ground: Ground, text: str, *expected: Changed, deed: str = "SELECT 1"
) -> Answer | Refusal:
    async def note(connection: asyncpg.Connection, _: tuple[Changed, ...]) -> None:
        await connection.execute(deed)

    return await keep(
        ground.places,
        text,
        tenant_id=ground.tenant_id,
        bounds=BOUNDS,
        expected=expected,
        deed=note,
    )


async def names(cluster: Cluster, ground: Ground) -> dict[str, str]:
    connection = await cluster.connect_as_admin(ground.database)
    try:
        rows = await connection.fetch("SELECT slug, name FROM tenants")
        return {row["slug"]: row["name"] for row in rows}
    finally:
        await connection.close()


async def test_a_trial_tells_what_it_changes_and_changes_nothing(
    ground: Ground, cluster: Cluster
) -> None:
    before = await names(cluster, ground)

    found = await trial(ground, RENAME + " RETURNING slug")

    assert isinstance(found, Answer)
    assert (("alice",),) == tuple(found.rows)
    assert ((Changed("tenants", 0, 1, 0),), False) == (found.changes, found.is_kept)
    assert before == await names(cluster, ground)


async def test_what_goes_along_is_counted(ground: Ground) -> None:
    found = await trial(ground, "DELETE FROM generations")

    assert isinstance(found, Answer)
    deleted = {each.table: each.deleted for each in found.changes}
    assert (1, 3) == (deleted["generations"], deleted["concepts"])


async def test_a_query_that_writes_within_is_counted(ground: Ground) -> None:
    text = "WITH gone AS (DELETE FROM generations RETURNING id) SELECT count(*) FROM gone"

    found = await trial(ground, text)

    assert isinstance(found, Answer)
    assert 1 == next(each.deleted for each in found.changes if each.table == "generations")


async def test_what_was_shown_is_kept(ground: Ground, cluster: Cluster) -> None:
    found = await kept(ground, RENAME, Changed("tenants", 0, 1, 0))

    assert isinstance(found, Answer)
    assert found.is_kept
    assert {"alice": "Renamed", "bob": "Studio of bob"} == await names(cluster, ground)


@pytest.mark.parametrize("expected", [(), (Changed("tenants", 0, 2, 0),)])
async def test_another_number_of_rows_than_shown_is_not_kept(
    ground: Ground, cluster: Cluster, expected: tuple[Changed, ...]
) -> None:
    before = await names(cluster, ground)

    found = await kept(ground, "UPDATE tenants SET name = 'Not this'", *expected)

    assert isinstance(found, Refusal)
    assert "would change 1 row by now" in found.message
    assert before == await names(cluster, ground)


async def test_without_the_deeds_note_nothing_is_kept(ground: Ground, cluster: Cluster) -> None:
    before = await names(cluster, ground)

    with pytest.raises(asyncpg.UndefinedTableError):
        await kept(
            ground,
            "UPDATE tenants SET name = 'Not this'",
            Changed("tenants", 0, 1, 0),
            deed="INSERT INTO missing VALUES (1)",
        )

    assert before == await names(cluster, ground)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("UPDATE tenants SET subscription_tier = 'AGENCY'", "42501"),
        ("INSERT INTO memberships (tenant_id) VALUES ('{bob}')", "42501"),
        ("UPDATE concepts SET tenant_id = '{bob}'", "42501"),
        ("DROP TABLE concepts", "42501"),
        ("TRUNCATE concepts", "42501"),
        ("ALTER TABLE concepts DISABLE ROW LEVEL SECURITY", "42501"),
        ("CREATE TABLE mine (id integer)", "42501"),
        ("SET ROLE viral_owner", "42501"),
        ("SELECT pg_advisory_lock(1)", "42501"),
        ("UPDATE tenants SET name = 'x'; COMMIT", "42601"),
        ("DO $$ BEGIN UPDATE tenants SET name = 'x'; COMMIT; END $$", "2D000"),
    ],
)
async def test_the_server_refuses_it_to_the_app_too(ground: Ground, text: str, state: str) -> None:
    found = await trial(ground, text.replace("{bob}", str(ground.bob.id)))

    assert isinstance(found, Refusal)
    assert state == found.sqlstate


async def test_no_row_of_another_tenant_is_reached(ground: Ground) -> None:
    text = f"DELETE FROM concepts WHERE tenant_id = '{ground.bob.id}'"

    found = await trial(ground, text)

    assert isinstance(found, Answer)
    assert () == found.changes


async def test_a_changed_session_keeps_nothing(
    ground: Ground, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("viral.database.console.run.withheld", lambda _: None)
    before = await names(cluster, ground)

    for text in ("COMMIT", "RESET app.tenant"):
        assert isinstance(await kept(ground, text), Refusal)

    assert before == await names(cluster, ground)


async def test_a_commit_without_an_answer_is_told_as_such(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silence(_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr("viral.database.tenancy.TenantTransaction.commit", silence)

    with pytest.raises(CommitLost):
        await kept(ground, RENAME, Changed("tenants", 0, 1, 0))
