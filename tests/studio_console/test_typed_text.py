"""What typed SQL answers, and what becomes of what it may not do."""

from __future__ import annotations

import asyncio

import pytest
from clusters import Cluster

from studio_console.conftest import Ground
from viral.database.console.answers import Answer, Refusal
from viral.database.console.run import read
from viral.database.console.sessions import Bounds

BOUNDS = Bounds(seconds=5)
CHANGED = "changed the session"
CAUGHT = """
DO $$ BEGIN
  LOOP BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP;
END $$
"""
RUNNING = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'viral console%'"
PASSES = "SELECT count(*) FROM viral.tenant_contexts WHERE key_id < 0"


async def ask(ground: Ground, text: str, bounds: Bounds = BOUNDS) -> Answer | Refusal:
    return await read(ground.places, text, tenant_id=ground.tenant_id, bounds=bounds)


async def answer(ground: Ground, text: str, bounds: Bounds = BOUNDS) -> Answer:
    found = await ask(ground, text, bounds)
    assert isinstance(found, Answer), found
    return found


async def refusal(ground: Ground, text: str, bounds: Bounds = BOUNDS) -> Refusal:
    found = await ask(ground, text, bounds)
    assert isinstance(found, Refusal), found
    return found


async def look(cluster: Cluster, ground: Ground, query: str) -> int:
    connection = await cluster.connect_as_admin(ground.database)
    try:
        return int(await connection.fetchval(query))
    finally:
        await connection.close()


async def test_a_text_reads_the_rows_of_its_tenant_alone(ground: Ground) -> None:
    found = await answer(ground, "SELECT slug, name FROM tenants;")

    assert [("slug", "text"), ("name", "text")] == [
        (each.name, each.type) for each in found.columns
    ]
    assert [("alice", "Studio of alice")] == found.rows


async def test_no_more_rows_are_read_than_asked_for(ground: Ground) -> None:
    found = await answer(ground, "SELECT generate_series(1, 100000)", Bounds(rows=150))

    assert ([(1,), (150,)], 150, True) == (
        [found.rows[0], found.rows[-1]],
        len(found.rows),
        found.is_cut,
    )


async def test_large_values_end_the_reading(ground: Ground) -> None:
    text = "SELECT repeat('x', 10000) FROM generate_series(1, 1000)"

    found = await answer(ground, text, Bounds(size_bytes=1_500_000))

    assert 150 <= len(found.rows) <= 152
    assert found.is_cut


async def test_of_values_that_are_too_large_one_is_read(ground: Ground) -> None:
    text = "SELECT repeat('x', 2000000) FROM generate_series(1, 1000)"

    found = await answer(ground, text, Bounds(size_bytes=1_500_000))

    assert (1, True) == (len(found.rows), found.is_cut)


@pytest.mark.parametrize(
    "text",
    [
        "SET app.tenant = '{bob}'",
        "SET LOCAL app.tenant = '{bob}'",
        "RESET app.tenant",
        "RESET ALL",
        "SELECT set_config('app.tenant', '{bob}', true)",
        "SELECT set_config('app.tenant', '{bob}', true), (SELECT max(slug) FROM tenants)",
        "DO $$ BEGIN PERFORM set_config('app.tenant', '{bob}', true); END $$",
    ],
)
async def test_an_answer_of_another_tenant_is_thrown_away(
    ground: Ground, cluster: Cluster, text: str
) -> None:
    refused = await refusal(ground, text.replace("{bob}", cluster.token(ground.bob.id)))

    assert CHANGED in refused.message


async def test_b19_a_shown_context_opens_nothing_afterwards(ground: Ground) -> None:
    """A person keeps what the setting holds, is no longer a member, and comes back with it."""
    kept = (await answer(ground, "SELECT current_setting('app.tenant')")).rows[0][0]
    back = f"""
    WITH mine AS MATERIALIZED (SELECT current_setting('app.tenant') AS token),
      other AS MATERIALIZED (SELECT set_config('app.tenant', '{kept}', true) FROM mine),
      seen AS MATERIALIZED (SELECT string_agg(t.slug, ',') AS s FROM other, tenants AS t)
    SELECT seen.s, set_config('app.tenant', mine.token, true) FROM seen, mine
    """

    refused = await read(ground.places, back, tenant_id=ground.bob.id, bounds=BOUNDS)

    assert isinstance(refused, Refusal)
    assert "VT002" == refused.sqlstate


