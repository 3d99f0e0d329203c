"""Inngest's requests, over a socket: introspection, sync, calls, and what follows from answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from clerks import Clock
from fakes.inngest import FakeInngest, Told
from inngests import FIRST, JOB, App, calling, make_inngest, serving
from outside import Reply, replying
from outside import serving as serving_raw

from viral.errors import (
    BadInput,
    NotFound,
    QuotaExceeded,
    RateLimited,
    ServerUnreachable,
    VendorUnreachable,
    ViralError,
)

OTHER_KEY = "signkey-test-" + "fedcba9876543210" * 4


@pytest.fixture
def engine() -> Iterator[FakeInngest]:
    with FakeInngest() as engine:
        yield engine


@pytest.fixture
async def app(engine: FakeInngest) -> AsyncIterator[App]:
    """An app that the engine knows."""
    async with serving(engine) as app:
        await asked(engine.sync, app.url)
        yield app


async def asked(ask: Any, *given: Any, **named: Any) -> Told:
    """Let the engine ask from a thread, while this loop serves."""
    told: Told = await asyncio.to_thread(partial(ask, *given, **named))
    return told


def call_of(data: object, name: str = "viral/job") -> dict[str, object]:
    return {"event": {"id": "1", "name": name, "data": data, "ts": 1}, "ctx": {"attempt": 0}}


CALL = call_of({"job_id": str(JOB), "attempt": 1})


# Who asks.


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
@pytest.mark.parametrize("signature", ["", "t=1&s=2", None])
async def test_c14_an_unsigned_request_learns_and_changes_nothing(
    engine: FakeInngest, app: App, method: str, signature: str | None
) -> None:
    stale = engine.sign(b"", at=datetime.now(UTC).timestamp() - 301)
    headers = {"X-Inngest-Signature": stale if signature is None else signature}

    told = await asked(engine.ask, method, app.function_url, headers=headers)

    assert (401, b'{"message":"Unauthorized"}') == (told.status, told.body)
    assert {"content-type", "content-length"} == told.headers.keys()
    assert [] == [*app.ran, *engine.requests]


async def test_c14_a_call_that_was_signed_an_hour_ago_is_refused(
    engine: FakeInngest, app: App
) -> None:
    body = b'{"a":1}'
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    headers = {"X-Inngest-Signature": engine.sign(body, at=hour_ago.timestamp())}

    told = await asked(engine.ask, "POST", app.function_url, {"a": 1}, headers=headers)

    assert told.status == 401


async def test_a_large_call_is_refused_before_it_is_read(engine: FakeInngest, app: App) -> None:
    told = await asked(engine.ask, "POST", app.function_url, {"a": "x" * 70_000})

    assert told.status == 413


async def test_the_fallback_key_is_taken_and_signs_the_answer(engine: FakeInngest) -> None:
    async with serving(
        engine, signing_key=OTHER_KEY, signing_key_fallback=engine.signing_key
    ) as app:
        told = await asked(engine.ask, "GET", app.url)

    assert (200, True) == (told.status, told.is_signed)
    assert told.json()["has_signing_key_fallback"]


async def test_a_method_that_does_not_exist_is_not_allowed(engine: FakeInngest, app: App) -> None:
    told = await asked(engine.ask, "DELETE", app.url)

    assert (405, "GET, PUT, POST") == (told.status, told.headers["allow"])


# Introspection and sync.


async def test_introspection_tells_hashes_of_keys_and_no_key(engine: FakeInngest, app: App) -> None:
    told = await asked(engine.ask, "GET", app.url)

    seen = told.json()
    assert (200, True) == (told.status, told.is_signed)
    assert (1, "cloud", "viral") == (seen["function_count"], seen["mode"], seen["app_id"])
    assert seen["signing_key_fallback_hash"] is None
    assert seen["serve_path"] == "/api/inngest"
    assert engine.event_key not in told.body.decode()
    assert engine.signing_key.rpartition("-")[2] not in told.body.decode()


async def test_an_in_band_sync_describes_the_one_function(engine: FakeInngest, app: App) -> None:
    told = await asked(engine.sync, app.url)

    described = told.json()
    assert (200, True) == (told.status, told.is_signed)
    assert told.headers["x-inngest-sync-kind"] == "in_band"
    assert described["functions"] == [
        {
            "id": "viral-job",
            "name": "Run a job of Viral Dashboard",
            "triggers": [{"event": "viral/job"}],
            "steps": {
                "step": {
                    "id": "step",
                    "name": "step",
                    "runtime": {"type": "http", "url": app.function_url},
                    "retries": {"attempts": 10},
                }
            },
        }
    ]
    assert [] == engine.requests


async def test_the_address_is_the_settings_and_not_the_requests(
    engine: FakeInngest, app: App
) -> None:
    headers = {"X-Inngest-Sync-Kind": "in_band", "Host": "evil.example"}

    told = await asked(engine.ask, "PUT", app.url, {"url": "https://evil.example"}, headers=headers)

    assert b"evil" not in told.body


async def test_an_out_of_band_sync_registers_with_the_api(engine: FakeInngest, app: App) -> None:
    told = await asked(engine.ask, "PUT", f"{app.url}?deployId=d-1")

    assert told.json() == {"message": "Synced.", "modified": True}
    assert told.headers["x-inngest-sync-kind"] == "out_of_band"
    assert engine.requests[0].query == {"deployId": "d-1"}
    assert engine.apps["viral"]["url"] == app.url


async def test_a_sync_that_the_api_refuses_is_told(engine: FakeInngest, app: App) -> None:
    engine.fail(400)

    told = await asked(engine.ask, "PUT", app.url)

    assert (500, True) == (told.status, told.is_signed)
    assert told.json()["modified"] is False


# Calls.


async def test_a_call_runs_the_job_and_tells_no_outcome(engine: FakeInngest, app: App) -> None:
    await app.inngest.send([FIRST])

    (run,) = await engine.settled()
    assert (run.status, run.output) == ("completed", {"job_id": str(JOB), "attempt": 1})
    assert app.ran == [(JOB, 1)]


@pytest.mark.parametrize(
    "error", [ServerUnreachable("lost"), VendorUnreachable("away"), ZeroDivisionError()]
)
async def test_a_failure_that_passes_is_called_again(
    engine: FakeInngest, app: App, error: Exception
) -> None:
    app.errors = [error, error]

    await app.inngest.send([FIRST])

    (run,) = await engine.settled()
    assert (run.status, len(run.told)) == ("completed", 3)
    # The number of the call is Inngest's, the attempt is the queue's.
    assert app.ran == [(JOB, 1)] * 3


@pytest.mark.parametrize("error", [BadInput("Ann's hook"), NotFound("Ann's"), QuotaExceeded("Ann")])
async def test_a_failure_that_stays_ends_the_calls(
    engine: FakeInngest, app: App, error: ViralError
) -> None:
    app.errors = [error]

    await app.inngest.send([FIRST])

    (run,) = await engine.settled()
    (told,) = run.told
    assert told is not None
    assert (run.status, told.status, len(app.ran)) == ("failed", 400, 1)
    assert told.json() == {"name": error.code, "message": type(error).__doc__}


async def test_a_job_that_comes_too_often_says_when_to_call_again(
    engine: FakeInngest, app: App
) -> None:
    app.errors = [RateLimited(retry_after_s=1)]

    await app.inngest.send([FIRST])

    (run,) = await engine.settled()
    told = run.told[0]
    assert told is not None
    assert (told.status, told.headers["retry-after"]) == (500, "1")
    assert told.headers["x-inngest-no-retry"] == "false"
    assert run.status == "completed"


async def test_a_call_whose_answer_was_lost_comes_with_the_same_attempt(
    engine: FakeInngest, app: App
) -> None:
    engine.repeat()

    await app.inngest.send([FIRST])

    (run,) = await engine.settled()
    assert run.status == "completed"
    assert app.ran == [(JOB, 1), (JOB, 1)]


async def test_a_call_that_a_proxy_wrote_anew_is_taken(engine: FakeInngest, app: App) -> None:
    told = await asked(engine.ask, "POST", app.function_url, CALL, is_rewritten=True)

    assert (200, True) == (told.status, told.is_signed)
    assert app.ran == [(JOB, 1)]


async def test_a_call_is_read_in_the_form_that_was_signed(engine: FakeInngest, app: App) -> None:
    signed = (
        b'{"event":{"data":{"attempt":2,"job_id":"%s"},"name":"viral/job"}}' % str(JOB).encode()
    )
    sent = signed.replace(b"2", b"2.0", 1)

    answer = await app.inngest.answer(
        "POST",
        {"fnId": "viral-job"},
        {"X-Inngest-Signature": engine.sign(signed)},
        sent,
        app.run,
    )

    assert (200, [(JOB, 2)]) == (answer.status, app.ran)


async def test_the_answer_is_signed_when_it_is_given(engine: FakeInngest) -> None:
    clock = Clock(datetime.now(UTC) - timedelta(minutes=4))
    async with serving(engine, clock=clock) as app:
        app.during = lambda: clock.wait(minutes=4)

        told = await asked(engine.ask, "POST", app.function_url, CALL)

    signed_at = int(told.headers["x-inngest-signature"].partition("&")[0][2:])
    assert abs(datetime.now(UTC).timestamp() - signed_at) < 120


@pytest.mark.parametrize(
    "document",
    [
        call_of({"job_id": str(JOB)}),
        call_of({"job_id": str(JOB), "attempt": 0}),
        call_of({"job_id": str(JOB), "attempt": 1.5}),
        call_of({"job_id": str(JOB), "attempt": "1"}),
        call_of({"job_id": "1", "attempt": 1}),
        call_of(None),
        call_of({"job_id": str(JOB), "attempt": 1}, name="other/event"),
        {},
    ],
)
async def test_a_call_about_no_job_runs_nothing_and_is_not_repeated(
    engine: FakeInngest, app: App, document: dict[str, object]
) -> None:
    told = await asked(engine.ask, "POST", app.function_url, document)

    assert (400, "true") == (told.status, told.headers["x-inngest-no-retry"])
    assert [] == app.ran


@pytest.mark.parametrize("function", ["viral-other", "job", ""])
async def test_a_function_that_does_not_exist_runs_nothing(
    engine: FakeInngest, app: App, function: str
) -> None:
    told = await asked(engine.ask, "POST", f"{app.url}?fnId={function}&stepId=step", CALL)

    assert (500, "false") == (told.status, told.headers["x-inngest-no-retry"])
    assert [] == app.ran


async def test_a_probe_of_trust_is_answered_signed_and_runs_nothing(
    engine: FakeInngest, app: App
) -> None:
    told = await asked(engine.ask, "POST", f"{app.function_url}&probe=trust", CALL)

    assert (200, True) == (told.status, told.is_signed)
    assert [] == app.ran


# The engine itself.


def answering_signed(engine: FakeInngest, *answers: tuple[int, bytes]) -> Reply:
    """Reply as an app would, each answer in turn."""
    return replying(
        *(
            (
                f"HTTP/1.1 {status} X\r\nx-inngest-sdk: x:v1\r\n"
                f"x-inngest-signature: {engine.sign(body)}\r\n"
                f"content-length: {len(body)}\r\n\r\n"
            ).encode()
            + body
            for status, body in answers
        )
    )


async def test_the_engine_goes_on_with_the_steps_it_was_told(engine: FakeInngest) -> None:
    step = b'[{"id":"s1","op":"StepRun","data":7}]'
    async with serving_raw(answering_signed(engine, (206, step), (200, b"8"))) as fake:
        engine.add_app(fake.url, event="viral/job")

        async with calling(engine) as outgoing:
            await make_inngest(engine, outgoing).send([FIRST])
        (run,) = await engine.settled()

    assert (run.status, run.output) == ("completed", 8)
    assert '"steps":{"s1":{"data":7}}' in fake.requests[1]


async def test_the_engine_gives_up_and_takes_no_unsigned_answer(engine: FakeInngest) -> None:
    async with serving_raw(replying("{}", head="x-inngest-sdk: x:v1\r\n")) as fake:
        engine.add_app(fake.url, event="viral/job", retries=2)

        async with calling(engine) as outgoing:
            await make_inngest(engine, outgoing).send([FIRST])
        (run,) = await engine.settled()

    assert (run.status, len(run.told)) == ("failed", 3)


async def test_the_engine_drops_an_event_when_it_is_told_to(engine: FakeInngest, app: App) -> None:
    engine.drop()

    await app.inngest.send([FIRST])

    (run,) = await engine.settled()
    assert (run.status, app.ran) == ("lost", [])
