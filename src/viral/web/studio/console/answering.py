"""Running a text, explaining it, keeping what it changed, cancelling it, taking its rows along."""

from __future__ import annotations

import hashlib
from collections.abc import Coroutine
from typing import Literal, TypeVar
from uuid import UUID

import msgspec
from litestar import Response, post
from litestar.params import URLEncodedBody

from viral.database.console import run as console
from viral.database.console.answers import Answer, Changed, Refusal
from viral.database.console.plan import Plan, explain
from viral.database.console.sessions import Bounds
from viral.errors import NotAllowed
from viral.features.audit import note
from viral.features.users.sessions import Identity
from viral.runtime import Runtime
from viral.web.dependencies import Person, Wired
from viral.web.forms import Form
from viral.web.recognition import caller_of
from viral.web.requests import WebRequest
from viral.web.site import Site
from viral.web.studio.console.deeds import noting
from viral.web.studio.console.export import exported
from viral.web.studio.console.flame import DESKTOP, PHONE, draw_plan, duration, summary
from viral.web.studio.console.page import (
    PAGE,
    AnswerView,
    PlanView,
    console_view,
    places_of,
    runs_of,
    send_console,
    why_not_writing,
)
from viral.web.studio.console.views import fault_of, grid_of, step_rows, trial_of

T = TypeVar("T")
ROWS_SHOWN = 1_000
ROWS_EXPORTED = 100_000
_LARGEST_EXPORT_BYTES = 64_000_000
_PURPOSE = "console trial"


class TextForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A text and how to run it; `run` is the name under which its page may cancel it."""

    sql: str = ""
    seconds: Literal[5, 10, 30, 60] = 10
    writes: Literal["", "yes"] = ""
    run: str = ""
    seal: str = ""
    format: Literal["csv", "json"] = "csv"

    @property
    def text(self) -> str:
        """The text as it was typed: forms send its lines with ends of their own."""
        return self.sql.replace("\r\n", "\n")


class Shown(msgspec.Struct, frozen=True):
    """What a person saw that a text would change."""

    digest: bytes
    tenant_id: UUID
    changes: tuple[Changed, ...]


@post(f"{PAGE}/run", status_code=200, include_in_schema=False)
async def run_text(
    request: WebRequest, runtime: Wired, identity: Person, data: URLEncodedBody[TextForm]
) -> Response[str]:
    """Run a text; one that writes is rehearsed, and what it would change is shown."""
    writes = _writes(request, identity, data)
    work = console.rehearse if writes else console.read
    found = await _run(
        request,
        identity,
        data,
        work(places_of(runtime), data.text, tenant_id=identity.tenant_id, bounds=_bounds(data)),
    )
    return await _send(request, runtime, identity, data, found)


@post(f"{PAGE}/keep", status_code=200, include_in_schema=False)
async def keep_changes(
    request: WebRequest, runtime: Wired, identity: Person, data: URLEncodedBody[TextForm]
) -> Response[str]:
    """Run a text again and keep what it changes, if that is what was shown."""
    if why_not := why_not_writing(request, identity):
        raise NotAllowed(why_not)
    expected = _opened(request, identity, data)
    found: Answer | Refusal
    if expected is None:
        found = Refusal("This is not the text whose changes were shown.", "Run it again first.")
    else:
        found = await _run(
            request,
            identity,
            data,
            console.keep(
                places_of(runtime),
                data.text,
                tenant_id=identity.tenant_id,
                bounds=_bounds(data),
                expected=expected,
                deed=noting(request, identity),
            ),
        )
    return await _send(request, runtime, identity, data, found)


@post([f"{PAGE}/plan", f"{PAGE}/measure"], status_code=200, include_in_schema=False)
async def explain_text(
    request: WebRequest, runtime: Wired, identity: Person, data: URLEncodedBody[TextForm]
) -> Response[str]:
    """Show how a text would be carried out, or run it to measure that and take it back."""
    found = await _run(
        request,
        identity,
        data,
        explain(
            places_of(runtime),
            data.text,
            tenant_id=identity.tenant_id,
            bounds=_bounds(data),
            is_measured=request.url.path.endswith("/measure"),
            writes=_writes(request, identity, data),
        ),
    )
    return await _send(request, runtime, identity, data, found)


@post(f"{PAGE}/export", status_code=200, include_in_schema=False)
async def export_rows(
    request: WebRequest, runtime: Wired, identity: Person, data: URLEncodedBody[TextForm]
) -> Response[str] | Response[bytes]:
    """Run a text that reads once more and send its rows as a file."""
    bounds = Bounds(ROWS_EXPORTED, data.seconds, _LARGEST_EXPORT_BYTES)
    found = await _run(
        request,
        identity,
        data,
        console.read(places_of(runtime), data.text, tenant_id=identity.tenant_id, bounds=bounds),
    )
    if isinstance(found, Answer):
        async with runtime.app.tenant_session(identity.tenant_id) as session:
            await note(
                session,
                "exported rows",
                "SQL",
                user_id=identity.user_id,
                address=caller_of(request).address,
                rows=len(found.rows),
            )
        return exported(found, data.format, now=runtime.clock())
    return await _send(request, runtime, identity, data, found)


@post(f"{PAGE}/cancel", status_code=204, include_in_schema=False, sync_to_thread=False)
def cancel_run(request: WebRequest, identity: Person, data: URLEncodedBody[TextForm]) -> None:
    """Cancel what the person runs; what has ended by itself stays as it is."""
    runs_of(request).cancel(identity.user_id, data.run)


async def _run(
    request: WebRequest,
    identity: Identity,
    data: TextForm,
    work: Coroutine[object, object, T],
) -> T | Refusal:
    return await runs_of(request).run(identity.user_id, data.run, work)


async def _send(
    request: WebRequest,
    runtime: Runtime,
    identity: Identity,
    data: TextForm,
    found: Answer | Plan | Refusal,
) -> Response[str]:
    answer = _answer_view(request, identity, data, found)
    view = console_view(
        request,
        identity,
        sql=data.text,
        seconds=data.seconds,
        writes=bool(data.writes),
        answer=answer,
    )
    return await send_console(request, runtime, identity, view)


def _answer_view(
    request: WebRequest, identity: Identity, data: TextForm, found: Answer | Plan | Refusal
) -> AnswerView:
    match found:
        case Refusal():
            return AnswerView(fault=fault_of(found, data.text))
        case Plan():
            return AnswerView(plan=_plan_view(found))
    is_trial = bool(found.changes) and not found.is_kept
    seal = _sealed(request, identity, data, found.changes) if is_trial else ""
    return AnswerView(
        grid=grid_of(found) if found.columns else None,
        done=None if found.columns else f"{found.tag}, {duration(found.seconds * 1000)}",
        trial=trial_of(found, seal) if found.changes or found.is_kept else None,
    )


def _plan_view(plan: Plan) -> PlanView:
    times = ""
    if plan.execution_ms is not None and plan.planning_ms is not None:
        times = f"Planned in {duration(plan.planning_ms)}, run in {duration(plan.execution_ms)}."
    return PlanView(
        summary=summary(plan),
        pictures=tuple(draw_plan(plan, canvas) for canvas in (DESKTOP, PHONE)),
        rows=tuple(step_rows(plan)),
        is_measured=plan.is_measured,
        times=times,
    )


def _writes(request: WebRequest, identity: Identity, data: TextForm) -> bool:
    if data.writes and (why_not := why_not_writing(request, identity)):
        raise NotAllowed(why_not)
    return bool(data.writes)


def _bounds(data: TextForm) -> Bounds:
    return Bounds(ROWS_SHOWN, data.seconds)


def _sealed(
    request: WebRequest, identity: Identity, data: TextForm, changes: tuple[Changed, ...]
) -> str:
    site: Site = request.app.state.site
    shown = Shown(_digest(data.text), identity.tenant_id, changes)
    return site.seals.seal(_PURPOSE, str(identity.user_id), msgspec.msgpack.encode(shown))


def _opened(request: WebRequest, identity: Identity, data: TextForm) -> tuple[Changed, ...] | None:
    """Return the changes that were shown; None for another text, tenant or person."""
    site: Site = request.app.state.site
    content = site.seals.open(_PURPOSE, str(identity.user_id), data.seal)
    if content is None:
        return None
    shown = msgspec.msgpack.decode(content, type=Shown)
    is_same = shown.digest == _digest(data.text) and shown.tenant_id == identity.tenant_id
    return shown.changes if is_same else None


def _digest(sql: str) -> bytes:
    return hashlib.sha256(sql.encode(errors="surrogatepass")).digest()
