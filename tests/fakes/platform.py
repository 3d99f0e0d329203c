"""A platform on 127.0.0.1 that posts: it counts what it did by idempotency key, and can be slow.

Keys as in draft-ietf-httpapi-idempotency-key-header: a request with a known key is answered with
what the first one brought. Nothing here comes from the code under test.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Self
from urllib.parse import quote, unquote

Json = dict[str, object]


@dataclass
class FakePlatform:
    """Posts by idempotency key; use it as a context manager."""

    posts: dict[str, Json] = field(default_factory=dict)
    # How often a post was made, asked for, and looked up.
    effects: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    look_ups: Counter[str] = field(default_factory=Counter)

    def __enter__(self) -> Self:
        fake: FakePlatform = self
        self._lock = Lock()
        self._flows = Event()
        self._flows.set()

        class Handler(_Handler):
            platform = fake

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._flows.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    def stall(self) -> None:
        """Take requests for posts, and act on none until `flow`."""
        self._flows.clear()

    def flow(self) -> None:
        """Act on what waits."""
        self._flows.set()

    def post(self, key: str) -> Json:
        with self._lock:
            self.requests[key] += 1
        self._flows.wait(60)
        with self._lock:
            if key not in self.posts:
                self.effects[key] += 1
                self.posts[key] = {"post": len(self.posts) + 1}
            return self.posts[key]

    def find(self, key: str) -> Json | None:
        with self._lock:
            self.look_ups[key] += 1
            return self.posts.get(key)


class _Handler(BaseHTTPRequestHandler):
    platform: FakePlatform

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        self._answer(self.platform.post(self.headers["Idempotency-Key"]))

    def do_GET(self) -> None:
        self._answer(self.platform.find(unquote(self.path.removeprefix("/posts/"))))

    def _answer(self, document: Json | None) -> None:
        body = json.dumps(document).encode()
        self.send_response(200 if document is not None else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@dataclass(frozen=True)
class Client:
    """The way to a platform, for `AtWork.once`."""

    port: int

    async def post(self, key: str) -> Json:
        """Have a post made."""
        made = await asyncio.to_thread(self._ask, "POST", "/posts", key)
        assert made is not None
        return made

    async def find(self, key: str) -> Json | None:
        """Look up what became of a post."""
        return await asyncio.to_thread(self._ask, "GET", f"/posts/{quote(key, safe='')}", key)

    def _ask(self, method: str, path: str, key: str) -> Json | None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, headers={"Idempotency-Key": key})
            answer = connection.getresponse()
            body = answer.read()
            return json.loads(body) if answer.status == 200 else None
        finally:
            connection.close()
