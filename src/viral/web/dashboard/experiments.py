"""GET /experiments: ways to open a video, compared across posts, and a form for more of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeVar
from urllib.parse import urlencode

from litestar import Response, get, post
from litestar.params import FromQuery, URLEncodedBody
from litestar.response import Redirect
from sqlalchemy.ext.asyncio import AsyncSession

from viral.errors import BadInput
from viral.features.experiments.arms import MOST_ARMS, ExperimentArm, arms_of
from viral.features.experiments.trials import (
    MOST_POSTS,
    USUAL_ALPHA,
    USUAL_POSTS,
    list_experiments,
    running_experiment,
)
from viral.features.experiments.verdicts import Outlook, settle_experiment
from viral.features.generations.drafts import HOOK_TYPES
from viral.features.generations.leanings import promising_types
from viral.features.generations.tellings import start_hooks_experiment
from viral.features.tenants import own_tenant
from viral.runtime import Runtime
from viral.schema.content import Experiment
from viral.schema.vocabulary import PLATFORMS, Platform, platform_of
from viral.web.cursors import Place, cursor_at, place_of
from viral.web.dashboard.concepts import PLATFORM_CHOICES
from viral.web.dashboard.flashes import send_back
from viral.web.dashboard.rendering import render, sentence
from viral.web.dashboard.switcher import page_of, send_page
from viral.web.dashboard.views import Choice, Flash
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.forms import Form
from viral.web.requests import WebRequest
from viral.web.site import Site

PAGE: Final = "/experiments"
PURPOSE: Final = "experiments page"
ROWS_SHOWN: Final = 20
LETTERS: Final = "abcde"
USUAL_ARMS: Final = 2
# The word of a state, and its colour.
STATES: Final = {
    "running": ("running", "ac"),
    "decided": ("decided", "ok"),
    "undecided": ("undecided", "mu"),
    "stopped": ("stopped", "mu"),
}
RISKS: Final = (Choice("0.01", "1 in 100"), Choice("0.05", "1 in 20"), Choice("0.1", "1 in 10"))
N = TypeVar("N", int, float)
Status = Literal["", "running", "decided", "undecided", "stopped"]


class StartForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A name, a platform, and a type of hook for each arm; empty ones are left out."""

    name: str
    platform: str
    a: str = ""
    b: str = ""
    c: str = ""
    d: str = ""
    e: str = ""
    alpha: str = str(USUAL_ALPHA)
    most_posts: str = str(USUAL_POSTS)

    @property
    def hook_types(self) -> list[str]:
        return [each for each in (self.a, self.b, self.c, self.d, self.e) if each]


@dataclass(frozen=True, slots=True)
class Row:
    """An experiment in the list."""

    experiment: Experiment
    arms: tuple[ExperimentArm, ...]
    winner: ExperimentArm | None

    @property
    def state(self) -> tuple[str, str]:
        return STATES[self.experiment.status]


@dataclass(frozen=True, slots=True)
class StartShown:
    """The form as it stands: a type of hook for each letter, the promising ones first."""

    name: str
    platform: str
    chosen: tuple[tuple[str, str], ...]
    hook_types: tuple[Choice, ...]
    most_posts: int = USUAL_POSTS
    highest_posts: int = MOST_POSTS
    platforms: tuple[Choice, ...] = PLATFORM_CHOICES
    risks: tuple[Choice, ...] = RISKS


@dataclass(frozen=True, slots=True)
class ExperimentsPage:
    """A part of the list; `running` is the one that runs, and `start` the form where none does."""

    rows: tuple[Row, ...]
    status: str
    running: Outlook | None
    start: StartShown | None
    is_first: bool
    older_url: str | None
    states: tuple[Choice, ...] = tuple(Choice(each, sentence(each)) for each in STATES)


@get(PAGE, include_in_schema=False)
async def show_experiments(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    session: Transaction,
    status: FromQuery[Status] = "",
    cursor: FromQuery[str | None] = None,
    name: FromQuery[str] = "",
    platform: FromQuery[str] = "",
    hooks: FromQuery[str] = "",
) -> Response[str]:
    """Show experiments, newest first; `hooks` and `platform` fill in the form, as links ask for."""
    site: Site = request.app.state.site
    before = place_of(site, identity.tenant_id, cursor, purpose=PURPOSE)
    running = await running_experiment(session)
    outlook = None
    if running is not None:
        outlook = await settle_experiment(session, running, now=runtime.clock())
        outlook = outlook if running.status == "running" else None
    found = await list_experiments(
        session, limit=ROWS_SHOWN + 1, status=status or None, before=before
    )
    rest, found = found[ROWS_SHOWN:], found[:ROWS_SHOWN]
    older_url = None
    if rest:
        last = Place(found[-1].created_at, found[-1].id)
        older = cursor_at(site, identity.tenant_id, last, purpose=PURPOSE)
        query = {"status": status} if status else {}
        older_url = f"{PAGE}?{urlencode({**query, 'cursor': older})}"
    asked = [each for each in hooks.split(",") if each in HOOK_TYPES]
    shown = ExperimentsPage(
        rows=tuple(_row(each) for each in found),
        status=status,
        running=outlook,
        start=await _start_form(runtime, session, name, platform, asked)
        if outlook is None
        else None,
        is_first=cursor is None,
        older_url=older_url,
    )
    tenant = await own_tenant(session)
    page = await page_of(request, identity, session, tenant, now=runtime.clock())
    return send_page(request, render("experiments.html", page=page, experiments=shown))


@post(PAGE, opt={"page": PAGE}, include_in_schema=False)
async def start(
    request: WebRequest, runtime: Wired, session: Transaction, data: URLEncodedBody[StartForm]
) -> Redirect:
    """Begin an experiment; each concept generated from here on is told as one of its arms."""
    experiment = await start_hooks_experiment(
        session,
        data.name.strip(),
        platform=platform_of(data.platform),
        hook_types=data.hook_types,
        count=len(data.hook_types),
        alpha=_number(float, data.alpha, "risk"),
        most_posts=_number(int, data.most_posts, "number of posts"),
        now=runtime.clock(),
        hashed=runtime.hashed,
    )
    note = Flash("success", "It runs: concepts generated from here on take part.")
    return send_back(request, note, f"{PAGE}/{experiment.id}")


def _row(experiment: Experiment) -> Row:
    arms = arms_of(experiment)
    winner = next((each for each in arms if each.label == experiment.winner), None)
    return Row(experiment, arms, winner)


def _number(kind: Callable[[str], N], text: str, what: str) -> N:
    try:
        return kind(text)
    except ValueError as error:
        raise BadInput(f"{text[:20]!r} is no {what}.", hint="Write a number.") from error


async def _start_form(
    runtime: Runtime, session: AsyncSession, name: str, platform: str, asked: list[str]
) -> StartShown:
    on: Platform = platform_of(platform) if platform else PLATFORMS[0]
    best = await promising_types(session, (on,), now=runtime.clock(), hashed=runtime.hashed)
    chosen = list(dict.fromkeys(asked))[:MOST_ARMS]
    chosen += [each for each in best if each not in chosen][: max(0, USUAL_ARMS - len(chosen))]
    padded = [*chosen, *[""] * (MOST_ARMS - len(chosen))]
    return StartShown(
        name=name,
        platform=on,
        chosen=tuple(zip(LETTERS, padded, strict=True)),
        hook_types=tuple(Choice(each, sentence(each.replace("-", " "))) for each in best),
    )


ROUTES: Final = (show_experiments, start)
