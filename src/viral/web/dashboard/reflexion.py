"""GET /reflexion: whether learning helps, what it changed and why, and taking it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from litestar import Response, get
from litestar.params import FromQuery
from sqlalchemy.ext.asyncio import AsyncSession

from viral.features.reflexion import status
from viral.features.reflexion.report import (
    CriticCalibration,
    OwnGuard,
    TestedInsight,
    calibrate,
    critic_calibration,
    own_guards,
    tested_insights,
)
from viral.features.reflexion.shared_guard import SharedStanding, shared_standing
from viral.features.reflexion.timeline import (
    ChangeFilter,
    Kind,
    Standing,
    count_served,
    end_before,
    gains_of,
    list_changes,
    runs_of,
)
from viral.features.tenants import own_tenant
from viral.runtime import Runtime
from viral.schema.vocabulary import PLATFORMS, platform_of
from viral.web.cursors import Place, cursor_at, place_of
from viral.web.dashboard.changes import PAGE, critique_row, insight_row
from viral.web.dashboard.curve import CSV_URL, learning_curve
from viral.web.dashboard.figures import Figure, csv_answer
from viral.web.dashboard.proof import (
    ACCURACY_CSV,
    CALIBRATION_CSV,
    Proof,
    calibration_figure,
    errors_of,
    proof_of,
    scatter_figure,
)
from viral.web.dashboard.rendering import platform_name, render
from viral.web.dashboard.story import RunRow, tell
from viral.web.dashboard.switcher import page_of, send_page
from viral.web.dashboard.views import Choice, CritiqueRow, InsightRow
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.requests import WebRequest
from viral.web.site import Site

PURPOSE = "changes cursor"
# The proof is about these; older ones were predicted by what is long replaced.
MOST_RESULTS = 2_000
CHANGES_SHOWN = 20
INSIGHTS_SHOWN = 40
PATTERNS_SHOWN = 6
CRITIQUES_SHOWN = 5
STANDINGS: dict[Standing, str] = {
    "served": "Served",
    "replaced": "Changed again since",
    "undone": "Undone",
}
KINDS: dict[Kind, str] = {"effect": "Effects that moved", "insight": "Tested insights"}


@dataclass(frozen=True, slots=True)
class InsightGroup:
    """Tested insights in one state, each with the number of adjustments that serve it."""

    state: str
    insights: tuple[tuple[TestedInsight, int], ...]


@dataclass(frozen=True, slots=True)
class ReflexionPage:
    """Everything that the page shows; `change` is what a link led to, `versions` for operators."""

    learned: int
    waiting: int
    proof: Proof
    curve: Figure | None
    scatter: Figure | None
    calibration: Figure | None
    guards: tuple[OwnGuard, ...]
    runs: tuple[RunRow, ...]
    insights: tuple[InsightGroup, ...]
    patterns: tuple[InsightRow, ...]
    critiques: tuple[CritiqueRow, ...]
    critics: tuple[CriticCalibration, ...]
    last: Place | None
    wanted: ChangeFilter
    change: UUID | None
    is_first: bool
    versions: tuple[SharedStanding, ...] = ()
    older_url: str | None = None

    @property
    def is_filtered(self) -> bool:
        return self.wanted != ChangeFilter()

    @property
    def filters(self) -> tuple[tuple[str, str, tuple[Choice, ...], str | None], ...]:
        """Give name, label, choices and what is chosen, filter by filter."""
        platforms = tuple(Choice(each, platform_name(each)) for each in PLATFORMS)
        return (
            ("platform", "Platform", platforms, self.wanted.platform),
            ("standing", "State", _choices(STANDINGS), self.wanted.standing),
            ("kind", "Because of", _choices(KINDS), self.wanted.kind),
        )


@get(PAGE, include_in_schema=False)
async def show_reflexion(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    session: Transaction,
    platform: FromQuery[str] = "",
    standing: FromQuery[str] = "",
    kind: FromQuery[str] = "",
    cursor: FromQuery[str | None] = None,
    change: FromQuery[UUID | None] = None,
) -> Response[str]:
    """Show the proof first, then what changed and why; with `change` the page that it is on."""
    site: Site = request.app.state.site
    before = place_of(site, identity.tenant_id, cursor, purpose=PURPOSE)
    wanted = ChangeFilter(
        platform_of(platform) if platform else None,
        next((each for each in STANDINGS if each == standing), None),
        next((each for each in KINDS if each == kind), None),
    )
    now = runtime.clock()
    shown = await runtime.reading.read(
        identity.tenant_id,
        partial(read_page, wanted=wanted, before=before, change=change, now=now),
    )
    if shown.last is not None:
        older = cursor_at(site, identity.tenant_id, shown.last, purpose=PURPOSE)
        asked = {"platform": platform, "standing": standing, "kind": kind, "cursor": older}
        kept = urlencode({name: each for name, each in asked.items() if each})
        shown = replace(shown, older_url=f"{PAGE}?{kept}#changes")
    shown = replace(
        shown,
        versions=await _versions(runtime) if identity.is_operator else (),
    )
    page = await page_of(request, identity, session, await own_tenant(session), now=now)
    return send_page(request, render("reflexion.html", page=page, reflexion=shown))


@get(ACCURACY_CSV, include_in_schema=False)
async def accuracy_csv(runtime: Wired, identity: Person) -> Response[str]:
    """Send mean misses of all posts and by platform, unrounded."""
    results = await runtime.reading.read(identity.tenant_id, _newest_results)
    return csv_answer(
        "accuracy",
        ("posts_of", "posts", "without_learning", "half_95", "with_learning", "half_95"),
        (
            (
                each.name,
                each.posts,
                each.without,
                each.without_half,
                each.learning,
                each.learning_half,
            )
            for each in (errors_of(results) if results else ())
        ),
    )


@get(CALIBRATION_CSV, include_in_schema=False)
async def calibration_csv(runtime: Wired, identity: Person) -> Response[str]:
    """Send predicted bands beside what became of them, unrounded."""
    results = await runtime.reading.read(identity.tenant_id, _newest_results)
    return csv_answer(
        "calibration",
        ("from", "to", "posts", "mean_predicted", "mean_actual", "share_inside"),
        (
            (each.low, each.high, each.results, each.predicted, each.actual, each.inside)
            for each in calibrate(results)
        ),
    )


async def read_page(
    session: AsyncSession,
    *,
    wanted: ChangeFilter,
    before: tuple[datetime, UUID] | None,
    change: UUID | None,
    now: datetime,
) -> ReflexionPage:
    """Read what the page shows; the number of queries does not grow with the data."""
    if change is not None:
        before = await end_before(session, change, limit=CHANGES_SHOWN)
    learned, waiting = await status.count_results(session)
    results = await status.scored_results(session, most=MOST_RESULTS)
    moments = await status.adjustment_times(session)
    changes = await list_changes(session, wanted, limit=CHANGES_SHOWN + 1, before=before)
    rest, changes = changes[CHANGES_SHOWN:], changes[:CHANGES_SHOWN]
    runs = await runs_of(session, {each.adjustment.applied_at for each in changes})
    tested = await tested_insights(session, limit=INSIGHTS_SHOWN)
    served = await count_served(session, [each.id for each in tested])
    patterns = await status.list_insights(session, limit=INSIGHTS_SHOWN)
    return ReflexionPage(
        learned=learned,
        waiting=waiting,
        proof=proof_of(results),
        curve=learning_curve(results, moments, now=now),
        scatter=scatter_figure(results, csv_url=CSV_URL),
        calibration=calibration_figure(results),
        guards=tuple(await own_guards(session)),
        runs=tell(changes, runs, await gains_of(session, changes)),
        insights=tuple(
            InsightGroup(state, tuple((each, served.get(each.id, 0)) for each in group))
            for state, group in groupby(tested, key=lambda each: each.status)
        ),
        patterns=tuple(insight_row(each) for each in patterns if each.kind == "pattern")[
            :PATTERNS_SHOWN
        ],
        critiques=tuple(
            critique_row(each)
            for each in await status.list_critiques(session, limit=CRITIQUES_SHOWN)
        ),
        critics=tuple(await critic_calibration(session)),
        last=Place(changes[-1].adjustment.applied_at, changes[-1].adjustment.id) if rest else None,
        wanted=wanted,
        change=change,
        is_first=before is None,
    )


async def _newest_results(session: AsyncSession) -> list[status.ScoredResult]:
    return await status.scored_results(session, most=MOST_RESULTS)


async def _versions(runtime: Runtime) -> tuple[SharedStanding, ...]:
    async with runtime.system.session_without_tenant() as session:
        return tuple([await shared_standing(session, platform) for platform in PLATFORMS])


def _choices(names: Mapping[Standing, str] | Mapping[Kind, str]) -> tuple[Choice, ...]:
    return tuple(Choice(*each) for each in names.items())


ROUTES: Final = (show_reflexion, accuracy_csv, calibration_csv)
