"""Errors as answers: named for the caller, silent about the inside."""

from __future__ import annotations

import pytest
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from viral.errors import ServerUnreachable
from web.conftest import Browser, altered

NO_CHECK = "ALTER TABLE job_queue DROP CONSTRAINT ck_secret"


async def test_a_problem_says_what_which_and_what_to_do(alices: Browser) -> None:
    answer = await alices.send("/api/v1/concepts", {"count": 0})

    problem = answer.json()
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.status_code == 422
    assert problem == {
        "type": "urn:viral:problem:bad_input",
        "title": "Unprocessable Entity",
        "status": 422,
        "code": "bad_input",
        "detail": "0 concepts cannot be generated at once.",
        "hint": "Ask for 1 to 100.",
        "request_id": answer.headers["x-request-id"],
    }


async def test_a_wrong_field_is_named(alices: Browser) -> None:
    answer = await alices.send("/api/v1/concepts", {"count": "many"})

    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"field": "count", "message": "Expected `int`, got `str`"}]


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[1", b"null"])
async def test_a_body_that_is_no_json_is_refused(alices: Browser, body: bytes) -> None:
    answer = await alices.client.post(
        "/api/v1/concepts",
        content=body,
        headers={"X-CSRFToken": await alices.form_token(), "Content-Type": "application/json"},
    )

    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"].startswith("application/problem+json")


async def test_people_get_a_page_and_programs_a_problem(alices: Browser) -> None:
    page = await alices.get("/nowhere")
    problem = await alices.get("/api/v1/nowhere")

    assert (page.status_code, problem.status_code) == (404, 404)
    assert "<h1>There is no such page</h1>" in page.text
    assert page.headers["x-request-id"] in page.text
    assert problem.json()["code"] == "not_found"


async def test_a_wrong_method_is_named(alices: Browser) -> None:
    answer = await alices.get("/api/v1/reflexion/runs")

    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


async def test_an_unexpected_error_tells_the_caller_nothing_and_the_log_where(
    alices: Browser, admin: AsyncConnection
) -> None:
    # A value that only the database refuses: its message would hold the row.
    check = "ALTER TABLE job_queue ADD CONSTRAINT ck_secret CHECK (job_type <> 'reflexion')"

    async with altered(admin, check, back=[NO_CHECK]):
        with capture_logs() as logs:
            answer = await alices.send("/api/v1/reflexion/runs")

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (500, "unexpected")
    failed = next(each for each in logs if each["event"] == "request.failed")
    assert failed["request_id"] == problem["request_id"]
    assert failed["sqlstate"] == "23514"
    assert any("features/jobs/queue.py" in frame for frame in failed["where"])
    for said in (answer.text, str(logs)):
        assert "ck_secret" not in said
        assert "INSERT" not in said
        assert "DETAIL" not in said
        assert "Failing row" not in said


async def test_a_value_that_the_database_refuses_is_the_callers_fault(
    alices: Browser, admin: AsyncConnection
) -> None:
    check = (
        "ALTER TABLE job_queue ADD CONSTRAINT ck_secret"
        " CHECK (1 / (length(job_type) - length('reflexion')) = 1)"
    )

    async with altered(admin, check, back=[NO_CHECK]):
        answer = await alices.send("/api/v1/reflexion/runs")

    assert (422, "bad_input") == (answer.status_code, answer.json()["code"])
    assert "division" not in answer.text


async def test_a_lost_database_is_503_without_its_address(
    alices: Browser, application: Litestar, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object) -> None:
        raise ServerUnreachable("Can't reach the database server at db.internal:5432: no answer.")

    monkeypatch.setattr(application.state.runtime.app, "_begin", unreachable)

    page = await alices.get("/")
    problem = await alices.get("/api/v1/tenant")
    health = await alices.get("/health")

    assert (page.status_code, problem.status_code, health.status_code) == (503, 503, 503)
    assert "db.internal" not in page.text + problem.text + health.text
    assert problem.json()["code"] == "server_unreachable"
