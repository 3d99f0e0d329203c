"""Inngest on 127.0.0.1: takes events and apps, and makes signed calls until a run has ended.

Shapes, signatures and refusals are those of docs/SDK_SPEC.md and pkg/api/api.go in
github.com/inngest/inngest; nothing here comes from the code under test.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Lock, Thread, Timer
from typing import Any, Literal, Self
from urllib.parse import parse_qs, parse_qsl, urlsplit

Json = dict[str, Any]

# An event's id is remembered for a day; in the time of a test that is for ever.
MOST_EVENTS = 5000
DEFAULT_RETRIES = 3


@dataclass(frozen=True)
class Request:
    """A request as it came; the names of its headers are lower-case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Told:
    """What the app answered to a request of the engine's."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_signed: bool

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Run:
    """A function's run for an event; `told` holds the answer to each of its calls."""

    event: Json
    function: Json
    status: Literal["waiting", "completed", "failed", "lost"] = "waiting"
    attempt: int = 0
    told: list[Told | None] = field(default_factory=list)
    steps: Json = field(default_factory=dict)
    output: Any = None


@dataclass
class FakeInngest:
    """An environment of its own; use it as a context manager, or `start` and `close` it."""

    event_key: str = "fake-event-key_of-the-tests"
    signing_key: str = "signkey-test-" + "0123456789abcdef" * 4
    # Keys whose tokens the API takes, beside the one that signs.
    other_keys: list[str] = field(default_factory=list)
    # Before a first call, and before a call again when the app does not say how long.
    delay_s: float = 0.0
    pause_s: float = 0.01
    apps: dict[str, Json] = field(default_factory=dict)
    events: dict[str, Json] = field(default_factory=dict)
    arrivals: Counter[str] = field(default_factory=Counter)
    runs: list[Run] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._numbers = count(1)
        self._faults: list[tuple[int, float | None]] = []
        self._left: Counter[str] = Counter()
        self._underway = 0
        self._lock = Lock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Listen on a free port of 127.0.0.1, in a thread."""
        fake = self

        class Handler(_Handler):
            inngest = fake

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # Closing waits for the threads: none holds a socket past it.
        self._server.daemon_threads = False
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self._callers = ThreadPoolExecutor(4)

    def close(self) -> None:
        """Stop listening and calling, and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        # A call that is under way may need the loop that this very call holds up.
        self._callers.shutdown(wait=False, cancel_futures=True)

    @property
    def url(self) -> str:
        """Give the address of the API and of the events, as in INNGEST_API_URL."""
        return f"http://127.0.0.1:{self._server.server_port}"

    # What a test makes happen.

    def fail(self, status: int, *, retry_after_s: float | None = None, times: int = 1) -> None:
        """Refuse the next requests before they do anything."""
        self._faults += [(status, retry_after_s)] * times

    def lose_answers(self, times: int = 1) -> None:
        """Carry the next requests out, and cut the connection before the answer."""
        self._left["answers"] += times

    def drop(self, times: int = 1) -> None:
        """Take the next events, and make no call for them."""
        self._left["dropped"] += times

    def repeat(self, times: int = 1) -> None:
        """Make the next calls, do not see their answers, and make them again."""
        self._left["repeated"] += times

    def sign(self, body: bytes, *, at: float | None = None, key: str | None = None) -> str:
        """Sign a body as it is, at `at` (unix seconds)."""
        seconds = str(int(time.time() if at is None else at))
        return f"t={seconds}&s={self._mac(key or self.signing_key, body, seconds)}"

    def ask(
        self,
        method: str,
        url: str,
        document: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        is_rewritten: bool = False,
    ) -> Told:
        """Send a signed request to an app; a proxy may write its JSON anew on the way."""
        body = b"" if document is None else _canonical(document)
        sent = json.dumps(document, indent=1).encode() if is_rewritten else body
        kinds = {"Content-Type": "application/json", "X-Inngest-Server-Kind": "cloud"}
        signed = {**kinds, "X-Inngest-Signature": self.sign(body), **(headers or {})}
        parts = urlsplit(url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=20)
        try:
            connection.request(method, f"{parts.path}?{parts.query}", sent or None, signed)
            answer = connection.getresponse()
            told = answer.read()
        finally:
            connection.close()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Told(answer.status, names, told, self._is_signed(names, told))

    def add_app(self, function_url: str, *, event: str, retries: int = DEFAULT_RETRIES) -> None:
        """Know an app of one function without asking it."""
        runtime = {"type": "http", "url": function_url}
        step = {"id": "step", "name": "step", "runtime": runtime, "retries": {"attempts": retries}}
        function = {"id": "a-f", "triggers": [{"event": event}], "steps": {"step": step}}
        self.apps["a"] = {"app_id": "a", "functions": [function]}

    def sync(self, url: str) -> Told:
        """Sync an app in-band: its answer describes it."""
        told = self.ask("PUT", url, {"url": url}, headers={"X-Inngest-Sync-Kind": "in_band"})
        if told.status == 200 and told.is_signed:
            app = told.json()
            self.apps[app["app_id"]] = app
        return told

    async def settled(self, timeout_s: float = 10.0) -> list[Run]:
        """Wait until no run waits for a call; give them all."""
        async with asyncio.timeout(timeout_s):
            while self._underway:
                await asyncio.sleep(0.005)
        return self.runs

    # What the servers of Inngest do.

    def answer(self, request: Request) -> tuple[int, dict[str, str], Json, bool]:
        """Carry a request out: status, headers, body, and whether the answer arrives."""
        with self._lock:
            self.requests.append(request)
            if self._faults:
                status, retry_after_s = self._faults.pop(0)
                more = {} if retry_after_s is None else {"Retry-After": f"{retry_after_s:g}"}
                return status, more, {"error": "A sentence of Inngest's.", "status": status}, True
            status, body = self._routed(request)
            return status, {}, body, not self._took("answers")

    def _routed(self, request: Request) -> tuple[int, Json]:
        _, first, *rest = request.path.split("/")
        if request.method == "POST" and first == "e" and len(rest) == 1:
            if rest[0] != self.event_key:
                return 401, {"error": "Event key not found", "status": 401}
            return self._taken(json.loads(request.body))
        if (request.method, request.path) == ("POST", "/fn/register"):
            token = request.headers.get("authorization", "").removeprefix("Bearer ")
            if token not in map(api_token, [self.signing_key, *self.other_keys]):
                return 401, {"error": "Invalid signing key"}
            return self._registered(request)
        return 404, {"error": "Not found"}

    def _taken(self, events: Any) -> tuple[int, Json]:
        for event in events if isinstance(events, list) else [None]:
            if not (
                isinstance(event, dict)
                and isinstance(event.get("data"), dict)
                and isinstance(event.get("name"), str)
                and not event["name"].startswith("inngest/")
            ):
                return 400, {"error": "Not an event", "status": 400, "ids": []}
        if len(events) > MOST_EVENTS:
            return 400, {"error": "Too many events", "status": 400, "ids": []}
        for event in events:
            id_ = event.get("id") or self._id("01EVENT")
            self.arrivals[id_] += 1
            if id_ not in self.events:
                stamped = {"ts": int(time.time() * 1000), "user": {}, **event, "id": id_}
                self.events[id_] = stamped
                self._start_runs(stamped)
        return 200, {"ids": [self._id("01EVENT") for _ in events], "status": 200}

    def _registered(self, request: Request) -> tuple[int, Json]:
        app = json.loads(request.body)
        wanted = {"url", "deployType", "appName", "sdk", "v", "functions"}
        if not (wanted <= app.keys() and request.headers.get("x-inngest-sdk") == app["sdk"]):
            return 400, {"error": "Not an app"}
        is_modified = self.apps.get(app["appName"]) != app
        self.apps[app["appName"]] = app
        return 200, {"ok": True, "modified": is_modified}

    def _start_runs(self, event: Json) -> None:
        for app in self.apps.values():
            for function in app["functions"]:
                if {"event": event["name"]} in function["triggers"]:
                    run = Run(event, function)
                    self.runs.append(run)
                    if self._took("dropped"):
                        run.status = "lost"
                    else:
                        self._underway += 1
                        self._later(self.delay_s, run)

    def _later(self, seconds: float, run: Run) -> None:
        def submit() -> None:
            with suppress(RuntimeError):  # closed in the meantime
                self._callers.submit(self._call, run)

        timer = Timer(seconds, submit)
        timer.daemon = True
        timer.start()

    def _call(self, run: Run) -> None:
        """Make one call, and decide what follows from its answer."""
        step = run.function["steps"]["step"]
        try:
            told = self.ask("POST", step["runtime"]["url"], self._document(run))
        except (OSError, HTTPException):
            told = None
        with self._lock:
            is_seen = told is not None and not self._took("repeated")
            run.told.append(told)
            pause_s = self._decided(run, told if is_seen else None)
            if pause_s is None:
                self._underway -= 1
            else:
                self._later(pause_s, run)

    def _document(self, run: Run) -> Json:
        return {
            "ctx": {
                "attempt": run.attempt,
                "disable_immediate_execution": False,
                "run_id": f"01RUN{self.runs.index(run):021}",
                "stack": {"current": len(run.steps), "stack": list(run.steps)},
            },
            "event": run.event,
            "events": [run.event],
            "steps": run.steps,
            "use_api": False,
            "version": 1,
        }

    def _decided(self, run: Run, told: Told | None) -> float | None:
        """End the run, or say in how many seconds it is called again."""
        if told is not None and told.is_signed and "x-inngest-sdk" in told.headers:
            if told.status == 200:
                run.status, run.output = "completed", told.json()
                return None
            if told.status == 206:
                run.steps |= {op["id"]: {"data": op.get("data")} for op in told.json()}
                run.attempt = 0
                return 0.0
            if told.headers.get("x-inngest-no-retry") == "true":
                run.status = "failed"
                return None
        run.attempt += 1
        if run.attempt > run.function["steps"]["step"]["retries"].get("attempts", DEFAULT_RETRIES):
            run.status = "failed"
            return None
        asked = told.headers.get("retry-after", "") if told else ""
        return float(asked) if asked.isdecimal() else self.pause_s

    def _took(self, kind: str) -> bool:
        is_left = self._left[kind] > 0
        self._left[kind] -= is_left
        return is_left

    def _is_signed(self, headers: Mapping[str, str], body: bytes) -> bool:
        found = parse_qs(headers.get("x-inngest-signature", ""))
        seconds, signature = (found.get(name, [""])[0] for name in ("t", "s"))
        is_fresh = seconds.isdecimal() and abs(time.time() - int(seconds)) <= 300
        return is_fresh and signature == self._mac(self.signing_key, body, seconds)

    def _mac(self, key: str, body: bytes, seconds: str) -> str:
        secret = key.rpartition("-")[2].encode()
        return hmac.new(secret, body + seconds.encode(), hashlib.sha256).hexdigest()

    def _id(self, prefix: str) -> str:
        return f"{prefix}{next(self._numbers):019}"


class _Handler(BaseHTTPRequestHandler):
    inngest: FakeInngest

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = dict(parse_qsl(parts.query))
        status, more, answer, arrives = self.inngest.answer(
            Request(self.command, parts.path, query, headers, body)
        )
        if not arrives:
            return
        written = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **more}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(written)))
        self.end_headers()
        self.wfile.write(written)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def api_token(key: str) -> str:
    """Give the token that the API knows a signing key by."""
    secret = key.rpartition("-")[2]
    return key.removesuffix(secret) + hashlib.sha256(bytes.fromhex(secret)).hexdigest()


def _canonical(document: object) -> bytes:
    """Write as RFC 8785 does what holds no fractions, and no names beyond U+FFFF."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
