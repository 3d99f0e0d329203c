"""A browser without a window: it asks the application in this process and keeps cookies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import cast
from urllib.parse import quote, urlencode

import msgspec
from litestar import Litestar
from litestar.types import HTTPReceiveMessage, HTTPScope, Message, Scope

HOST = "127.0.0.1"
# Of no machine (RFC 5737): whoever signs in wrongly is counted by address.
_SENDER = "192.0.2.1"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Body:
    """What a request carries, and its media type."""

    content: bytes = b""
    media_type: str = ""


NO_BODY = Body()


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        """Return a header, or an empty text."""
        return next((value for key, value in self.headers if key == name), "")

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that it sets."""
        found: dict[str, str] = {}
        for key, value in self.headers:
            if key == "set-cookie":
                found |= {name: each.value for name, each in SimpleCookie(value).items()}
        return found

    @property
    def text(self) -> str:
        """All of it, headers too, as text to look into."""
        lines = (f"{key}: {value}\n" for key, value in self.headers)
        return "".join(lines) + self.body.decode(errors="replace")

    @property
    def json(self) -> object:
        """Its body as JSON; None when it is none."""
        if "json" not in self.header("content-type"):
            return None
        try:
            return msgspec.json.decode(self.body)
        except msgspec.DecodeError:
            return None


NO_REPLY = Reply(0, (), b"")


@dataclass(slots=True)
class Visitor:
    """Asks as somebody: a session where there is one, and the form token of the application."""

    application: Litestar
    csrf_cookie: str
    cookies: dict[str, str] = field(default_factory=dict, repr=False)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body = NO_BODY,
    ) -> Reply:
        """Send one request; `path` is as a person would write it, not encoded."""
        if method not in SAFE_METHODS:
            await self._take_form_token()
        sent = {"host": HOST, "cookie": self._cookie(), **(headers or {})}
        if body.media_type:
            sent["content-type"] = body.media_type
        sent["content-length"] = str(len(body.content))
        if method not in SAFE_METHODS:
            sent.setdefault("x-csrftoken", self.cookies[self.csrf_cookie])
        return await exchange(self.application, _scope(method, path, query or {}, sent), body)

    async def _take_form_token(self) -> None:
        if self.csrf_cookie not in self.cookies:
            reply = await exchange(
                self.application, _scope("GET", "/sign-in", {}, {"host": HOST}), NO_BODY
            )
            self.cookies[self.csrf_cookie] = reply.cookies[self.csrf_cookie]

    def _cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())


async def exchange(application: Litestar, scope: Scope, body: Body) -> Reply:
    """Hand a request to the application as a server does (ASGI 3), and collect what it sends."""
    sent: list[Message] = []
    waiting = [body.content]

    async def receive() -> HTTPReceiveMessage:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await application(scope, receive, send)
    status, headers, content = 0, [], b""
    for message in sent:
        if message["type"] == "http.response.start":
            status, headers = message["status"], list(message["headers"])
        elif message["type"] == "http.response.body":
            content += message["body"]
    named = ((key.decode("latin-1").lower(), value.decode("latin-1")) for key, value in headers)
    return Reply(status, tuple(named), content)


def _scope(
    method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]
) -> HTTPScope:
    scope: dict[str, object] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": quote(path).encode(),
        "query_string": urlencode(query).encode(),
        "root_path": "",
        "headers": [
            (key.lower().encode("latin-1"), value.encode("latin-1"))
            for key, value in headers.items()
        ],
        "client": (_SENDER, 1),
        "server": (HOST, 80),
        "state": {},
    }
    # What a server gives; Litestar adds the rest as the request goes in.
    return cast("HTTPScope", scope)
