"""Anthropic's Messages API on 127.0.0.1: what it takes and refuses, and answers as told to give.

Shapes and refusals are those of platform.claude.com/docs (version 2026-10-21: sampling parameters
are gone; structured output wants closed objects and knows no bounds); nothing here comes from the
code under test.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, Self

Json = dict[str, Any]

VERSION = "2026-10-21"
FIELDS = {"model", "max_tokens", "system", "messages", "output_config", "stream"}
UNSUPPORTED = {"minimum", "maximum", "minLength", "maxLength", "maxItems", "pattern", "multipleOf"}
USAGE = {"input_tokens": 1000, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}


@dataclass(frozen=True)
class Says:
    """An answer that is streamed in pieces and ends for a reason."""

    text: str
    stop: str = "end_turn"
    output_tokens: int = 200
    usage: Json = field(default_factory=lambda: dict(USAGE))
    piece: int = 40


@dataclass(frozen=True)
class Fails:
    """A status that is no success."""

    status: int
    kind: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Breaks:
    """A stream that says something and then ends otherwise.

    `by` is cut (the connection), drip (a ping now and then, for ever), error (an event of this
    kind), or garbage (an event that is no JSON).
    """

    text: str
    by: str
    kind: str = "overloaded_error"


@dataclass(frozen=True)
class Gzipped:
    """An answer in an encoding that was not asked for."""


Answer = Says | Fails | Breaks | Gzipped


@dataclass(frozen=True)
class Request:
    """A request as it came; the names of its headers are lower-case."""

    path: str
    headers: dict[str, str]
    body: Json
    raw: str
    at_s: float

    @property
    def data(self) -> Any:
        """The JSON between the fences of the user's message."""
        text = self.body["messages"][0]["content"]
        assert text.startswith("<data>\n")
        assert text.endswith("\n</data>")
        return json.loads(text.removeprefix("<data>\n").removesuffix("\n</data>"))


@dataclass
class FakeAnthropic:
    """An account with one key; use it as a context manager. The last answer is given for ever."""

    api_key: str = "sk-ant-api03-fake-key-of-the-tests"
    models: set[str] = field(default_factory=lambda: {"claude-sonnet-5-5", "claude-haiku-4-5"})
    answers: deque[Answer] = field(default_factory=deque)
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> Self:
        fake: FakeAnthropic = self

        class Handler(_Handler):
            account = fake

        self.is_over = Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def gives(self, *answers: Answer) -> None:
        """Answer so from now on, in this order."""
        self.answers = deque(answers)

    def lets_in(self, headers: Mapping[str, str]) -> bool:
        """Take a key as a bearer token, or in the header that was its place before."""
        given = headers.get("authorization"), headers.get("x-api-key")
        return given in {(f"Bearer {self.api_key}", None), (None, self.api_key)}

    def next_answer(self, request: Request) -> Answer:
        """Refuse what the API refuses, else take the next answer."""
        if not self.lets_in(request.headers):
            return Fails(401, "authentication_error")
        if request.headers.get("anthropic-version") != VERSION:
            return Fails(400, "invalid_request_error")
        if request.body.get("model") not in self.models:
            return Fails(404, "not_found_error")
        if any(_faults(request.body)):
            return Fails(400, "invalid_request_error")
        return self.answers.popleft() if len(self.answers) > 1 else self.answers[0]


def _faults(body: Json) -> Iterator[str]:
    """Say what is wrong with a request; temperature, top_p and top_k are among unknown fields."""
    yield from body.keys() - FIELDS
    yield from FIELDS - body.keys()
    output = body.get("output_config", {})
    yield from output.keys() - {"format", "effort"}
    if "effort" in output and body.get("model") == "claude-haiku-4-5":
        yield "this model takes no effort"
    form = output.get("format", {})
    if form.get("type") != "json_schema":
        yield "no schema"
    yield from _schema_faults(form.get("schema", {}))


def _schema_faults(schema: Json) -> Iterator[str]:
    yield from schema.keys() & UNSUPPORTED
    if schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            yield "an open object"
        if set(schema.get("required", ())) != set(schema["properties"]):
            yield "a field that is not required"
        for each in schema["properties"].values():
            yield from _schema_faults(each)
    if schema.get("type") == "array":
        yield from _schema_faults(schema["items"])


class _Handler(BaseHTTPRequestHandler):
    account: FakeAnthropic
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def do_GET(self) -> None:
        model = self.path.removeprefix("/v1/models/")
        headers = {name.lower(): value for name, value in self.headers.items()}
        if not self.account.lets_in(headers):
            self._fail(Fails(401, "authentication_error"))
        elif headers.get("anthropic-version") != VERSION:
            self._fail(Fails(400, "invalid_request_error"))
        elif model not in self.account.models:
            self._fail(Fails(404, "not_found_error"))
        else:
            self._send(200, {"id": model, "type": "model", "display_name": model})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.path, headers, json.loads(raw), raw, time.monotonic())
        self.account.requests.append(request)
        answer = self.account.next_answer(request)
        try:
            self._give(answer)
        except ConnectionError:
            self.close_connection = True

    def _give(self, answer: Answer) -> None:
        if isinstance(answer, Fails):
            self._fail(answer)
            return
        if isinstance(answer, Gzipped):
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Set-Cookie", "session=of-a-stranger; Path=/")
        self.send_header("request-id", "req_fake")
        self.end_headers()
        self._start(answer.usage if isinstance(answer, Says) else dict(USAGE))
        piece = answer.piece if isinstance(answer, Says) else 40
        for at in range(0, len(answer.text), piece):
            delta = {"type": "text_delta", "text": answer.text[at : at + piece]}
            self._event("content_block_delta", index=0, delta=delta)
        if isinstance(answer, Breaks):
            self._break(answer)
            return
        self._event("content_block_stop", index=0)
        self._event(
            "message_delta",
            delta={"stop_reason": answer.stop, "stop_sequence": None},
            usage={"output_tokens": answer.output_tokens},
        )
        self._event("message_stop")
        self._chunk(b"")

    def _start(self, usage: Json) -> None:
        message: Json = {
            "id": "msg_fake",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-5-5",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage | {"output_tokens": 1},
        }
        self._event("message_start", message=message)
        thinking = {"type": "thinking", "thinking": "", "signature": "x"}
        self._event("content_block_start", index=0, content_block=thinking)
        self._event("content_block_stop", index=0)
        self._event("content_block_start", index=0, content_block={"type": "text", "text": ""})

    def _break(self, answer: Breaks) -> None:
        if answer.by == "cut":
            self.close_connection = True
        elif answer.by == "error":
            self._event("error", error={"type": answer.kind, "message": "Of the vendor's."})
            self._chunk(b"")
        elif answer.by == "garbage":
            self._chunk(b"event: content_block_delta\ndata: {half of\n\n")
            self._chunk(b"")
        else:
            while not self.account.is_over.wait(0.02):
                self._event("ping")

    def _event(self, kind: str, **fields: object) -> None:
        data = json.dumps({"type": kind, **fields})
        self._chunk(f"event: {kind}\ndata: {data}\n\n".encode())

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _fail(self, answer: Fails) -> None:
        # What a vendor writes may quote what was sent.
        error = {"type": answer.kind, "message": f"You sent {self.headers['authorization']}."}
        document = {"type": "error", "error": error, "request_id": "req_fake"}
        self._send(answer.status, document, answer.headers)

    def _send(self, status: int, document: Json, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
