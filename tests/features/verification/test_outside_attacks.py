"""Messages, jobs and copies: a sound installation holds, and each way around is named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from clusters import Cluster
from verifications import verify_database

from viral.features.verification import run
from viral.features.verification.attacks import outside
from viral.features.verification.report import Report

NOTIFY = """
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN PERFORM pg_catalog.pg_notify('job_events', {payload}); RETURN NULL; END $$;
CREATE TRIGGER tell AFTER INSERT ON job_queue FOR EACH ROW EXECUTE FUNCTION tell()
"""


@pytest.fixture(autouse=True)
def _these_attacks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "FAMILIES", (outside.OUTSIDE,))


@pytest.fixture(scope="module")
async def sound(cluster: Cluster, module_database: str) -> Report:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "FAMILIES", (outside.OUTSIDE,))
        return await verify_database(cluster, module_database)


def details(report: Report, attack: str) -> set[str]:
    return {trial.verdict.detail for trial in report.trials if trial.attack.id == attack}


def leaks(report: Report) -> set[tuple[str, str]]:
    return {(leak.attack, leak.statement) for leak in report.leaks}


def test_a_sound_installation_holds(sound: Report) -> None:
    assert [] == sound.leaks
    assert sound.total.held == sound.total.tried == len(sound.trials)


def test_a36_silence_is_told_with_its_reason(sound: Report) -> None:
    (heard,) = details(sound, "A36")

    assert heard.startswith("nothing was heard on ")
    assert heard.endswith("functions that send: 1")


def test_a37_messages_are_sent_and_have_no_effect(sound: Report) -> None:
    (sent,) = details(sound, "A37")

    assert sent.startswith("sent on ")


def test_a44_a_copy_fails_or_holds_ones_own_rows_alone(sound: Report) -> None:
    assert {
        "exit code 1, with no row of the victim",
        "exit code 0, with one's own rows, and no row of the victim",
    } == details(sound, "A44")


@pytest.mark.parametrize("payload", ["NEW.tenant_id::text", "NEW.payload::text"])
async def test_a36_a_message_that_tells_is_named(
    cluster: Cluster, database_name: str, payload: str
) -> None:
    await cluster.execute_as_admin(database_name, NOTIFY.replace("{payload}", payload))

    report = await verify_database(cluster, database_name)

    assert {("A36", "")} == leaks(report)


async def test_a36_a_message_with_an_opaque_id_is_heard_and_holds(
    cluster: Cluster, database_name: str
) -> None:
    await cluster.execute_as_admin(database_name, NOTIFY.replace("{payload}", "NEW.id::text"))

    report = await verify_database(cluster, database_name)

    assert [] == report.leaks
    assert {"1 messages, with neither tenant nor content"} == details(report, "A36")


@asynccontextmanager
async def believing(cluster: Cluster, database: str) -> AsyncIterator[None]:
    """Listen as a worker would that takes a message for the truth."""
    connection = await cluster.connect_as_admin(database)
    told: asyncio.Queue[str] = asyncio.Queue()
    await connection.add_listener("jobs", lambda *message: told.put_nowait(str(message[3])))

    async def believe() -> None:
        while True:
            await connection.execute(
                "UPDATE job_queue SET status = 'failed' WHERE id::text = $1", await told.get()
            )

    belief = asyncio.create_task(believe())
    try:
        yield
    finally:
        belief.cancel()
        await asyncio.wait({belief})
        await connection.close()


async def test_a37_a_listener_that_believes_a_message_is_named(
    cluster: Cluster, database_name: str
) -> None:
    async with believing(cluster, database_name):
        report = await verify_database(cluster, database_name)

    assert {("A37", "")} == leaks(report)


async def test_a44_a_table_without_row_security_is_carried_away(
    cluster: Cluster, database_name: str
) -> None:
    await cluster.execute_as_admin(database_name, "ALTER TABLE videos DISABLE ROW LEVEL SECURITY")

    report = await verify_database(cluster, database_name)

    assert {("A44", "what it may read, with row security"), ("A48", outside.OWN)} == leaks(report)


async def test_a44_without_pg_dump_nothing_is_told(
    cluster: Cluster, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outside, "_program", lambda _url, _arena: None)

    report = await verify_database(cluster, database_name)

    assert {"there is no pg_dump on this machine that fits"} == details(report, "A44")


async def test_a48_a_queue_that_takes_jobs_for_others_is_named(
    cluster: Cluster, database_name: str
) -> None:
    await cluster.execute_as_admin(
        database_name, "ALTER POLICY tenant_only ON job_queue WITH CHECK (true)"
    )

    report = await verify_database(cluster, database_name)

    assert {("A48", "of the victim"), ("A48", "of the system")} == leaks(report)
