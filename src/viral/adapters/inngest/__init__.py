"""Inngest as the engine of the job queue: events go there, and its signed calls come back.

What leaves this installation is a job's id and attempt. Payload, outcome and failure stay in
`job_queue`, which is the record. Inngest's own client is not used: it reads the environment, brings
threads and another HTTP stack, has no part for our web server, takes calls that were signed at any
time, and sends stack traces.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec
import structlog

from viral.adapters.inngest import signature
from viral.adapters.inngest.app import FUNCTION, HEADERS, App
from viral.adapters.inngest.job_event import JobEvent, read_call
from viral.adapters.outgoing import Answer
from viral.errors import (
    BadSetting,
    RateLimited,
    SignatureRefused,
    VendorError,
    VendorRefused,
    VendorUnreachable,
    ViralError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from viral.adapters.outgoing import Outgoing

__all__ = ["Answer", "Inngest", "JobEvent"]

# A batch of our events takes 20 kB of the 256 kB that the smallest plan takes.
BATCH = 100
# A call of ours takes 1 kB; whoever sends more makes us work for a signature that cannot fit.
LARGEST_CALL_BYTES = 65_536
_EVENT_KEY = re.compile(r"[A-Za-z0-9_-]{1,255}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,6}", re.ASCII)
_SUCCESS = range(200, 300)
_WRONG_KEY = frozenset({401, 403})
_TOO_MANY_REQUESTS = 429
_SERVER_FAULT = 500
# How long to wait where Inngest does not say it.
_PAUSE_S = 5.0
_FINAL = {"x-inngest-no-retry": "true"}
_PASSING = {"x-inngest-no-retry": "false"}

log = structlog.get_logger(__name__)

_Shape = TypeVar("_Shape")


class _Sent(msgspec.Struct, frozen=True):
    ids: list[str]


class _Synced(msgspec.Struct, frozen=True):
    modified: bool = False


class _Reply(NamedTuple):
    status: int
    document: object
    headers: Mapping[str, str] = {}


class Inngest:
    """One environment of Inngest, which belongs to this installation alone.

    `outgoing` has to know the API's and the events' URL as vendors. No message of an error holds a
    key, or a sentence of Inngest's.
    """

    def __init__(
        self,
        *,
        event_key: str,
        signing_key: str,
        signing_key_fallback: str | None = None,
        api_url: str,
        event_url: str,
        serve_url: str,
        outgoing: Outgoing,
        clock: Callable[[], datetime],
    ) -> None:
        """Open nothing yet; BadSetting for keys and an address that cannot be used."""
        if not _EVENT_KEY.fullmatch(event_key):
            raise BadSetting(
                "INNGEST_EVENT_KEY is no key: it holds more than letters, digits, - and _.",
                hint="Copy the event key from Inngest again.",
            )
        given = [signing_key, *([signing_key_fallback] if signing_key_fallback else [])]
        self._keys = [signature.check_key(key) for key in given]
        self._api_url, events = api_url.rstrip("/"), event_url.rstrip("/")
        self._events_url = f"{events}/e/{event_key}"
        self._app = App(self._api_url, events, serve_url.rstrip("/"), event_key, self._keys)
        self._outgoing = outgoing
        self._clock = clock

    async def send(self, jobs: Sequence[JobEvent]) -> None:
        """Ask for a call for each job; sent again, whole or in part, it asks for no second one.

        Raises RateLimited or VendorUnreachable for what passes, and VendorRefused for what somebody
        has to change first; some of the jobs may have been taken by then.
        """
        for start in range(0, len(jobs), BATCH):
            await self._send(jobs[start : start + BATCH])

    async def register(self, *, deploy_id: str | None = None) -> bool:
        """Tell Inngest's API where the function is; say whether that changed anything there."""
        for key in self._keys:
            answer = await self._outgoing.request(
                "POST",
                f"{self._api_url}/fn/register",
                headers={**HEADERS, "authorization": f"Bearer {signature.api_token(key)}"}
                | {"x-inngest-expected-server-kind": "cloud"},
                params={"deployId": deploy_id} if deploy_id else None,
                json=self._app.registration(),
                is_idempotent=True,
            )
            if answer.status not in _WRONG_KEY:
                break
        hint = "Check INNGEST_SIGNING_KEY, INNGEST_API_URL and INNGEST_SERVE_URL."
        return _read(answer, _Synced, task="take the function", hint=hint).modified

    def verify(self, header: str | None, body: bytes, now: datetime) -> None:
        """Refuse a request that neither key signed within 300 s of now: SignatureRefused."""
        signature.verify(self._keys, header, body, now)

    async def answer(
        self,
        method: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
        run: Callable[[UUID, int], Awaitable[object]],
    ) -> Answer:
        """Answer a request of Inngest's, whatever it is; whoever did not sign it learns nothing.

        `run` is given the job and the attempt, which may come more than once. What it returns
        stays here. A ViralError of a status under 500 ends the job's calls, except RateLimited;
        with any other Inngest calls again. An error without a name here goes through to the
        caller, whose answer with a status of 500 has the same effect.
        """
        if len(body) > LARGEST_CALL_BYTES:
            return _unsigned(413, "Too large")
        sent = {name.lower(): value for name, value in headers.items()}
        try:
            signed = signature.verify(
                self._keys, sent.get("x-inngest-signature"), body, self._clock()
            )
        except SignatureRefused:
            return _unsigned(401, "Unauthorized")
        reply = await self._reply(method, query, sent, signed.body, run)
        written = msgspec.json.encode(reply.document)
        # A job may have taken longer than a signature lives.
        proof = signature.sign(signed.key, written, self._clock())
        more = {**reply.headers, "x-inngest-signature": proof}
        return Answer(reply.status, {**HEADERS, **more}, written)

    async def _send(self, jobs: Sequence[JobEvent]) -> None:
        answer = await self._outgoing.request(
            "POST",
            self._events_url,
            headers=HEADERS,
            json=[job.document() for job in jobs],
            is_idempotent=True,
            is_path_secret=True,
        )
        hint = "Check INNGEST_EVENT_KEY and INNGEST_EVENT_URL."
        taken = _read(answer, _Sent, task="take events", hint=hint).ids
        if len(taken) != len(jobs):
            raise VendorRefused(
                f"Inngest took {len(taken)} of {len(jobs)} events.",
                hint="Send them all again: those that it took are not run twice.",
            )

    async def _reply(
        self,
        method: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
        run: Callable[[UUID, int], Awaitable[object]],
    ) -> _Reply:
        if method == "GET":
            return _Reply(200, self._app.inspection())
        if method == "PUT" and headers.get("x-inngest-sync-kind") == "in_band":
            return _Reply(200, self._app.in_band(), {"x-inngest-sync-kind": "in_band"})
        if method == "PUT":
            return await self._synced(query.get("deployId"))
        if method == "POST":
            return await _called(query, body, run)
        return _Reply(405, {"message": "Not allowed"}, {"allow": "GET, PUT, POST"})

    async def _synced(self, deploy_id: str | None) -> _Reply:
        kind = {"x-inngest-sync-kind": "out_of_band"}
        try:
            is_modified = await self.register(deploy_id=deploy_id)
        except (VendorError, RateLimited) as error:
            return _Reply(500, {"message": error.message, "modified": False}, kind)
        return _Reply(200, {"message": "Synced.", "modified": is_modified}, kind)


