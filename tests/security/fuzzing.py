"""Requests that nobody planned for: from the API's own description, and junk for every route."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import quote_from_bytes
from uuid import UUID

import httpx
import msgspec
import requests
import schemathesis
from factories import Row, TestTenant
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from litestar import Litestar
from litestar.routes import HTTPRoute
from schemathesis.checks import load_all_checks
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks as openapi
from sqlalchemy import String, Table, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from web.conftest import ADDRESS

from viral.schema.tables import METADATA
from viral.web.problems import PROBLEM_TYPE, Problem

Case: TypeAlias = "schemathesis.Case[Any]"
Operation: TypeAlias = "schemathesis.APIOperation[Any, Any, Any, Any]"

DECLARED = [
    openapi.status_code_conformance,
    openapi.content_type_conformance,
    openapi.response_schema_conformance,
]
# Counted a moment after the request that it counts.
COUNTED_LATER = "api_usage"
# A request that waits for something that never comes is as bad as one that fails.
PATIENCE_S = 10.0
NASTY = (
    *("", "\x00", "\ud800", "\u202e", "../../../etc/passwd", "%00", "%2e%2e%2f", "x" * 9000),
    *("-1", "1e309", "NaN", "9" * 400, "2026-02-30", "0001-01-01T00:00:00Z", "null", "[]", "{}"),
    *("' OR 1=1 --", "<script>", "{{7*7}}", "\r\nSet-Cookie: a=b", "ADMIN", "a@example.com"),
)
# What the description leaves open, so that generated requests come further than its checks.
NARROWER: dict[tuple[str, str], dict[str, object]] = {
    ("ConceptsWanted", "count"): {"type": "integer", "minimum": 1, "maximum": 2},
    ("KeyWanted", "name"): {"type": "string", "pattern": "^[a-z]{1,9}$"},
    ("PersonInvited", "email"): {"type": "string", "pattern": "^[a-z]{1,9}@example[.]com$"},
}
TYPES = (
    *("application/json", "application/x-www-form-urlencoded", "text/plain", "/", ""),
    *("multipart/form-data", "multipart/form-data; boundary=x", "application/json; charset=x"),
)


@dataclass(frozen=True)
class Victim:
    """The other tenant: what must not be in an answer, and what its rows are."""

    canary: str
    rows: Mapping[str, Row]

    def marks(self) -> set[str]:
        """Return the canary and the ids of all rows that belong to the tenant."""
        owned = [row for row in self.rows.values() if "tenant_id" in row]
        named = [row.get(name) for row in owned for name in ("id", "tenant_id", "user_id")]
        ids = {str(each) for each in named if isinstance(each, UUID)}
        return {self.canary, *ids}


@dataclass
class Run:
    """What became of the requests: what is wrong, and what was reached."""

    victim: Victim
    patience_s: float = PATIENCE_S
    faults: list[str] = field(default_factory=list)
    # Each operation with the statuses that it gave.
    statuses: dict[str, set[int]] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)

    async def send(
        self, name: str, client: httpx.AsyncClient, request: httpx.Request
    ) -> httpx.Response | None:
        """Send a request and look at its answer; None is a fault as well."""
        await request.aread()
        try:
            async with asyncio.timeout(self.patience_s):
                answer = await client.send(request)
        except TimeoutError:
            self.faults.append(f"{name}: no answer to {request.url} {request.content[:300]!r}")
            return None
        self.look(name, answer)
        return answer

    def look(self, name: str, answer: httpx.Response) -> None:
        """Note an answer; a fault is one that failed, or that knows of the victim."""
        self.statuses.setdefault(name, set()).add(answer.status_code)
        said = f"{answer.headers}\n{answer.text}"
        self.answers[name] = self.answers.get(name, "") + said
        sent = f"{answer.request.url}\n{answer.request.content!r}"
        if answer.status_code >= 500:
            self.faults.append(f"{name}: {answer.status_code} for {sent[:500]}")
        if known := {mark for mark in self.victim.marks() if mark in said and mark not in sent}:
            self.faults.append(f"{name}: tells {sorted(known)[:3]} for {sent[:500]}")

    def holding(self, mark: str) -> set[str]:
        """Return the operations whose answers held a text."""
        return {name for name, said in self.answers.items() if mark in said}


async def fuzz_described(
    client: httpx.AsyncClient,
    document: dict[str, Any],
    run: Run,
    own: Mapping[str, Row],
    *,
    draws: int = 10,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Send what the description of the API allows and what it does not, with ids of both."""
    load_all_checks()
    # Signing out ends what the others need.
    found = [
        _read(each)
        for each in schemathesis.openapi.from_dict(_closed(document)).get_all_operations()
    ]
    for operation in sorted(found, key=lambda each: each.label == "DELETE /api/v1/sessions"):
        for case in _cases(
            operation, draws, ids_for(operation.path, own), ids_for(operation.path, run.victim.rows)
        ):
            request = _request(case, client, headers or {})
            answer = await run.send(operation.label, client, request)
            if answer is not None:
                run.faults.extend(
                    f"{operation.label}: {each}" for each in _undeclared(case, answer)
                )


