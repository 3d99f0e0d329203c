"""Errors as answers: problem details (RFC 9457) for programs, pages and notes for people."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from http import HTTPStatus

import msgspec
import structlog
from litestar import MediaType, Response
from litestar.exceptions import HTTPException
from litestar.response import Redirect
from sqlalchemy.exc import DBAPIError

from viral.database.faults import sqlstate_of
from viral.errors import RateLimited, ViralError
from viral.web.dashboard.flashes import send_back
from viral.web.dashboard.rendering import render
from viral.web.dashboard.views import ErrorPage, Flash, Page
from viral.web.door import request_id
from viral.web.requests import SAFE_METHODS, WebRequest

log = structlog.get_logger(__name__)

PROBLEM_TYPE = "application/problem+json"
# What a form can get wrong: the person stays at home and is told there.
_FORM_FAULTS = frozenset({402, 404, 409, 413, 422, 429})

# By status: code, sentence, what to do.
_KNOWN = {
    400: ("bad_request", "The request cannot be read.", ""),
    401: ("not_signed_in", "You are not signed in.", "Make a sign-in link with `viral sign-in`."),
    403: (
        "stale_form",
        "The form is out of date, or was not made by this page.",
        "Load the page again and repeat it.",
    ),
    404: ("not_found", "There is nothing at this address.", ""),
    405: ("method_not_allowed", "This address does not take that method.", ""),
    413: ("too_large", "That is larger than 50 MB, the most that is taken.", "Send it in parts."),
    415: ("wrong_type", "This type of content is not taken here.", ""),
}
_TITLES = {
    400: "This address is not ours",
    403: "That is not allowed",
    404: "There is no such page",
    405: "That does not work here",
    413: "That is too large",
    429: "That was too often",
    503: "The database does not answer",
}


class FieldFault(msgspec.Struct, frozen=True):
    """What is wrong with one field of a request."""

    field: str
    message: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a request failed, for programs (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    hint: str = ""
    errors: list[FieldFault] = []


@dataclass(frozen=True, slots=True)
class Fault:
    """What became of a request that failed."""

    status: int
    code: str
    message: str
    hint: str = ""
    fields: tuple[FieldFault, ...] = ()


def answer_error(request: WebRequest, error: Exception) -> Response[bytes] | Response[str]:
    """Answer a failed request in the form its sender understands."""
    fault = _fault_of(request, error)
    answer = _answer(request, fault)
    if isinstance(error, RateLimited):
        answer.headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, HTTPException) and error.headers:
        answer.headers.update(error.headers)
    return answer


def _answer(request: WebRequest, fault: Fault) -> Response[bytes] | Response[str]:
    if _is_for_programs(request.url.path):
        return _problem(request, fault)
    if fault.status == HTTPStatus.UNAUTHORIZED:
        return Redirect("/", status_code=303)
    is_form = request.method not in SAFE_METHODS and request.scope.get("user") is not None
    if is_form and fault.status in _FORM_FAULTS:
        note = Flash("error", fault.message, fault.code, fault.hint, request_id(request.scope))
        return send_back(request, note)
    return _page(request, fault)


def _fault_of(request: WebRequest, error: Exception) -> Fault:
    match error:
        case ViralError() if error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return Fault(error.status, error.code, error.message, error.hint)
        case ViralError():
            # Its message may name hosts and roles: for the log, and for the command line.
            _log_failure(request, error, reason=error.message)
            return Fault(error.status, error.code, type(error).__doc__ or "", "Try again soon.")
        case HTTPException() if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
            return _http_fault(error)
        case DBAPIError() if (sqlstate_of(error) or "").startswith("22"):
            return Fault(422, "bad_input", "A value cannot be stored: check its characters.")
    _log_failure(request, error, reason=None)
    return Fault(500, "unexpected", "Something unexpected happened.", "Report the request's id.")


def _http_fault(error: HTTPException) -> Fault:
    if isinstance(error.extra, dict):
        return Fault(error.status_code, error.extra["code"], error.detail, error.extra["hint"])
    if isinstance(error.extra, list):
        fields = tuple(FieldFault(each.get("key", "data"), each["message"]) for each in error.extra)
        said = "; ".join(f"{each.field}: {each.message}" for each in fields)
        return Fault(422, "bad_input", f"Some values cannot be used: {said}.", fields=fields)
    code, message, hint = _KNOWN.get(error.status_code, _KNOWN[400])
    return Fault(error.status_code, code, message, hint)


def _is_for_programs(path: str) -> bool:
    return path.startswith(("/api/", "/schema/", "/static/", "/webhooks/")) or path in {
        "/health",
        "/mcp",
    }


def problem_of(fault: Fault, request_id: str) -> Problem:
    """Say a fault in the words of RFC 9457."""
    return Problem(
        type=f"urn:viral:problem:{fault.code}",
        title=HTTPStatus(fault.status).phrase,
        status=fault.status,
        code=fault.code,
        detail=fault.message,
        request_id=request_id,
        hint=fault.hint,
        errors=list(fault.fields),
    )


def _problem(request: WebRequest, fault: Fault) -> Response[bytes]:
    problem = problem_of(fault, request_id(request.scope))
    return Response(msgspec.json.encode(problem), status_code=fault.status, media_type=PROBLEM_TYPE)


def _page(request: WebRequest, fault: Fault) -> Response[str]:
    is_ours = fault.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    shown = ErrorPage(
        status=fault.status,
        title=_TITLES.get(fault.status, "Something went wrong"),
        message=fault.message,
        still_works="What you had is unchanged." if is_ours else "",
        hint=fault.hint,
        code=fault.code,
        request_id=request_id(request.scope),
        is_signed_in=request.scope.get("user") is not None,
    )
    page = Page(now=request.app.state.clock(), csrf_token="")
    return Response(
        render("error.html", page=page, error=shown),
        status_code=fault.status,
        media_type=MediaType.HTML,
    )


def _log_failure(request: WebRequest, error: Exception, *, reason: str | None) -> None:
    """Log where an error arose. Not its text: a database puts statements and values into it."""
    frames = traceback.extract_tb(error.__traceback__)
    log.error(
        "request.failed",
        request_id=request_id(request.scope),
        method=request.method,
        path=request.url.path,
        error=type(error).__name__,
        sqlstate=sqlstate_of(error),
        reason=reason,
        where=[f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    )
