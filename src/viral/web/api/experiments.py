"""/api/v1/experiments: ways to open a video, compared across posts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from viral.features.experiments.arms import ExperimentArm, arms_of
from viral.features.experiments.sequential import ArmState, Comparison
from viral.features.experiments.trials import (
    MOST_LISTED,
    USUAL_ALPHA,
    USUAL_POSTS,
    experiment_of,
    list_experiments,
    running_experiment,
)
from viral.features.experiments.verdicts import Outlook, settle_experiment, stop_experiment
from viral.features.generations.tellings import start_hooks_experiment
from viral.schema.content import Experiment
from viral.schema.vocabulary import Platform
from viral.web.cursors import cut_page, place_of, when_made
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.requests import WebRequest
from viral.web.site import Site

PURPOSE = "experiments"


class ExperimentWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is compared: these types of hooks, or `arms` of the promising ones.

    `alpha` is the risk of a winner by luck over all looks; after `most_posts` it ends undecided.
    """

    name: str
    platform: Platform
    hook_types: list[str] | None = None
    arms: int = 2
    alpha: float = USUAL_ALPHA
    most_posts: int = USUAL_POSTS


class ExperimentOut(msgspec.Struct, frozen=True):
    """An experiment; the winner is the letter of an arm."""

    id: UUID
    name: str
    platform: str
    arms: list[ExperimentArm]
    alpha: float
    most_posts: int
    status: str
    winner: str | None
    created_at: datetime
    decided_at: datetime | None


class ExperimentsPage(msgspec.Struct, frozen=True):
    """Experiments, newest first; `next_cursor` leads to older ones and is null at the end."""

    experiments: list[ExperimentOut]
    next_cursor: str | None


class OutlookOut(msgspec.Struct, frozen=True):
    """How an experiment stands, in points above or below the forecast.

    `concepts` take part, `posts` of them have a result. The intervals hold at every look.
    """

    experiment: ExperimentOut
    concepts: int
    posts: int
    arms: list[ArmState]
    comparisons: list[Comparison]


@get("/experiments", operation_id="list_experiments")
async def get_experiments(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    session: Transaction,
    limit: Annotated[int, QueryParameter(ge=1, le=MOST_LISTED)] = 50,
    cursor: FromQuery[str | None] = None,
) -> ExperimentsPage:
    """List experiments, the newest first, a page at a time."""
    site: Site = request.app.state.site
    before = place_of(site, identity.tenant_id, cursor, purpose=PURPOSE)
    running = await running_experiment(session)
    if running is not None:
        await settle_experiment(session, running, now=runtime.clock())
    found = await list_experiments(session, limit=limit + 1, before=before)
    rows, next_cursor = cut_page(site, identity.tenant_id, found, limit, when_made, purpose=PURPOSE)
    return ExperimentsPage([_experiment(each) for each in rows], next_cursor)


@post("/experiments", operation_id="start_experiment")
async def start(
    runtime: Wired, session: Transaction, data: JSONBody[ExperimentWanted]
) -> ExperimentOut:
    """Begin an experiment; each concept generated from here on is told as one of its arms."""
    return _experiment(
        await start_hooks_experiment(
            session,
            data.name,
            platform=data.platform,
            hook_types=data.hook_types,
            count=data.arms,
            alpha=data.alpha,
            most_posts=data.most_posts,
            now=runtime.clock(),
            hashed=runtime.hashed,
        )
    )


@get("/experiments/{experiment_id:uuid}", operation_id="get_experiment")
async def get_experiment(
    runtime: Wired, session: Transaction, experiment_id: FromPath[UUID]
) -> OutlookOut:
    """Show how an experiment stands; one whose posts decide it ends here."""
    experiment = await experiment_of(session, experiment_id)
    return _outlook(await settle_experiment(session, experiment, now=runtime.clock()))


@post("/experiments/{experiment_id:uuid}/stop", operation_id="stop_experiment", status_code=200)
async def stop(runtime: Wired, session: Transaction, experiment_id: FromPath[UUID]) -> OutlookOut:
    """End an experiment by hand; what its posts taught the learner stays."""
    experiment = await experiment_of(session, experiment_id)
    return _outlook(await stop_experiment(session, experiment, now=runtime.clock()))


def _experiment(experiment: Experiment) -> ExperimentOut:
    return ExperimentOut(
        id=experiment.id,
        name=experiment.name,
        platform=experiment.platform,
        arms=list(arms_of(experiment)),
        alpha=experiment.alpha,
        most_posts=experiment.most_posts,
        status=experiment.status,
        winner=experiment.winner,
        created_at=experiment.created_at,
        decided_at=experiment.decided_at,
    )


def _outlook(outlook: Outlook) -> OutlookOut:
    return OutlookOut(
        experiment=_experiment(outlook.experiment),
        concepts=outlook.concepts,
        posts=outlook.posts,
        arms=list(outlook.arms),
        comparisons=list(outlook.comparisons),
    )


ROUTES: Final = (get_experiments, start, get_experiment, stop)