async def _called(
    query: Mapping[str, str], body: bytes, run: Callable[[UUID, int], Awaitable[object]]
) -> _Reply:
    if query.get("probe") == "trust":
        return _Reply(200, None)
    if query.get("fnId") != FUNCTION:
        gone = {"name": "function_not_found", "message": "There is no such function."}
        return _Reply(500, gone, _PASSING)
    try:
        job = read_call(body)
        await run(job.job_id, job.attempt)
    except ViralError as error:
        log.warning("inngest.call_failed", failure=error.code)
        return _failed(error)
    return _Reply(200, {"job_id": str(job.job_id), "attempt": job.attempt})


def _failed(error: ViralError) -> _Reply:
    """Say what kind of failure it was; its message may name what is the tenant's."""
    document = {"name": error.code, "message": type(error).__doc__}
    if isinstance(error, RateLimited):
        return _Reply(500, document, {**_PASSING, "retry-after": str(error.retry_after_s)})
    if error.status < _SERVER_FAULT:
        return _Reply(400, document, _FINAL)
    return _Reply(500, document, _PASSING)


def _unsigned(status: int, message: str) -> Answer:
    kind = {"content-type": "application/json"}
    return Answer(status, kind, msgspec.json.encode({"message": message}))


def _read(answer: Answer, shape: type[_Shape], *, task: str, hint: str) -> _Shape:
    if answer.status == _TOO_MANY_REQUESTS:
        raise RateLimited(retry_after_s=_wait_s(answer))
    if answer.status >= _SERVER_FAULT:
        raise VendorUnreachable(
            f"Inngest does not {task}: it has a fault of its own (status {answer.status}).",
            hint=f"Try again in {_wait_s(answer):g} s; status.inngest.com says how it is.",
        )
    if answer.status not in _SUCCESS:
        raise VendorRefused(f"Inngest does not {task} (status {answer.status}).", hint=hint)
    try:
        return msgspec.json.decode(answer.body, type=shape)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise VendorRefused(
            f"Inngest's answer cannot be read: it was asked to {task}.", hint=hint
        ) from None


def _wait_s(answer: Answer) -> float:
    asked = answer.headers.get("retry-after", "").strip()
    return float(asked) if _SECONDS.fullmatch(asked) else _PAUSE_S
