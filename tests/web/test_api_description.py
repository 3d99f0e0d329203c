"""The API's description: complete, stable, and true of what is answered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from factories import TestTenant

from viral.database.engine import Database
from viral.schema.base import uuid7
from viral.web.api.examples import BODIES, PARAMETERS
from viral.web.problems import PROBLEM_TYPE, Problem
from web.conftest import Browser, make_operator

Json = dict[str, Any]
VERBS = (
    *("list", "get", "add", "create", "generate", "order", "export", "import", "select", "mark"),
    *("unmark", "start", "stop", "undo", "explain", "check", "rename", "cancel", "retry", "change"),
    *("remove", "revoke", "invite", "end", "open", "fetch"),
)


@pytest.fixture
async def document(stranger: Browser) -> Json:
    found: Json = (await stranger.get("/schema/openapi.json")).json()
    return found


def operations_of(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, operations in document["paths"].items():
        if path.startswith("/api/"):
            for method, operation in operations.items():
                yield path, method, operation


async def test_each_operation_says_what_it_takes_and_who_may(document: Json) -> None:
    tags = {each["name"] for each in document["tags"]}
    used = set()
    for path, method, operation in operations_of(document):
        name = operation["operationId"]
        assert name.partition("_")[0] in VERBS, name
        assert re.fullmatch(r"[a-z_]+", name)
        assert set(operation["tags"]) <= tags
        assert all(each["description"] for each in operation.get("parameters", ())), name
        used |= {each["name"] for each in operation.get("parameters", ())}
        answers = operation["responses"].keys()
        assert {"400", "401", "403", "429", "503"} <= answers, name
        assert ("404" in answers) or "{" not in path
        assert ("304" in answers) == (method == "get")
        assert ("412" in answers) == (method in {"put", "patch", "delete"})
        needed = {"get": "read"}.get(method, "write")
        for each in operation["security"]:
            assert needed in each.get("key", [needed]), name
    assert used == {*PARAMETERS, "Idempotency-Key", "If-Match"}
    assert all(each["description"] for each in document["tags"])


async def test_rights_are_those_of_the_guards(document: Json) -> None:
    by_name = {each["operationId"]: each["security"] for _, _, each in operations_of(document)}

    assert by_name["rename_tenant"] == [{"session": ["ADMIN"]}, {"key": ["write", "admin"]}]
    assert by_name["list_tenants"] == [{"session": ["operator"]}]
    assert by_name["list_sessions"] == [{"session": []}]
    assert by_name["list_jobs"] == [{"session": []}, {"key": ["read"]}]


async def test_problems_have_examples_of_their_form(document: Json) -> None:
    for name, answer in document["components"]["responses"].items():
        [(kind, content)] = answer["content"].items()
        example = msgspec.convert(content["example"], Problem)
        assert (kind, content["schema"]["$ref"]) == (PROBLEM_TYPE, "#/components/schemas/Problem")
        assert example.detail, name
        assert ("Retry-After" in answer.get("headers", {})) == (example.status in {409, 429})


async def test_the_bodies_that_stand_as_examples_are_taken(
    document: Json, alices: Browser, alice: TestTenant, system: Database
) -> None:
    await make_operator(system, alice)
    sent = set()
    for path, method, operation in operations_of(document):
        content = operation.get("requestBody", {}).get("content", {})
        if "application/json" not in content:
            continue
        body = content["application/json"]["example"]
        answer = await alices.send(filled(path), body, method=method)
        assert answer.status_code in {200, 201, 202, 404, 409}, (path, answer.text)
        sent.add(operation["operationId"])
    assert sent == BODIES.keys()


async def test_every_error_is_declared_and_a_problem(
    document: Json, alices: Browser, stranger: Browser
) -> None:
    """Asked by nobody, with a foreign key, with junk, with a condition, about nothing."""
    stranger.client.cookies.clear()
    token = await alices.form_token()
    junk = {"X-CSRFToken": token, "Idempotency-Key": "a b", "If-Match": '"x"'}
    for path, method, operation in operations_of(document):
        # It would end what the others need; its answer is looked at in a test of its own.
        if operation["operationId"] == "end_sessions":
            continue
        place = filled(path)
        answers = [
            await stranger.client.request(method, place),
            await stranger.client.request(method, place, headers={"Authorization": "Bearer x"}),
            await alices.client.request(method, f"{place}?limit=x&cursor=x", headers=junk),
            await alices.client.request(
                method, place, content=b"[1]", headers={"X-CSRFToken": token, **JSON}
            ),
            await alices.client.request(
                method, place, content=b"{", headers={"X-CSRFToken": token, **JSON}
            ),
        ]
        for answer in answers:
            check(operation, answer)
        assert 401 in {each.status_code for each in answers}


JSON = {"Content-Type": "application/json"}


def check(operation: Json, answer: httpx.Response) -> None:
    assert str(answer.status_code) in operation["responses"], (
        operation["operationId"],
        answer.text,
    )
    if answer.is_error:
        assert answer.headers["content-type"] == PROBLEM_TYPE
        problem = msgspec.json.decode(answer.content, type=Problem)
        assert problem.status == answer.status_code
        assert problem.type == f"urn:viral:problem:{problem.code}"
        assert problem.request_id == answer.headers["x-request-id"]


def filled(path: str) -> str:
    return re.sub(r"\{\w+\}", str(uuid7()), path)
