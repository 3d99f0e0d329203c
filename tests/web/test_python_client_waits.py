"""When the Python client sends a request again, and what it makes of strange answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from uuid import UUID

import msgspec
import pytest

from viral.client import Client, Problem, Unreachable

PROBLEM = {"code": "rate_limited", "detail": "Too often.", "request_id": "5b7d1f0e9a3c2846"}
JOB = UUID(int=7)


@dataclass(frozen=True)
class Said:
    """An answer of a server."""

    status: int
    body: object = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Scripted:
    """A server that gives its answers in turn, and what it was asked."""

    address: str
    waits: list[float]
    asked: list[tuple[str, str | None]]

    def client(self, patience_s: float = 60) -> Client:
        return Client("vd_live_x", self.address, patience_s=patience_s, sleep=self.waits.append)


@contextlib.contextmanager
def answering(*answers: Said) -> Iterator[Scripted]:
    turns = iter(answers)
    asked: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append((self.command, self.headers["Idempotency-Key"]))
            said = next(turns)
            body = said.body if isinstance(said.body, bytes) else msgspec.json.encode(said.body)
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - as the library wants them

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Scripted(f"http://127.0.0.1:{server.server_port}", [], asked)
        finally:
            server.shutdown()
            thread.join()


def test_a_post_waits_as_long_as_is_said_and_goes_again_under_its_key() -> None:
    busy = Said(429, PROBLEM, {"Retry-After": "3"})
    running = Said(409, {**PROBLEM, "code": "idempotency_running"}, {"Retry-After": "1"})

    with answering(busy, running, Said(202, {"id": str(JOB)})) as server, server.client() as client:
        asked = client.start_reflexion()

    assert (JOB, [3, 1]) == (asked.id, server.waits)
    assert 3 == len(server.asked)
    assert 1 == len(set(server.asked))
    assert UUID(server.asked[0][1])


def test_two_calls_have_two_keys_and_a_given_key_is_sent() -> None:
    done = Said(202, {"id": str(JOB)})

    with answering(done, done, done) as server, server.client() as client:
        for key in (None, None, "mine"):
            client.start_reflexion(idempotency_key=key)

    keys = [key for _, key in server.asked]
    assert ("mine", 3) == (keys[2], len(set(keys)))


def test_a_wait_that_is_too_long_is_left_to_the_caller() -> None:
    with (
        answering(Said(429, PROBLEM, {"Retry-After": "3600"})) as server,
        server.client() as client,
        pytest.raises(Problem, match="Too often") as found,
    ):
        client.get_reflexion()

    assert ("rate_limited", "5b7d1f0e9a3c2846") == (found.value.code, found.value.request_id)
    assert [] == server.waits


def test_waits_add_up_to_the_patience() -> None:
    busy = Said(429, PROBLEM, {"Retry-After": "2"})

    with (
        answering(busy, busy, busy) as server,
        server.client(patience_s=5) as client,
        pytest.raises(Problem),
    ):
        client.get_reflexion()

    assert [2, 2] == server.waits


def test_a_database_that_comes_back_is_waited_for() -> None:
    away = Said(503, {**PROBLEM, "code": "server_unreachable"})
    status = {"learned": 1, "waiting": 2, "accuracy": None, "said_by_a_later_version": 1}

    with answering(away, away, Said(200, status)) as server, server.client() as client:
        assert 2 == client.get_reflexion().waiting

    assert [0.5, 1] == server.waits


@pytest.mark.parametrize("status", [400, 409, 422, 500])
def test_a_refusal_that_stays_one_is_not_sent_again(status: int) -> None:
    with (
        answering(Said(status, {**PROBLEM, "errors": [{"field": "x", "message": "y"}]})) as server,
        server.client() as client,
        pytest.raises(Problem) as found,
    ):
        client.start_reflexion()

    assert (status, "x") == (found.value.status, found.value.errors[0].field)
    assert 1 == len(server.asked)


def test_somebody_on_the_way_is_not_taken_for_the_api() -> None:
    page = b"<html>Sign in to the network</html>"

    said = Said(200, page), Said(502, page), Said(302, page)
    with answering(*said) as server, server.client() as client:
        with pytest.raises(Unreachable, match="is not this API"):
            client.get_reflexion()
        for status in (502, 302):
            with pytest.raises(Problem, match=f"answered {status} without") as found:
                client.get_reflexion()
            assert "unexpected" == found.value.code
