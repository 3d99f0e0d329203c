"""Neon's API: calls that are never carried out twice, and the operations that they begin.

Source: neon.com/docs/reference/api. A change answers with operations that go on at Neon, and is
refused with 423 while others do. Only what Neon did not carry out for sure is sent again: 423 and
503 ("always safe to retry") and 429; reading and deleting are safe anyway.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from datetime import datetime  # noqa: TC003 - msgspec reads annotations at run time
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from viral.adapters.outgoing import Outgoing
from viral.errors import BadSetting, NotFound, VendorError, VendorRefused, VendorUnreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from viral.adapters.outgoing import Answer
    from viral.postgres.branches.provider import Advance

TIMEOUT_S = 30.0
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0
# Branches take seconds at Neon; a change of many gigabytes of history may take minutes.
PATIENCE_S = 300.0
_PAGE = "100"
_SUCCESS = range(200, 300)
_NO_CONTENT = 204
_NOT_FOUND = 404
_NOT_CARRIED_OUT = frozenset({423, 429, 503})
_SERVER_FAULT = 500
_ENDED = frozenset({"finished", "skipped", "cancelled"})
_GOING_ON = frozenset({"scheduling", "running", "cancelling"})
# A failed operation "may be retried" by Neon; one that stays failed so long is not.
_FAILED_POLLS = 3
_LONGEST_SENTENCE = 300
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,100}", re.ASCII)
_PROJECT_ID = re.compile(r"[a-z0-9-]{1,100}")
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
# Malformed or misshapen, too deep, not UTF-8: msgspec raises a class for each.
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)

_PASSING: dict[int, tuple[str, str]] = {
    423: ("another operation goes on in the project", "Try again in some minutes."),
    429: ("it gets too many requests", "Try again in a minute."),
}
_TROUBLE = ("it has a fault of its own", "Try again later; neonstatus.com says how it is.")
_LASTING: dict[int, tuple[str, str]] = {
    401: ("the key is not accepted", "Correct NEON_API_KEY: it is wrong or revoked."),
    403: ("the key may not do this", "Use a NEON_API_KEY of somebody who may, in that project."),
    404: ("there is no such thing", "Check NEON_PROJECT_ID, and that NEON_API_KEY is for it."),
}
_WRONG = ("it refuses", "Change what Neon names, or ask for something else.")

_Shape = TypeVar("_Shape")


class NeonBranch(msgspec.Struct, frozen=True):
    """A branch as Neon writes it."""

    id: str
    name: str
    parent_id: str | None = None
    parent_timestamp: datetime | None = None
    current_state: str = "ready"
    is_default: bool = msgspec.field(name="default", default=False)
    protected: bool = False
    created_at: datetime | None = None
    expires_at: datetime | None = None
    logical_size: int | None = None


class Operation(msgspec.Struct, frozen=True):
    """Something that goes on at Neon after the answer."""

    id: str
    action: str
    status: str
    branch_id: str | None = None


class Changed(msgspec.Struct, frozen=True):
    """The answer to a change."""

    branch: NeonBranch | None = None
    operations: list[Operation] = []


class NeonDatabase(msgspec.Struct, frozen=True):
    """A database of a branch, and the role that owns it."""

    name: str
    owner_name: str


class _Pagination(msgspec.Struct, frozen=True):
    next: str | None = None


class _Branches(msgspec.Struct, frozen=True):
    branches: list[NeonBranch]
    pagination: _Pagination = _Pagination()


class _One(msgspec.Struct, frozen=True):
    branch: NeonBranch


class _Operations(msgspec.Struct, frozen=True):
    operations: list[Operation]


class _Operation(msgspec.Struct, frozen=True):
    operation: Operation


class _Databases(msgspec.Struct, frozen=True):
    databases: list[NeonDatabase]


class _Role(msgspec.Struct, frozen=True):
    name: str


class _Roles(msgspec.Struct, frozen=True):
    roles: list[_Role]


class _Uri(msgspec.Struct, frozen=True):
    uri: str


class _Problem(msgspec.Struct, frozen=True):
    message: str = ""
    code: str = ""


class NeonApi:
    """One project at Neon, for one event loop; see `opened`.

    What passes by itself is VendorUnreachable, what somebody has to change first VendorRefused,
    and what is not there NotFound. Messages hold Neon's own sentence, and never the key.
    """

    def __init__(
        self,
        outgoing: Outgoing,
        project_url: str,
        *,
        api_key: str,
        first_pause_s: float,
        patience_s: float,
    ) -> None:
        self._outgoing = outgoing
        self._project_url = project_url
        self._api_key = api_key
        self._first_pause_s = first_pause_s
        self._patience_s = patience_s

    async def branches(self) -> list[NeonBranch]:
        """Read all branches of the project, the oldest first."""
        params = {"limit": _PAGE, "sort_by": "created_at", "sort_order": "asc"}
        found: list[NeonBranch] = []
        while True:
            page = await self._get("branches", _Branches, params, task="list the branches")
            found.extend(page.branches)
            # The last page may have a cursor too, to itself or to an empty one.
            if page.pagination.next in {None, "", params.get("cursor")} or not page.branches:
                return found
            params["cursor"] = str(page.pagination.next)

    async def branch(self, branch_id: str) -> NeonBranch:
        """Read a branch."""
        return (await self._get(_path("branches", branch_id), _One, task="read the branch")).branch

    async def operations_of(self, branch_id: str) -> list[Operation]:
        """Read what goes on with a branch; of what has failed there, some may be long ago."""
        page = await self._get(
            "operations", _Operations, {"limit": _PAGE}, task="list the operations"
        )
        return [
            each
            for each in page.operations
            if each.branch_id == branch_id and each.status in _GOING_ON
        ]

    async def databases(self, branch_id: str) -> list[NeonDatabase]:
        """Read the databases of a branch."""
        path = _path("branches", branch_id, "databases")
        return (await self._get(path, _Databases, task="list the databases")).databases

    async def roles(self, branch_id: str) -> list[str]:
        """Read the names of a branch's roles."""
        path = _path("branches", branch_id, "roles")
        roles = (await self._get(path, _Roles, task="list the roles")).roles
        return [each.name for each in roles]

    async def connection_uri(
        self, branch_id: str, *, database: str, role: str, is_pooled: bool
    ) -> str:
        """Read an address with its password."""
        params = {
            "branch_id": branch_id,
            "database_name": database,
            "role_name": role,
            "pooled": "true" if is_pooled else "false",
        }
        uri = (await self._get("connection_uri", _Uri, params, task="give the address")).uri
        if not _is_address(uri):
            raise VendorRefused("Neon gives an address of PostgreSQL that cannot be read.")
        return uri

    async def change(
        self, method: str, *path: str, body: object = None, task: str, is_idempotent: bool = False
    ) -> Changed:
        """Change something; after VendorUnreachable it may have been done all the same."""
        answer = await self._send(
            method, _path(*path), body=body, task=task, is_idempotent=is_idempotent
        )
        if answer.status == _NO_CONTENT or not answer.body:
            return Changed()
        return _read(answer, Changed, task)

    async def settle(self, operations: Iterable[Operation], *, advance: Advance, step: str) -> None:
        """Wait until operations have ended."""
        waiting = {each.id: each for each in operations}
        failed: dict[str, int] = {}
        total = len(waiting)
        deadline, pause_s = self._deadline(), self._first_pause_s
        while True:
            waiting = {key: each for key, each in waiting.items() if each.status not in _ENDED}
            advance(step, total - len(waiting), total)
            if not waiting:
                return
            for each in waiting.values():
                _refuse_failed(each, failed)
            if _now() + pause_s > deadline:
                raise VendorUnreachable(
                    f"Neon is still at work after {self._patience_s:g} s: {_actions(waiting)}.",
                    hint="It goes on there: look with `viral branch list`.",
                )
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)
            waiting = {key: await self._operation(key) for key in waiting}

    async def _operation(self, operation_id: str) -> Operation:
        path = _path("operations", operation_id)
        return (await self._get(path, _Operation, task="say how an operation stands")).operation

    async def _get(
        self, path: str, shape: type[_Shape], params: Mapping[str, str] | None = None, *, task: str
    ) -> _Shape:
        answer = await self._send("GET", path, params=params, task=task, is_idempotent=True)
        return _read(answer, shape, task)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        task: str,
        is_idempotent: bool,
        params: Mapping[str, str] | None = None,
        body: object = None,
    ) -> Answer:
        """Send a call, again and again while the project is locked or the limit is reached."""
        deadline, pause_s = self._deadline(), self._first_pause_s
        while True:
            answer = await self._outgoing.request(
                method,
                f"{self._project_url}/{path}",
                headers={"Authorization": f"Bearer {self._api_key}"},
                params=params,
                json=body,
                is_idempotent=is_idempotent,
            )
            if answer.status in _SUCCESS:
                return answer
            wait_s = max(pause_s, _retry_after_s(answer))
            if answer.status not in _NOT_CARRIED_OUT or _now() + wait_s > deadline:
                raise self._refusal(answer, task)
            await asyncio.sleep(wait_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def _deadline(self) -> float:
        return _now() + self._patience_s

    def _refusal(self, answer: Answer, task: str) -> VendorError | NotFound:
        kind: type[VendorError | NotFound] = VendorRefused
        if answer.status in _PASSING or answer.status >= _SERVER_FAULT:
            kind, (why, hint) = VendorUnreachable, _PASSING.get(answer.status, _TROUBLE)
        else:
            why, hint = _LASTING.get(answer.status, _WRONG)
            if answer.status == _NOT_FOUND:
                kind = NotFound
        try:
            problem = msgspec.json.decode(answer.body, type=_Problem)
        except _UNREADABLE:
            problem = _Problem()  # a proxy's page, not Neon's answer
        code = f", code {problem.code}" if _WORD.fullmatch(problem.code) else ""
        said = self._printable(problem.message)
        return kind(
            f"Neon does not {task}: {why} (status {answer.status}{code})."
            + (f" It says: {said!r}." if said else ""),
            hint=hint,
        )

    def _printable(self, sentence: str) -> str:
        plain = "".join(each for each in sentence if each.isprintable())
        return plain.replace(self._api_key, "...")[:_LONGEST_SENTENCE]


@asynccontextmanager
async def opened(
    api_url: str,
    *,
    api_key: str,
    project_id: str,
    first_pause_s: float = FIRST_PAUSE_S,
    patience_s: float = PATIENCE_S,
    retries: int = 2,
) -> AsyncIterator[NeonApi]:
    """Have the API of one project for the length of the block."""
    base = _checked_url(api_url)
    if not _PROJECT_ID.fullmatch(project_id):
        raise BadSetting(
            "NEON_PROJECT_ID is missing, or no id of a project.",
            hint="Set it beside NEON_API_KEY: `aged-wildflower-123456`, as the settings of the"
            " project at Neon have it.",
        )
    outgoing = Outgoing(vendors=[base], timeout_s=TIMEOUT_S, retries=retries)
    try:
        yield NeonApi(
            outgoing,
            f"{base}/{_path('projects', project_id)}",
            api_key=api_key,
            first_pause_s=first_pause_s,
            patience_s=patience_s,
        )
    finally:
        await outgoing.close()


def _checked_url(url: str) -> str:
    """Return the URL without its last slash; the key travels under TLS, or not off this machine."""
    try:
        parts = urlsplit(url)
        is_safe = parts.scheme == "https" or (
            parts.scheme == "http" and parts.hostname in _LOOPBACK
        )
    except ValueError:
        is_safe = False
    if not is_safe:
        raise BadSetting(
            "NEON_API_URL is no https address.",
            hint="Leave it out, or write https://console.neon.tech/api/v2.",
        )
    return url.rstrip("/")


def _path(*parts: str) -> str:
    # A part is an id, of Neon's or of the settings: never a path of its own.
    return "/".join(quote(part, safe="") for part in parts)


def _read(answer: Answer, shape: type[_Shape], task: str) -> _Shape:
    try:
        return msgspec.json.decode(answer.body, type=shape)
    except _UNREADABLE:
        # The cause is left out: it may quote the answer, and that may be an address.
        raise VendorRefused(
            f"Neon's answer cannot be read: it was asked to {task}.", hint="Check NEON_API_URL."
        ) from None


def _is_address(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    is_postgres = parts.scheme in {"postgres", "postgresql"}
    # What is printed into a file of settings must be one line.
    return is_postgres and bool(parts.hostname) and uri.isprintable() and " " not in uri


def _refuse_failed(operation: Operation, failed: dict[str, int]) -> None:
    """Raise VendorRefused for an operation that failed for good; counts how long it is failed."""
    failed[operation.id] = failed.get(operation.id, 0) + 1 if operation.status == "failed" else 0
    if operation.status == "error" or failed[operation.id] >= _FAILED_POLLS:
        raise VendorRefused(
            f"Neon could not carry out {_actions({operation.id: operation})}.",
            hint="See how the project stands: `viral branch list`, and console.neon.tech.",
        )


def _actions(operations: Mapping[str, Operation]) -> str:
    names = {each.action for each in operations.values() if _WORD.fullmatch(each.action)}
    return ", ".join(sorted(names)) or "an operation"


def _retry_after_s(answer: Answer) -> float:
    asked = answer.headers.get("retry-after", "").strip()
    return float(asked) if asked.isascii() and asked.isdigit() else 0.0


def _now() -> float:
    return asyncio.get_running_loop().time()
