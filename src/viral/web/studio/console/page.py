"""The console's page: a text, what it answered, and who may do what there."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

from litestar import MediaType, Response, get
from litestar.params import FromQuery
from litestar.template.base import csrf_token

from viral.database.console.sessions import LONGEST_S, Places
from viral.features.users.sessions import Identity
from viral.runtime import Runtime
from viral.schema.security import APP, READONLY
from viral.servers import migrator_url
from viral.web.dependencies import Person, Wired
from viral.web.requests import WebRequest
from viral.web.studio.console.running import Runs
from viral.web.studio.console.views import Fault, Grid, StepRow, Trial
from viral.web.studio.gate import is_writing, reading
from viral.web.studio.rendering import render
from viral.web.studio.shell import provide_frame, show

PAGE = "/console"
# A script that replaces a part of the page asks for that part alone.
PART = "x-part"
SECONDS = (5, 10, 30, LONGEST_S)
_LONGEST_LINK = 4_000
EXAMPLES = (
    (
        "Newest concepts",
        """SELECT title, category, created_at
FROM concepts
ORDER BY created_at DESC
LIMIT 20""",
    ),
    (
        "Concepts by category",
        """SELECT category, count(*) AS concepts
FROM concepts
GROUP BY category
ORDER BY concepts DESC""",
    ),
    (
        "Columns of a table",
        """SELECT column_name, data_type, is_nullable
FROM information_schema.columns
WHERE table_name = 'videos'
ORDER BY ordinal_position""",
    ),
)


@dataclass(frozen=True, slots=True)
class PlanView:
    """A plan as its page shows it."""

    summary: str
    pictures: tuple[str, ...]
    rows: tuple[StepRow, ...]
    is_measured: bool
    times: str


@dataclass(frozen=True, slots=True)
class AnswerView:
    """What a text answered; the parts that it has not are None."""

    grid: Grid | None = None
    done: str | None = None
    trial: Trial | None = None
    fault: Fault | None = None
    plan: PlanView | None = None


@dataclass(frozen=True, slots=True)
class ConsoleView:
    """The page: the text with its options, and an answer where there is one."""

    sql: str
    seconds: int
    writes: bool
    may_write: bool
    why_not: str
    history: str
    run: str
    csrf_token: str
    answer: AnswerView | None = None
    choices: tuple[int, ...] = SECONDS
    examples: tuple[tuple[str, str], ...] = EXAMPLES


@get(PAGE, include_in_schema=False)
async def show_console(
    request: WebRequest, runtime: Wired, identity: Person, sql: FromQuery[str] = ""
) -> Response[str]:
    """Show an empty console, or one with a text that a link brings; it is not run."""
    view = console_view(request, identity, sql=sql[:_LONGEST_LINK])
    return await send_console(request, runtime, identity, view)


def console_view(
    request: WebRequest,
    identity: Identity,
    *,
    sql: str = "",
    seconds: int = SECONDS[1],
    writes: bool = False,
    answer: AnswerView | None = None,
) -> ConsoleView:
    """Say what the person may do here, around a text and its answer."""
    why_not = why_not_writing(request, identity)
    return ConsoleView(
        sql=sql,
        seconds=seconds,
        writes=writes and not why_not,
        may_write=not why_not,
        why_not=why_not,
        history=f"{identity.tenant_id}:{identity.user_id}",
        run=secrets.token_hex(8),
        csrf_token=csrf_token({"request": request}),
        answer=answer,
    )


def why_not_writing(request: WebRequest, identity: Identity) -> str:
    """Say why somebody's SQL may only read; empty where it may write.

    The app's role may call what the app calls for everybody, such as the limits of sign-in: typed
    SQL as that role is for who may do to the installation what its command line may.
    """
    if not identity.is_operator:
        return (
            "SQL that writes is for the operator of this installation. Rows are changed in Tables."
        )
    if not is_writing(request):
        return "Studio is read-only: allow changes in the head of the page first."
    return ""


async def send_console(
    request: WebRequest, runtime: Runtime, identity: Identity, view: ConsoleView
) -> Response[str]:
    """Answer with the page, or with the part of it that a script asked for."""
    if PART in request.headers:
        html = render("console/answer.html", console=view, page=None)
        return Response(html, media_type=MediaType.HTML)
    # No transaction is kept open while a text runs: the frame has one of its own.
    async with reading(runtime, identity) as session:
        frame = await provide_frame(request, runtime, identity, session)
    # The address of a form cannot be gone back to.
    frame = replace(frame, role=APP if view.writes else READONLY, address=PAGE)
    return show(request, "console/console.html", frame, console=view)


def places_of(runtime: Runtime) -> Places:
    """Return the ways to the database that a run needs, each past a pooler."""
    return Places(
        readonly=runtime.urls.for_role(READONLY, runtime.secrets),
        app=runtime.urls.for_role(APP, runtime.secrets),
        migrator=migrator_url(runtime.settings, runtime.secrets),
    )


def runs_of(request: WebRequest) -> Runs:
    """Return what runs in this process."""
    state = request.app.state
    if "console_runs" not in state:
        state.console_runs = Runs()
    runs = state.console_runs
    assert isinstance(runs, Runs)
    return runs