async def test_the_tenants_own_token_is_never_in_the_session(
    ground: Ground, cluster: Cluster
) -> None:
    shown = [(await answer(ground, "SHOW app.tenant")).rows[0][0] for _ in range(2)]

    assert 3 == len({*shown, cluster.token(ground.alice.id)})


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("DELETE FROM concepts", "25006"),
        ("UPDATE tenants SET name = 'x'", "25006"),
        ("WITH gone AS (DELETE FROM concepts RETURNING 1) SELECT * FROM gone", "25006"),
        ("DO $$ BEGIN DELETE FROM concepts; END $$", "25006"),
        ("DO $$ BEGIN COMMIT; END $$", "2D000"),
        ("DO $$ BEGIN SET TRANSACTION READ WRITE; DELETE FROM concepts; END $$", "25001"),
        ("SET TRANSACTION READ WRITE", "25001"),
        ("SELECT set_config('transaction_read_only', 'off', true)", "25001"),
        ("CREATE TABLE mine (id integer)", "25006"),
        ("CREATE TEMP TABLE mine (id integer)", "25006"),
        ("SELECT nextval('x')", "42P01"),
        ("SET ROLE viral_owner", "42501"),
        ("SET ROLE viral_app", "42501"),
        ("SET SESSION AUTHORIZATION viral_admin", "42501"),
        ("DISCARD ALL", "25001"),
        ("VACUUM", "25001"),
        ("ALTER SYSTEM SET work_mem = '1GB'", "25001"),
        ("EXECUTE nothing", "26000"),
        ("SELECT pg_read_file('/etc/passwd')", "42501"),
        ("SELECT pg_ls_dir('/')", "42501"),
        ("SELECT lo_create(0)", "42501"),
        ("SELECT lo_import('/etc/passwd')", "42501"),
        ("SELECT dblink('host=127.0.0.1', 'SELECT 1')", "42883"),
        ("SELECT pg_advisory_lock(1)", "42501"),
        ("SELECT pg_advisory_xact_lock(1)", "42501"),
        ("SELECT pg_notify('jobs', '')", "42501"),
        ("LOCK TABLE concepts", "42501"),
        ("LOAD 'auto_explain'", "42501"),
        ("SELECT * FROM viral.tenant_contexts", "42501"),
        ("SELECT password_hash FROM users", "42501"),
        ("SELECT 1; SELECT 2", "42601"),
        ("SELECT 1 /* ; */; DELETE FROM concepts --", "42601"),
        ("SELECT 1 -- one\n; COMMIT", "42601"),
    ],
)
async def test_the_server_refuses(ground: Ground, text: str, state: str) -> None:
    assert state == (await refusal(ground, text)).sqlstate


@pytest.mark.parametrize(
    "text",
    [
        "COMMIT",
        "/* a /* nested */ one */ commit",
        "ROLLBACK",
        "BEGIN",
        "START TRANSACTION",
        "SAVEPOINT here",
        "PREPARE mine AS SELECT 1",
        "PREPARE TRANSACTION 'mine'",
        "COPY tenants TO STDOUT",
        "COPY tenants TO PROGRAM 'cat'",
        "COPY tenants FROM STDIN",
        "-- only a comment",
        ";",
        "\\d tenants",
        "SELECT 'a\0b'",
        "SELECT '\ud800'",
        "SELECT 1 -- " + "x" * 100_000,
    ],
)
async def test_what_is_of_no_use_is_not_sent(ground: Ground, text: str) -> None:
    refused = await refusal(ground, text)

    assert (None, True) == (refused.sqlstate, bool(refused.message))


