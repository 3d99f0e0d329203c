"""Neon's API on 127.0.0.1: branches, computes, and operations that take several polls.

Shapes and refusals are those of neon.com/docs/reference/api; nothing here comes from the code under
test. Where the documentation names no status for a refusal, it is 422.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Lock, Thread
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

Json = dict[str, Any]

# The fields of `branch` that each call takes.
CREATE = {
    "name",
    "parent_id",
    "parent_lsn",
    "parent_timestamp",
    "protected",
    "init_source",
    "expires_at",
    "archived",
}
UPDATE = {"name", "protected", "expires_at"}
RESTORE = {"source_branch_id", "source_lsn", "source_timestamp", "preserve_under_name"}
GOING_ON = {"scheduling", "running", "cancelling"}
ISO_8601 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


class Refused(Exception):
    """An answer that is no success."""

    def __init__(
        self, status: int, message: str, code: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.body = {"request_id": "req-1", "code": code, "message": message}


@dataclass(frozen=True)
class Call:
    """A request as it came; the names of its headers are lower-case, `at` is monotonic seconds."""

    method: str
    path: str
    query: dict[str, str]
    body: Json
    headers: dict[str, str]
    at: float


@dataclass
class FakeNeon:
    """A project of its own; use it as a context manager."""

    api_key: str = "napi_fakeKeyOfTheTests"
    project_id: str = "aged-wildflower-123456"
    # How often an operation is asked for until it has ended.
    polls: int = 2
    most_per_page: int = 100
    born: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(days=7))
    branches: dict[str, Json] = field(default_factory=dict)
    endpoints: dict[str, str] = field(default_factory=dict)
    operations: dict[str, Json] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=lambda: {"viral_owner": "owner-password"})
    databases: dict[str, str] = field(default_factory=lambda: {"viral": "viral_owner"})
    # Addresses that are given instead of Neon's, by branch and role.
    addresses: dict[tuple[str, str], str] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._numbers = count(1)
        self._faults: list[Refused] = []
        self._answers_to_lose = 0
        self._outcomes: list[str] = []
        self._lock = Lock()
        root = self._branch("main", None, created_at=self.born)
        root["default"] = True
        self.endpoints[root["id"]] = "ep-cool-darkness-1"

    def __enter__(self) -> Self:
        fake = self

        class Handler(_Handler):
            neon: FakeNeon = fake

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # Closing waits for the threads: none holds a socket past it.
        self._server.daemon_threads = False
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Give the base address of the API, as in NEON_API_URL."""
        return f"http://127.0.0.1:{self._server.server_port}/api/v2"

    @property
    def changes(self) -> Counter[str]:
        """Count the calls that change something, as `POST branches`; each attempt counts."""
        return Counter(f"{call.method} {call.path}" for call in self.calls if call.method != "GET")

    def named(self, name: str) -> Json:
        """Find the one branch of a name."""
        (found,) = [each for each in self.branches.values() if each["name"] == name]
        return found

    # What a test makes happen.

    def fail(
        self,
        status: int,
        message: str = "a sentence of Neon's",
        *,
        code: str = "",
        times: int = 1,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Refuse the next changes before they do anything."""
        self._faults += [Refused(status, message, code, headers)] * times

    def lose_answers(self, times: int = 1) -> None:
        """Carry the next changes out, and cut the connection before the answer."""
        self._answers_to_lose += times

    def end_operations(self, *outcomes: str) -> None:
        """Let the next operations end so, in the order in which they begin."""
        self._outcomes += outcomes

    # What the API does.

    def answer(self, call: Call) -> tuple[int, Json, dict[str, str], bool]:
        """Carry a call out: the status, the body, headers, and whether the answer arrives."""
        with self._lock:
            self.calls.append(call)
            try:
                status, body = self._carry_out(call)
            except Refused as refused:
                return refused.status, refused.body, refused.headers, True
            arrives = call.method == "GET" or self._answers_to_lose == 0
            self._answers_to_lose -= not arrives
            return status, body, {}, arrives

    def _carry_out(self, call: Call) -> tuple[int, Json]:
        if call.headers.get("authorization") != f"Bearer {self.api_key}":
            raise Refused(401, "supplied credentials do not pass authentication")
        if call.method == "GET":
            return 200, self._read(call)
        if self._faults:
            raise self._faults.pop(0)
        if going_on := [id_ for id_, one in self.operations.items() if one["status"] in GOING_ON]:
            # They end by themselves: waiting for them counts as asking.
            for id_ in going_on:
                self._polled(id_)
            raise Refused(423, "project already has running conflicting operations")
        if (call.method, call.path) == ("POST", "branches"):
            return 201, self._create(call.body)
        return 200, self._change(call)

    def _change(self, call: Call) -> Json:
        if found := re.fullmatch(r"branches/([^/]+)(/restore)?", call.path):
            branch, action = self._known(found[1]), call.method + (found[2] or "")
            if action == "POST/restore":
                return self._restore(branch, call.body)
            if action == "PATCH":
                return self._update(branch, call.body)
            if action == "DELETE":
                return self._delete(branch)
        raise Refused(404, "this page was not found")

    def _read(self, call: Call) -> Json:
        match call.path.split("/"):
            case ["branches"]:
                return self._page(call.query)
            case ["branches", id_]:
                found: Json = {"branch": self._known(id_)}
            case ["branches", id_, "roles"] if self._known(id_):
                found = {"roles": [{"name": name, "protected": False} for name in self.roles]}
            case ["branches", id_, "databases"] if self._known(id_):
                named = self.databases.items()
                found = {"databases": [{"name": one, "owner_name": owner} for one, owner in named]}
            case ["operations"]:
                newest = [_public(each) for each in reversed(self.operations.values())]
                found = {"operations": newest, "pagination": {}}
            case ["operations", id_]:
                found = {"operation": self._polled(id_)}
            case ["connection_uri"]:
                found = {"uri": self._uri(call.query)}
            case _:
                raise Refused(404, "this page was not found")
        return found

    def _page(self, query: Mapping[str, str]) -> Json:
        by, order = query.get("sort_by", "updated_at"), query.get("sort_order", "desc")
        found = sorted(self.branches.values(), key=lambda each: (each[by], each["id"]))
        if order == "desc":
            found.reverse()
        start = int(query.get("cursor", "0"))
        size = min(int(query.get("limit", 10_000)), self.most_per_page)
        page = found[start : start + size]
        pagination = {"sort_by": by, "sort_order": order}
        if start + size < len(found):
            pagination["next"] = str(start + size)
        return {"branches": page, "annotations": {}, "pagination": pagination}

    def _create(self, body: Json) -> Json:
        wanted = _fields(body, {"branch", "endpoints"}).get("branch", {})
        _fields(wanted, CREATE)
        root = next(each for each in self.branches.values() if each["default"])
        parent = self._known(wanted.get("parent_id") or root["id"])
        at = _moment(wanted.get("parent_timestamp"))
        if at is not None and not _moment(parent["created_at"]) <= at <= datetime.now(UTC):
            raise Refused(400, "timestamp is outside of the history of the parent branch")
        self._refuse_taken(wanted.get("name", ""))
        branch = self._branch(wanted["name"], parent["id"], created_at=datetime.now(UTC))
        branch |= {
            "protected": wanted.get("protected", False),
            "init_source": wanted.get("init_source", "parent-data"),
            "parent_timestamp": wanted.get("parent_timestamp", branch["created_at"]),
            "current_state": "init",
        }
        if _moment(wanted.get("expires_at")) is not None:
            branch["expires_at"] = wanted["expires_at"]
        begun = [self._begin("create_branch", branch["id"])]
        kinds = [each["type"] for each in body.get("endpoints", [])]
        if "read_write" in kinds:
            self.endpoints[branch["id"]] = f"ep-{branch['id'].removeprefix('br-')}"
            begun.append(self._begin("start_compute", branch["id"]))
        return {"branch": branch, "endpoints": [{"type": each} for each in kinds]} | {
            "operations": begun,
            "connection_uris": [],
        }

    def _update(self, branch: Json, body: Json) -> Json:
        branch |= _fields(_fields(body, {"branch"}).get("branch", {}), UPDATE)
        return {"branch": branch, "operations": []}

    def _delete(self, branch: Json) -> Json:
        if branch["default"] or branch["protected"]:
            raise Refused(422, "the branch cannot be deleted")
        if any(each["parent_id"] == branch["id"] for each in self.branches.values()):
            raise Refused(422, "the branch has children")
        del self.branches[branch["id"]]
        return {"branch": branch, "operations": [self._begin("delete_timeline", branch["id"])]}

    def _restore(self, branch: Json, body: Json) -> Json:
        source = self._known(_fields(body, RESTORE)["source_branch_id"])
        at = _moment(body.get("source_timestamp"))
        is_itself = source["id"] == branch["id"]
        children = [each for each in self.branches.values() if each["parent_id"] == branch["id"]]
        name = body.get("preserve_under_name")
        if not name and (is_itself or children):
            raise Refused(400, "preserve_under_name is required")
        if is_itself and at is None:
            raise Refused(400, "source_timestamp or source_lsn is required")
        if at is not None and not _moment(source["created_at"]) <= at <= datetime.now(UTC):
            raise Refused(400, "timestamp is outside of the history of the source branch")
        if name:
            self._refuse_taken(name)
            kept = self._branch(name, branch["parent_id"], created_at=datetime.now(UTC))
            for each in children:
                each["parent_id"] = kept["id"]
        branch |= {"current_state": "resetting", "restored_from": source["id"]}
        operations = [
            self._begin("create_timeline", branch["id"]),
            self._begin("apply_config", branch["id"]),
        ]
        return {"branch": branch, "operations": operations}

    def _uri(self, query: Mapping[str, str]) -> str:
        if missing := {"database_name", "role_name"} - query.keys():
            raise Refused(400, f"missing {missing}")
        branch = self._known(query["branch_id"])
        role, database = query["role_name"], query["database_name"]
        if role not in self.roles or database not in self.databases:
            raise Refused(404, "role or database not found")
        if branch["id"] not in self.endpoints:
            raise Refused(404, "read-write endpoint not found")
        if given := self.addresses.get((branch["name"], role)):
            return given
        pooler = "-pooler" if query.get("pooled") == "true" else ""
        host = f"{self.endpoints[branch['id']]}{pooler}.us-east-2.aws.neon.tech"
        options = "sslmode=require&channel_binding=require"
        return f"postgresql://{role}:{self.roles[role]}@{host}/{database}?{options}"

    def _polled(self, id_: str) -> Json:
        if id_ not in self.operations:
            raise Refused(404, "operation not found")
        operation = self.operations[id_]
        operation["_polls"] -= 1
        if operation["_polls"] <= 0:
            operation["status"] = operation["_outcome"]
            branch = self.branches.get(operation["branch_id"])
            if branch is not None and operation["status"] == "finished":
                branch["current_state"] = "ready"
        elif operation["status"] == "scheduling":
            operation["status"] = "running"
        return _public(operation)

    def _begin(self, action: str, branch_id: str) -> Json:
        id_ = f"a07f8772-1877-4da9-a939-{next(self._numbers):012}"
        self.operations[id_] = {
            "id": id_,
            "project_id": self.project_id,
            "branch_id": branch_id,
            "action": action,
            "status": "scheduling",
            "failures_count": 0,
            "_polls": self.polls,
            "_outcome": self._outcomes.pop(0) if self._outcomes else "finished",
        }
        return _public(self.operations[id_])

    def _branch(self, name: str, parent_id: str | None, *, created_at: datetime) -> Json:
        id_ = f"br-young-forest-{next(self._numbers):08}"
        written = created_at.isoformat().replace("+00:00", "Z")
        self.branches[id_] = {
            "id": id_,
            "project_id": self.project_id,
            "parent_id": parent_id,
            "name": name,
            "current_state": "ready",
            "logical_size": 28_000_000,
            "default": False,
            "protected": False,
            "created_at": written,
            "updated_at": written,
        }
        return self.branches[id_]

    def _known(self, id_: str) -> Json:
        if id_ not in self.branches:
            raise Refused(404, "branch not found", "BRANCH_NOT_FOUND")
        return self.branches[id_]

    def _refuse_taken(self, name: str) -> None:
        if not name or any(each["name"] == name for each in self.branches.values()):
            raise Refused(409, "branch name is missing or taken", "BRANCH_ALREADY_EXISTS")


class _Handler(BaseHTTPRequestHandler):
    neon: FakeNeon

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def _answer(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = urlsplit(self.path)
        base = f"/api/v2/projects/{self.neon.project_id}/"
        call = Call(
            self.command,
            unquote(parts.path.removeprefix(base)),
            dict(parse_qsl(parts.query)),
            json.loads(raw) if raw else {},
            {name.lower(): value for name, value in self.headers.items()},
            time.monotonic(),
        )
        status, answer, headers, arrives = self.neon.answer(call)
        if not arrives:
            return
        body = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _public(thing: Json) -> Json:
    return {name: value for name, value in thing.items() if not name.startswith("_")}


def _fields(body: Json, known: set[str]) -> Json:
    if unknown := body.keys() - known:
        raise Refused(400, f"unknown fields {sorted(unknown)}")
    return body


def _moment(text: str | None) -> Any:
    if text is None:
        return None
    if not ISO_8601.fullmatch(text):
        raise Refused(400, f"{text} is not in ISO 8601")
    return datetime.fromisoformat(text)
