"""GET /experiments/{id}: one experiment, its arms and posts, when it ends and what it taught."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery, URLEncodedBody
from litestar.response import Redirect
from markupsafe import Markup
from sqlalchemy.ext.asyncio import AsyncSession

from viral.features.experiments.arms import arms_of
from viral.features.experiments.posts import (
    ArmPost,
    Waiting,
    changes_since,
    list_posts,
    list_waiting,
    values_of_posts,
)
from viral.features.experiments.sequential import (
    FEWEST_POSTS,
    ArmState,
    Comparison,
    Course,
    course_of,
)
from viral.features.experiments.trials import experiment_of
from viral.features.experiments.verdicts import (
    LONGEST_REASON,
    Outlook,
    settle_experiment,
    stop_experiment,
)
from viral.features.scoring.labels import label_of
from viral.features.tenants import own_tenant
from viral.schema.content import Experiment
from viral.schema.learning import ScoringAdjustment
from viral.web.cursors import Place, cursor_at, place_of
from viral.web.dashboard.courses import arm_bars, course_figure
from viral.web.dashboard.experiments import PAGE, STATES
from viral.web.dashboard.figures import Figure, csv_answer
from viral.web.dashboard.flashes import send_back
from viral.web.dashboard.home import ChangeLine
from viral.web.dashboard.rendering import render, sentence
from viral.web.dashboard.switcher import page_of, send_page
from viral.web.dashboard.views import Flash
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.forms import Form
from viral.web.requests import WebRequest
from viral.web.site import Site

PURPOSE: Final = "experiment posts"
POSTS_SHOWN: Final = 20
WAITING_SHOWN: Final = 6
# A pace says something after so long, and an end further off is none to name.
PACE_AFTER: Final = timedelta(days=1)
FAR_OFF: Final = timedelta(days=730)


class StopForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Why it is stopped, for whoever wonders later."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class ArmRow:
    """An arm: its state in points against the forecast, drawn on the scale of all arms."""

    label: str
    name: str
    state: ArmState
    bar: Markup
    is_winner: bool


@dataclass(frozen=True, slots=True)
class Compared:
    """Two arms in words; `is_sure` once the interval holds no zero."""

    better: str
    worse: str
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class ExperimentPage:
    """An experiment whole; `latest_end` is where its pace leads to if nothing decides before."""

    outlook: Outlook
    state: tuple[str, str]
    arms: tuple[ArmRow, ...]
    compared: tuple[Compared, ...]
    names: dict[str, str]
    figure: Figure | None
    missing: int
    latest_end: datetime | None
    posts: tuple[ArmPost, ...]
    waiting: tuple[Waiting, ...]
    taught: tuple[ChangeLine, ...]
    is_first: bool
    older_url: str | None
    longest_reason: int = LONGEST_REASON

    @property
    def experiment(self) -> Experiment:
        return self.outlook.experiment

    @property
    def is_running(self) -> bool:
        return self.experiment.status == "running"


@get(f"{PAGE}/{{experiment_id:uuid}}", include_in_schema=False)
async def show_experiment(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    session: Transaction,
    experiment_id: FromPath[UUID],
    cursor: FromQuery[str | None] = None,
) -> Response[str]:
    """Show how an experiment stands; one whose posts decide it ends here."""
    now = runtime.clock()
    site: Site = request.app.state.site
    before = place_of(site, identity.tenant_id, cursor, purpose=PURPOSE)
    experiment = await experiment_of(session, experiment_id)
    outlook = await settle_experiment(session, experiment, now=now)
    posts = await list_posts(session, experiment, limit=POSTS_SHOWN + 1, before=before)
    rest, posts = posts[POSTS_SHOWN:], posts[:POSTS_SHOWN]
    older_url = None
    if rest:
        last = Place(posts[-1].reported_at, posts[-1].id)
        older = cursor_at(site, identity.tenant_id, last, purpose=PURPOSE)
        older_url = f"{PAGE}/{experiment_id}?cursor={older}#posts"
    names = _names(experiment)
    course = await _course(session, outlook)
    shown = ExperimentPage(
        outlook=outlook,
        state=STATES[experiment.status],
        arms=_arms(outlook, names),
        compared=tuple(
            Compared(names[each.better], names[each.worse], each) for each in outlook.comparisons
        ),
        names=names,
        figure=None
        if course is None
        else course_figure(course, names, csv_url=f"{PAGE}/{experiment_id}/course.csv"),
        missing=sum(max(0, FEWEST_POSTS - each.posts) for each in outlook.arms),
        latest_end=latest_end(outlook, now=now),
        posts=tuple(posts),
        waiting=tuple(await list_waiting(session, experiment, limit=WAITING_SHOWN)),
        taught=tuple(_change(each) for each in await changes_since(session, experiment)),
        is_first=cursor is None,
        older_url=older_url,
    )
    tenant = await own_tenant(session)
    page = await page_of(request, identity, session, tenant, now=now)
    return send_page(request, render("experiment.html", page=page, shown=shown))


@get(f"{PAGE}/{{experiment_id:uuid}}/course.csv", include_in_schema=False)
async def course_csv(
    runtime: Wired, session: Transaction, experiment_id: FromPath[UUID]
) -> Response[str]:
    """Send the comparison that decides, after every post and unrounded."""
    experiment = await experiment_of(session, experiment_id)
    outlook = await settle_experiment(session, experiment, now=runtime.clock())
    course = await _course(session, outlook)
    return csv_answer(
        "experiment",
        ("posts", "leader", "rival", "lead", "from", "to"),
        ()
        if course is None
        else (
            (each.posts, course.leader, course.rival, each.difference, each.low, each.high)
            for each in course.looks
        ),
    )


@post(f"{PAGE}/{{experiment_id:uuid}}/stop", opt={"page": PAGE}, include_in_schema=False)
async def stop(
    request: WebRequest,
    runtime: Wired,
    session: Transaction,
    experiment_id: FromPath[UUID],
    data: URLEncodedBody[StopForm],
) -> Redirect:
    """End an experiment by hand; what its posts taught stays."""
    experiment = await experiment_of(session, experiment_id)
    await stop_experiment(session, experiment, now=runtime.clock(), reason=data.reason)
    said = (
        Flash("success", "It is stopped. What its posts taught stays.")
        if experiment.status == "stopped"
        else Flash("info", "Its posts had decided it already.")
    )
    return send_back(request, said, f"{PAGE}/{experiment_id}")


def latest_end(outlook: Outlook, *, now: datetime) -> datetime | None:
    """Guess when the last post that may decide comes, at the pace of those so far."""
    experiment = outlook.experiment
    spent = now - experiment.created_at
    if experiment.status != "running" or not outlook.posts or spent < PACE_AFTER:
        return None
    left = spent * ((experiment.most_posts - outlook.posts) / outlook.posts)
    return now + left if left < FAR_OFF else None


async def _course(session: AsyncSession, outlook: Outlook) -> Course | None:
    """Follow the posts that the verdict rests on."""
    experiment = outlook.experiment
    values = await values_of_posts(session, experiment)
    labels = [arm.label for arm in arms_of(experiment)]
    return course_of(values[: outlook.posts], labels, alpha=experiment.alpha)


def _names(experiment: Experiment) -> dict[str, str]:
    return {
        arm.label: f"{arm.label} {sentence(arm.hook_type.replace('-', ' '))}"
        for arm in arms_of(experiment)
    }


def _arms(outlook: Outlook, names: dict[str, str]) -> tuple[ArmRow, ...]:
    bars = arm_bars(outlook.arms)
    return tuple(
        ArmRow(
            each.label,
            names[each.label],
            each,
            bars[each.label],
            each.label == outlook.experiment.winner,
        )
        for each in outlook.arms
    )


def _change(row: ScoringAdjustment) -> ChangeLine:
    return ChangeLine(
        id=str(row.id),
        what=f"{label_of(row.adjustment_type, row.category)}, {row.goal}",
        platform=row.platform,
        old=row.old_value,
        new=row.new_value,
    )


ROUTES: Final = (show_experiment, course_csv, stop)
