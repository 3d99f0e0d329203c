"""Jobs on their way to Inngest: events in batches, once each, and the app's registration."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
from fakes.inngest import FakeInngest
from inngests import FIRST, JOB, OTHER_JOB, calling, make_inngest, serving
from outside import replying
from outside import serving as serving_raw
from structlog.testing import capture_logs

from viral.adapters.inngest import Inngest, JobEvent
from viral.adapters.outgoing import Outgoing
from viral.errors import (
    BadSetting,
    RateLimited,
    VendorError,
    VendorRefused,
    VendorUnreachable,
    ViralError,
)

OTHER_KEY = "signkey-test-" + "fedcba9876543210" * 4


@pytest.fixture
def engine() -> Iterator[FakeInngest]:
    with FakeInngest() as engine:
        yield engine


@pytest.fixture
async def inngest(engine: FakeInngest) -> AsyncIterator[Inngest]:
    async with calling(engine) as outgoing:
        yield make_inngest(engine, outgoing)


def make_jobs(number: int) -> list[JobEvent]:
    return [JobEvent(UUID(int=JOB.int + each), 1) for each in range(number)]


async def test_an_event_holds_a_jobs_id_and_attempt_and_nothing_else(
    engine: FakeInngest, inngest: Inngest
) -> None:
    await inngest.send([JobEvent(JOB, 3)])

    assert json.loads(engine.requests[0].body) == [
        {
            "id": f"{JOB}-3",
            "name": "viral/job",
            "data": {"job_id": str(JOB), "attempt": 3},
        }
    ]
    assert engine.requests[0].path == f"/e/{engine.event_key}"
    assert engine.requests[0].headers["x-inngest-sdk"].startswith("viral-dashboard:v")


@pytest.mark.parametrize(("jobs", "sizes"), [(0, []), (100, [100]), (250, [100, 100, 50])])
async def test_events_go_in_batches_of_a_hundred(
    engine: FakeInngest, inngest: Inngest, jobs: int, sizes: list[int]
) -> None:
    await inngest.send(make_jobs(jobs))

    assert sizes == [len(json.loads(request.body)) for request in engine.requests]
    assert jobs == len(engine.events)


async def test_sending_again_runs_nothing_twice(engine: FakeInngest) -> None:
    async with serving(engine) as app:
        await app.inngest.register()

        await app.inngest.send([FIRST])
        await app.inngest.send([FIRST, JobEvent(OTHER_JOB, 1)])
        await engine.settled()

    assert engine.arrivals == {f"{JOB}-1": 2, f"{OTHER_JOB}-1": 1}
    assert sorted(app.ran) == [(JOB, 1), (OTHER_JOB, 1)]


async def test_the_next_attempt_of_a_job_runs(engine: FakeInngest) -> None:
    async with serving(engine) as app:
        await app.inngest.register()

        await app.inngest.send([FIRST])
        await engine.settled()
        await app.inngest.send([JobEvent(JOB, 2)])
        await engine.settled()

    assert app.ran == [(JOB, 1), (JOB, 2)]


async def test_a_lost_answer_is_asked_for_again(engine: FakeInngest) -> None:
    async with calling(engine, retries=1) as outgoing:
        inngest = make_inngest(engine, outgoing)
        engine.lose_answers()

        await inngest.send([FIRST])

    assert engine.arrivals == {f"{JOB}-1": 2}
    assert len(engine.events) == 1


async def test_what_a_failed_batch_leaves_is_sent_by_sending_all_again(
    engine: FakeInngest, inngest: Inngest
) -> None:
    jobs = make_jobs(150)
    await inngest.send(jobs[:100])
    engine.fail(503)

    with pytest.raises(VendorUnreachable, match="503"):
        await inngest.send(jobs)
    await inngest.send(jobs)

    assert len(engine.events) == 150


async def test_too_many_events_say_when_to_try_again(engine: FakeInngest, inngest: Inngest) -> None:
    engine.fail(429, retry_after_s=17)

    with pytest.raises(RateLimited) as refusal:
        await inngest.send([FIRST])

    assert refusal.value.retry_after_s == 17


async def test_a_pause_that_inngest_does_not_name_is_still_one(
    engine: FakeInngest, inngest: Inngest
) -> None:
    engine.fail(429)

    with pytest.raises(RateLimited) as refusal:
        await inngest.send([FIRST])

    assert refusal.value.retry_after_s == 5


async def test_a_fault_of_inngests_says_when_to_try_again(
    engine: FakeInngest, inngest: Inngest
) -> None:
    engine.fail(500, retry_after_s=30)

    with pytest.raises(VendorUnreachable) as refusal:
        await inngest.send([FIRST])

    assert "30 s" in refusal.value.hint


async def test_a_short_pause_is_waited_for(engine: FakeInngest) -> None:
    async with calling(engine, retries=1) as outgoing:
        inngest = make_inngest(engine, outgoing)
        engine.fail(429, retry_after_s=0)

        await inngest.send([FIRST])

    assert len(engine.events) == 1


async def test_a_wrong_event_key_is_for_a_person_to_change(engine: FakeInngest) -> None:
    async with calling(engine) as outgoing:
        inngest = make_inngest(engine, outgoing)
        engine.event_key = "another"

        with pytest.raises(VendorRefused) as refusal:
            await inngest.send([FIRST])

    assert "INNGEST_EVENT_KEY" in refusal.value.hint


@pytest.mark.parametrize("page", ["<html>Sign in</html>", "[]", '{"ids": []}', '{"ids": ["1", 2]}'])
async def test_an_answer_that_does_not_take_the_events_takes_none(page: str) -> None:
    async with serving_raw(replying(page)) as fake:
        outgoing = Outgoing(vendors=[fake.url], retries=0)
        inngest = Inngest(
            event_key="key",
            signing_key=OTHER_KEY,
            api_url=fake.url,
            event_url=fake.url,
            serve_url=fake.url,
            outgoing=outgoing,
            clock=lambda: datetime.now(UTC),
        )

        with pytest.raises(VendorRefused):
            await inngest.send([FIRST])
        await outgoing.close()


async def test_no_key_is_in_a_log_or_a_message(engine: FakeInngest) -> None:
    secrets = [engine.event_key, engine.signing_key.rpartition("-")[2], OTHER_KEY[13:]]
    said: list[object] = []
    async with calling(engine) as outgoing:
        inngest = make_inngest(engine, outgoing, signing_key_fallback=OTHER_KEY)
        with capture_logs() as logs:
            await inngest.send([FIRST])
            await inngest.register()
            for status in (401, 404, 429, 503):
                for call in (inngest.send([FIRST]), inngest.register()):
                    engine.fail(status, times=2 if status == 401 else 1)
                    with pytest.raises((VendorError, RateLimited)) as refusal:
                        await call
                    said += [refusal.value.message, refusal.value.hint, repr(refusal.value)]
                    engine._faults.clear()

    assert len(logs) == 11
    assert not [secret for secret in secrets if secret in repr([*said, *logs])]


async def test_the_function_is_registered_where_the_engine_can_call_it(engine: FakeInngest) -> None:
    async with serving(engine) as app:
        is_first_new = await app.inngest.register()
        is_second_new = await app.inngest.register()

    function = engine.apps["viral"]["functions"][0]
    assert (is_first_new, is_second_new) == (True, False)
    assert engine.apps["viral"]["url"] == app.url
    assert function["steps"]["step"]["runtime"] == {"type": "http", "url": app.function_url}
    assert engine.requests[0].headers["x-inngest-expected-server-kind"] == "cloud"


async def test_the_fallback_key_registers_when_the_other_is_refused(engine: FakeInngest) -> None:
    async with calling(engine) as outgoing:
        rotated = make_inngest(
            engine, outgoing, signing_key=OTHER_KEY, signing_key_fallback=engine.signing_key
        )

        await rotated.register()

    assert len(engine.requests) == 2
    assert "viral" in engine.apps


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, VendorRefused), (401, VendorRefused), (429, RateLimited), (502, VendorUnreachable)],
)
async def test_a_refused_registration_is_told(
    engine: FakeInngest, inngest: Inngest, status: int, error: type[ViralError]
) -> None:
    engine.fail(status)

    with pytest.raises(error):
        await inngest.register()


@pytest.mark.parametrize(
    "serve_url",
    ["studio.example", "ftp://studio.example", "https:///api", "https://x/?a=1", "https://a@x/"],
)
def test_an_address_that_cannot_be_called_is_a_bad_setting(
    engine: FakeInngest, serve_url: str
) -> None:
    with pytest.raises(BadSetting, match="INNGEST_SERVE_URL"):
        make_inngest(engine, Outgoing(), serve_url=serve_url)


@pytest.mark.parametrize("key", ["", "key/../../fn/register", "key?x", "a b", "k" * 256])
def test_an_event_key_that_is_none_is_a_bad_setting(engine: FakeInngest, key: str) -> None:
    engine.event_key = key

    with pytest.raises(BadSetting, match="INNGEST_EVENT_KEY"):
        make_inngest(engine, Outgoing())