async def test_a_commit_in_disguise_ends_nothing_but_its_own_answer(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the reading of the text is for: with it switched off the wall stands."""
    monkeypatch.setattr("viral.database.console.run.withheld", lambda _: None)

    for text in ("COMMIT", "ROLLBACK", "COMMIT AND CHAIN"):
        assert CHANGED in (await refusal(ground, text)).message


@pytest.mark.parametrize(
    "text",
    ["LISTEN jobs", "DECLARE mine CURSOR WITH HOLD FOR SELECT 1", "SET statement_timeout = 0"],
)
async def test_nothing_of_a_run_outlives_it(ground: Ground, cluster: Cluster, text: str) -> None:
    await answer(ground, text)

    shown = await answer(
        ground,
        "SELECT (SELECT count(*) FROM pg_listening_channels()), (SELECT count(*) FROM pg_cursors"
        " WHERE is_holdable), current_setting('statement_timeout')",
    )
    assert [(0, 0, "5s")] == shown.rows
    assert (0, 0) == (await look(cluster, ground, RUNNING), await look(cluster, ground, PASSES))


async def test_the_time_is_up(ground: Ground) -> None:
    refused = await refusal(ground, "SELECT pg_sleep(30)", Bounds(seconds=0.2))

    assert ("57014", "It took longer than 0.2 s and was ended.") == (
        refused.sqlstate,
        refused.message,
    )


async def test_the_time_is_that_of_all_rows_together(ground: Ground) -> None:
    """Each part of the rows is quick enough for the server."""
    text = "SELECT pg_sleep(0.001) FROM generate_series(1, 10000)"

    refused = await refusal(ground, text, Bounds(rows=100_000, seconds=0.3))

    assert "It took longer than 0.3 s and was ended." == refused.message


async def test_a_text_that_catches_its_cancellation_is_ended(
    ground: Ground, cluster: Cluster
) -> None:
    refused = await refusal(ground, CAUGHT, Bounds(seconds=0.2))

    assert "was ended" in refused.message
    assert await is_quiet(cluster, ground)


@pytest.mark.parametrize("text", ["SELECT pg_sleep(30)", CAUGHT])
async def test_a_cancelled_text_ends_at_the_server(
    ground: Ground, cluster: Cluster, text: str
) -> None:
    run = asyncio.create_task(ask(ground, text, Bounds(seconds=50)))
    while not await look(cluster, ground, RUNNING + " AND wait_event = 'PgSleep'"):
        await asyncio.sleep(0.02)

    run.cancel()
    await asyncio.wait([run])

    assert run.cancelled()
    assert await is_quiet(cluster, ground)


async def test_a_pass_that_a_killed_process_left_is_taken_away(
    ground: Ground, cluster: Cluster
) -> None:
    await cluster.execute_as_admin(
        ground.database,
        "INSERT INTO viral.tenant_contexts VALUES"  # an hour old
        f" (sha256('left'), '{ground.bob.id}', 3600 - extract(epoch FROM now())::int + 1577836800)",
    )

    await answer(ground, "SELECT 1")

    assert 0 == await look(cluster, ground, PASSES)


async def test_several_texts_of_a_tenant_run_at_once(ground: Ground) -> None:
    found = await asyncio.gather(*(answer(ground, f"SELECT {number}") for number in range(6)))

    assert [(number,) for number in range(6)] == [each.rows[0] for each in found]


async def test_an_error_is_placed_in_the_text(ground: Ground) -> None:
    refused = await refusal(ground, "SELECT name,\n       titel\nFROM tenants")

    assert ('Column "titel" does not exist.', 20) == (refused.message, refused.position)


async def test_withheld_columns_are_told_by_naming_the_others(ground: Ground) -> None:
    refused = await refusal(ground, "SELECT * FROM users")

    assert refused.hint.endswith("SELECT id, email, name, image_url, last_login_at FROM users")


async def test_another_sessions_text_is_not_seen(ground: Ground) -> None:
    run = asyncio.create_task(ask(ground, "SELECT 'my secret', pg_sleep(0.4)"))
    await asyncio.sleep(0.2)

    seen = await answer(ground, "SELECT string_agg(query, ' ') FROM pg_stat_activity")

    assert "my secret" not in str(seen.rows)
    await run


async def is_quiet(cluster: Cluster, ground: Ground) -> bool:
    """Wait for the server to have ended every text and pass."""
    for _ in range(50):
        if not await look(cluster, ground, RUNNING) + await look(cluster, ground, PASSES):
            return True
        await asyncio.sleep(0.1)
    return False