def _read(found: Any) -> Operation:
    """Take an operation whose description can be used; the library raises on others."""
    operation: Operation = found.ok()
    return operation


def ids_for(path: str, rows: Mapping[str, Row]) -> list[dict[str, str]]:
    """Fill the ids of a path from rows: `{concept_id}` from the tables that are named so."""
    if (found := re.search(r"{((\w+)_id)}", path)) is None:
        return []
    name, stem = found.groups()
    return [{name: str(row["id"])} for table, row in rows.items() if stem in table and "id" in row]


def _closed(document: dict[str, Any]) -> dict[str, Any]:
    """Leave credentials and headers to the caller; objects hold what they declare alone.

    A key of idempotency or a condition that is made up would end most requests early.
    """
    paths = {
        path: {method: _bare(each) for method, each in operations.items()}
        for path, operations in document["paths"].items()
    }
    document = {**document, "security": [], "paths": paths}
    schemas = {
        name: {**each, "additionalProperties": False} if "properties" in each else each
        for name, each in document["components"]["schemas"].items()
    }
    for (name, part), narrower in NARROWER.items():
        if name in schemas:
            schemas[name]["properties"] = {**schemas[name]["properties"], part: narrower}
    document["components"] = {**document["components"], "schemas": schemas}
    del document["components"]["securitySchemes"]
    return document


def _bare(operation: dict[str, Any]) -> dict[str, Any]:
    parameters = [each for each in operation.get("parameters", ()) if each["in"] != "header"]
    return {**operation, "security": [], "parameters": parameters}


def _cases(operation: Operation, draws: int, *of_rows: list[dict[str, str]]) -> Iterator[Case]:
    yield from drawn(operation.as_strategy(), draws)
    # What takes nothing cannot be given what it does not take.
    with contextlib.suppress(Unsatisfiable):
        yield from drawn(
            operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE), draws
        )
    for parameters in (each for ids in of_rows for each in ids):
        yield from drawn(operation.as_strategy(path_parameters=parameters), 3)


