"""How the client speaks: the key, pages, problems, and what is sent again.

Each POST carries an Idempotency-Key: sent again, it is answered as the first time, and done once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias, TypeVar
from uuid import uuid4

import httpx2
import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Query: TypeAlias = Mapping[str, object]
    Files: TypeAlias = Mapping[str, tuple[str, bytes]]

ADDRESS = "http://127.0.0.1:8000"
ATTEMPTS = 5
_PREFIX = "/api/v1"
# Nothing was done: too many requests, or no database.
_LATER = frozenset({429, 503})
# What is the same done twice. Of DELETE the second answer would be that nothing is there.
_REPEATABLE = frozenset({"GET", "POST", "PUT"})
_FIRST_PAUSE_S = 0.5

Answer = TypeVar("Answer")


class FieldFault(msgspec.Struct, frozen=True):
    """What is wrong with one field of a request."""

    field: str
    message: str


class _Said(msgspec.Struct, frozen=True):
    """A problem as the API writes it (RFC 9457)."""

    code: str
    detail: str
    request_id: str
    hint: str = ""
    errors: tuple[FieldFault, ...] = ()


class Problem(Exception):
    """The API refused a request, or failed at it.

    `code` stays what it is over versions, `hint` says what to do, and the logs know `request_id`.
    """

    def __init__(self, status: int, said: _Said) -> None:
        super().__init__(" ".join(each for each in (said.detail, said.hint) if each))
        self.status = status
        self.code = said.code
        self.detail = said.detail
        self.hint = said.hint
        self.request_id = said.request_id
        self.errors = said.errors


class Unreachable(Exception):
    """Nobody answers at the address, or somebody who is not this API."""


class Paged(Protocol):
    """A page of a list."""

    @property
    def next_cursor(self) -> str | None:
        """Return where the next page begins; None on the last."""


Page = TypeVar("Page", bound=Paged)


class Calls:
    """Sends requests with a key. A client is of one thread; another thread makes its own."""

    def __init__(
        self,
        key: str,
        address: str = ADDRESS,
        *,
        patience_s: float = 60,
        http: httpx2.Client | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take a key; `http` is another way to send, as through a proxy.

        A call that may be sent again waits for that no longer than `patience_s` in all.
        """
        self._key = key
        self._address = address.rstrip("/") + _PREFIX
        self._patience_s = patience_s
        self._http = http or httpx2.Client(timeout=30)
        self._sleep = sleep
        self._etag: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @property
    def etag(self) -> str | None:
        """The tag of the last answer, for the `if_match` of a change to what was read."""
        return self._etag

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: object = msgspec.UNSET,
        files: Files | None = None,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> httpx2.Response:
        """Send a request; Problem where the API refuses it, Unreachable where nobody answers."""
        headers = {"Authorization": f"Bearer {self._key}"}
        if method == "POST":
            headers["Idempotency-Key"] = idempotency_key or str(uuid4())
        if if_match is not None:
            headers["If-Match"] = if_match
        content = None
        if body is not msgspec.UNSET:
            headers["Content-Type"] = "application/json"
            content = msgspec.json.encode(body)
        request = self._http.build_request(
            method,
            self._address + path,
            params={name: _word(each) for name, each in (query or {}).items() if each is not None},
            headers=headers,
            content=content,
            files=files,
        )
        answer = self._send(request)
        self._etag = answer.headers.get("ETag")
        return answer

    def _pages(self, path: str, kind: type[Page], query: Query) -> Iterator[Page]:
        """Read a list, each page when it is wanted."""
        cursor: str | None = None
        while True:
            page = read(self._ask("GET", path, query={**query, "cursor": cursor}), kind)
            yield page
            cursor = page.next_cursor
            if cursor is None:
                return

    def _send(self, request: httpx2.Request) -> httpx2.Response:
        left_s, pause_s = self._patience_s, _FIRST_PAUSE_S
        for attempt in range(1, ATTEMPTS + 1):
            failure: Problem | Unreachable
            wait_s: float | None
            try:
                answer = self._http.send(request)
            except httpx2.TransportError as error:
                failure = Unreachable(f"Nobody answers at {self._address}: {error}.")
                failure.__cause__ = error
                wait_s = pause_s if request.method in _REPEATABLE else None
            else:
                if answer.is_success:
                    return answer
                failure = _problem(answer)
                wait_s = _wait_of(answer, pause_s)
            if wait_s is None or wait_s > left_s or attempt == ATTEMPTS:
                raise failure
            self._sleep(wait_s)
            left_s -= wait_s
            pause_s *= 2
        raise AssertionError("the last attempt returns or raises")


def read(answer: httpx2.Response, kind: type[Answer]) -> Answer:
    """Read the JSON of an answer."""
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except msgspec.MsgspecError as error:
        raise Unreachable(f"What answers at {answer.url} is not this API: {error}.") from error


def _problem(answer: httpx2.Response) -> Problem:
    try:
        return Problem(answer.status_code, msgspec.json.decode(answer.content, type=_Said))
    except msgspec.MsgspecError:
        # Of somebody on the way, such as a proxy.
        said = f"{answer.url} answered {answer.status_code} without a reason."
        return Problem(answer.status_code, _Said("unexpected", said, ""))


def _wait_of(answer: httpx2.Response, pause_s: float) -> float | None:
    """Return the seconds until a request may be sent again; None where that changes nothing."""
    said = answer.headers.get("Retry-After", "")
    if said.isdecimal():
        return float(said)
    return pause_s if answer.status_code in _LATER else None


def _word(value: object) -> str:
    """Write a value into a query: text as it is, a moment in ISO 8601, the rest as JSON."""
    plain = msgspec.to_builtins(value)
    return plain if isinstance(plain, str) else msgspec.json.encode(plain).decode()