def drawn(strategy: st.SearchStrategy[Any], draws: int) -> list[Any]:
    """Draw the same values in each run."""
    found: list[Any] = []

    @settings(
        derandomize=True,
        database=None,
        max_examples=draws,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(value: object) -> None:
        found.append(value)

    draw()
    return found


def _request(case: Case, client: httpx.AsyncClient, headers: Mapping[str, str]) -> httpx.Request:
    """Have the case written as its library would send it."""
    made = requests.Request(**case.as_transport_kwargs(base_url=ADDRESS)).prepare()
    body = made.body or b""
    assert isinstance(body, str | bytes)
    return client.build_request(
        str(made.method),
        str(made.url),
        headers=[
            (name.encode("latin-1"), _bytes(value))
            for name, value in ({**made.headers, **headers}).items()
        ],
        content=body,
    )


def _bytes(value: str | bytes) -> bytes:
    return value.encode("latin-1") if isinstance(value, str) else value


def _undeclared(case: Case, answer: httpx.Response) -> list[str]:
    """Compare an answer with the description; errors, with what all errors look like as well."""
    if answer.status_code >= 400:
        if answer.headers["content-type"] != PROBLEM_TYPE:
            return [f"an error of the type {answer.headers['content-type']}"]
        try:
            problem = msgspec.json.decode(answer.content, type=Problem)
        except msgspec.MsgspecError as error:
            return [f"an error of another form: {error}"]
        if problem.status != answer.status_code:
            return ["an error of another status"]
    try:
        case.validate_response(answer, checks=DECLARED)
    except FailureGroup as group:
        return [f"{each.title}: {each.message}"[:500] for each in group.exceptions]
    return []


async def fuzz_route(
    client: httpx.AsyncClient, route: HTTPRoute, method: str, run: Run, token: str, *, draws: int
) -> None:
    """Send junk in the path, the query, the form and the body of a route."""
    names = _names(route, method)
    for junk in drawn(_junk(route.path, names, run.victim), draws):
        path, query, fields, raw, content_type, is_upload = junk
        headers = {"X-CSRFToken": token}
        url = f"{ADDRESS}{path}?{query}"
        if is_upload:
            request = client.build_request(
                method, url, headers=headers, data=fields, files={"file": ("a.csv", raw)}
            )
        elif content_type is not None:
            request = client.build_request(
                method, url, headers={**headers, "Content-Type": content_type}, content=raw
            )
        else:
            request = client.build_request(method, url, headers=headers, data=fields)
        await run.send(f"{method} {route.path}", client, request)


def http_routes(application: Litestar) -> Iterator[tuple[HTTPRoute, str]]:
    """Yield every route with each of its methods."""
    for route in application.routes:
        assert isinstance(route, HTTPRoute)
        for method in sorted(route.methods - {"OPTIONS", "HEAD"}):
            yield route, method


def _names(route: HTTPRoute, method: str) -> list[str]:
    """Name the parameters of a route and the fields of its form."""
    handler = next(each for each in route.route_handlers if method in each.http_methods)
    names = list(handler.parsed_fn_signature.parameters)
    form = handler.parsed_data_field
    if (
        form is not None
        and isinstance(form.annotation, type)
        and issubclass(form.annotation, msgspec.Struct)
    ):
        names += [each.encode_name for each in msgspec.structs.fields(form.annotation)]
    return names


def _junk(path: str, names: Collection[str], victim: Victim) -> st.SearchStrategy[Any]:
    ids = sorted(
        {each for row in ids_for(path.replace(":uuid", ""), victim.rows) for each in row.values()}
    )
    words = st.one_of(st.sampled_from([*NASTY, *ids]), st.text(max_size=40), st.uuids().map(str))
    known = st.lists(st.tuples(st.sampled_from([*names, "x"]), words), min_size=1, max_size=4)
    unknown = st.lists(st.tuples(words, words), max_size=1)
    pairs = st.tuples(known, unknown).map(lambda each: each[0] + each[1])
    ids_or_words = st.sampled_from(ids) | words if ids else words
    parts = [
        ids_or_words.map(_quoted) if part.startswith("{") else st.just(part)
        for part in path.split("/")
    ]
    return st.tuples(
        st.tuples(*parts).map("/".join),
        pairs.map(lambda each: "&".join(f"{_quoted(name)}={_quoted(word)}" for name, word in each)),
        pairs.map(lambda each: {_clean(name): _clean(word) for name, word in each}),
        st.binary(max_size=60) | words.map(_encoded),
        st.none() | st.none() | st.sampled_from(TYPES),
        st.integers(0, 4).map(lambda each: each == 0),
    )


def _encoded(word: str) -> bytes:
    return word.encode("utf-8", "surrogatepass")


def _quoted(word: str) -> str:
    return quote_from_bytes(_encoded(word), safe="")


def _clean(word: str) -> str:
    """Leave out what the client cannot write; a path and a body can hold it."""
    return word.replace("\ud800", "\ufffd").encode("utf-8", "replace").decode()


async def plant(admin: AsyncConnection, tenant: TestTenant, canary: str) -> set[str]:
    """Write a text into every column of a tenant that takes one; return the columns."""
    planted = set()
    for table in METADATA.sorted_tables:
        condition = _owned(table, tenant)
        if condition is None:
            continue
        for column in table.columns:
            if not isinstance(column.type, String) or column.foreign_keys:
                continue
            change = table.update().where(condition).values({column: canary + column})
            try:
                async with admin.begin_nested():
                    if (await admin.execute(change)).rowcount:
                        planted.add(str(column))
            except DBAPIError:
                # One of a few words, or of a form of its own.
                continue
    await admin.commit()
    return planted


async def rows_of(admin: AsyncConnection, tenant: TestTenant) -> dict[str, list[str]]:
    """Read all that a tenant has, by table, as text."""
    found = {}
    for table in METADATA.sorted_tables:
        condition = _owned(table, tenant)
        if condition is not None and table.name != COUNTED_LATER:
            rows = await admin.execute(select(table).where(condition))
            found[str(table)] = sorted(str(tuple(row)) for row in rows)
    await admin.rollback()
    return found


def _owned(table: Table, tenant: TestTenant) -> Any:
    ids = {"tenants": tenant.id, "users": tenant.user_id}
    if table.name in ids:
        return table.c.id == ids[table.name]
    return table.c.tenant_id == tenant.id if "tenant_id" in table.columns else None


async def fuzz_tools(client: httpx.AsyncClient, run: Run, *, key: str) -> None:
    """Call each tool of an agent with the victim's ids and with junk, in every argument."""
    headers = {"Authorization": f"Bearer {key}"}
    listed = await _message(client, run, headers, "tools/list", {})
    for tool in listed["tools"]:
        names = tool["inputSchema"]["properties"]
        filled = [each for name in names for each in ids_for(f"{{{name}}}", run.victim.rows)]
        values: list[object] = [*NASTY, 0, True, None, [], [{}], {}]
        for arguments in (*filled, *(dict.fromkeys(names, value) for value in values)):
            wanted = {"name": tool["name"], "arguments": arguments}
            result = await _message(client, run, headers, "tools/call", wanted)
            # Half a character is no JSON: the message is refused before a tool sees it.
            structure = result.get("structuredContent")
            if result.get("isError") and msgspec.convert(structure, Problem).status >= 500:
                run.faults.append(f"{tool['name']}: {structure} for {arguments}")


async def _message(
    client: httpx.AsyncClient,
    run: Run,
    headers: Mapping[str, str],
    method: str,
    params: Mapping[str, object],
) -> dict[str, Any]:
    """Send a message of the agents' protocol; its result, or nothing where it is refused."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    request = client.build_request("POST", "/mcp", content=body, headers=headers)
    answer = await run.send(f"{method} {params.get('name', '')}", client, request)
    assert answer is not None
    result: dict[str, Any] = answer.json().get("result", {})
    return result
