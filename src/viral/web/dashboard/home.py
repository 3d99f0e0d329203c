"""GET /: how things stand, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Literal

from litestar import Response, get
from sqlalchemy.ext.asyncio import AsyncSession

from viral.features.generations.concepts import newest_concepts
from viral.features.generations.history import posts_between
from viral.features.generations.quota import quota_of
from viral.features.jobs.listing import JobLine, list_jobs_of
from viral.features.performance.readings import views_since
from viral.features.reflexion import status
from viral.features.reflexion.digest import Digest, digest_since
from viral.features.scoring.labels import label_of
from viral.features.tenants import own_tenant
from viral.schema.content import Concept
from viral.schema.tenants import Tenant
from viral.web.dashboard.concepts import concept_cards
from viral.web.dashboard.generate import UNDER_WAY
from viral.web.dashboard.rendering import render
from viral.web.dashboard.switcher import page_of, send_page
from viral.web.dashboard.views import Accuracy, ConceptCard, Quota, SignInPage
from viral.web.dependencies import Wired
from viral.web.door import EITHER
from viral.web.requests import WebRequest
from viral.web.sign_in import door_page

CONCEPTS_SHOWN = 6
POSTS_SHOWN = 6
JOBS_LOOKED_AT = 20
JOBS_SHOWN = 4
# Enough for the error's line and for its mean.
RESULTS_READ = 3 * status.WINDOW
A_DAY = timedelta(days=1)
A_WEEK = timedelta(days=7)
VIEWS_OVER = timedelta(days=30)
# A failure is news for so long.
FAILED_WITHIN = timedelta(hours=1)
_JOBS: Final = {
    "generate-concepts": ("Writing concepts", "/generate?order="),
    "reflexion": ("Learning from results", ""),
    "trends-fetch": ("Fetching trends", ""),
}


@dataclass(frozen=True, slots=True)
class PostRow:
    """A concept that is to be posted today."""

    id: str
    title: str
    post_at: datetime
    platform: str
    score: float
    is_past: bool


@dataclass(frozen=True, slots=True)
class JobRow:
    """Slow work of the tenant: under way, or failed a moment ago."""

    id: str
    what: str
    url: str
    status: str
    progress: int
    made_at: datetime


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """A change of a score that learning made, in points."""

    id: str
    what: str
    platform: str
    old: float
    new: float


@dataclass(frozen=True, slots=True)
class InsightLine:
    """A pattern in results."""

    id: str
    pattern: str
    impact: str
    evidence_count: int
    is_applied: bool


@dataclass(frozen=True, slots=True)
class Learned:
    """What the system learned in a week: the largest of so many changes, and what it noticed."""

    changes: int = 0
    adjustments: tuple[ChangeLine, ...] = ()
    insights: tuple[InsightLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One of the first steps; the next one is the one to take."""

    title: str
    text: str
    state: Literal["done", "next", "later"]
    verb: str
    url: str


@dataclass(frozen=True, slots=True)
class HomePage:
    """How things stand; `errors` are of the last results, in their order."""

    quota: Quota
    views: int
    posts_read: int
    results_learned: int
    results_pending: int
    accuracy: Accuracy | None
    errors: tuple[float, ...] = ()
    posts: tuple[PostRow, ...] = ()
    jobs: tuple[JobRow, ...] = ()
    concepts: tuple[ConceptCard, ...] = ()
    learned: Learned = Learned()
    may_remove_demo: bool = False
    needs_studio: bool = False

    @property
    def results_needed(self) -> int:
        """How many results are missing before an error means something."""
        return max(0, status.FEWEST_RESULTS - self.results_learned)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The first three steps, until something was learned."""
        if self.results_learned:
            return ()
        has_results = bool(self.results_pending)
        done = (bool(self.concepts), has_results, False)
        following = done.index(False)
        states: list[Literal["done", "next", "later"]] = [
            "done" if is_done else "next" if place == following else "later"
            for place, is_done in enumerate(done)
        ]
        return tuple(
            Step(title, text, state, verb, url)
            for (title, text, verb, url), state in zip(_STEPS, states, strict=True)
        )


_STEPS: Final = (
    (
        "Generate concepts",
        "Each comes with a hook, a script, a predicted score and the reasons behind it.",
        "Generate concepts",
        "/generate",
    ),
    (
        "Post them and add results",
        "Views and likes of two days or more, from a file or by hand.",
        "Add results",
        "/performance",
    ),
    (
        "See what is learned",
        "Predictions are compared with results; what holds up changes the scores.",
        "Learn from results",
        "/reflexion",
    ),
)


@get("/", opt=EITHER, include_in_schema=False)
async def home(request: WebRequest, runtime: Wired) -> Response[str]:
    """Show how things stand to those who are signed in, and the door to others."""
    if request.user is None:
        return door_page(request, runtime, SignInPage("signed_out"))
    now = runtime.clock()
    async with runtime.app.tenant_session(request.user.tenant_id) as session:
        tenant = await own_tenant(session)
        page = await page_of(request, request.user, session, tenant, now=now)
        # A replica's role reads no jobs.
        jobs = await list_jobs_of(session, tenant.slug, limit=JOBS_LOOKED_AT)
    may_remove = tenant.is_demo and request.user.is_operator and request.auth is not None
    shown = await runtime.reading.read(
        request.user.tenant_id,
        partial(
            home_page,
            tenant=tenant,
            jobs=jobs,
            now=now,
            may_remove_demo=may_remove,
            needs_studio=len(page.tenants) <= 1,
        ),
    )
    return send_page(request, render("home.html", page=page, home=shown))


async def home_page(
    session: AsyncSession,
    *,
    tenant: Tenant,
    jobs: list[JobLine],
    now: datetime,
    may_remove_demo: bool = False,
    needs_studio: bool = False,
) -> HomePage:
    """Read what the page shows beside the jobs, in nine queries however much there is.

    1-2 newest concepts, their predictions; 3-4 posts of today, theirs; 5 views; 6 counts of
    results; 7 the last results beside their predictions; 8-9 changes and insights of the week.
    """
    quota = quota_of(tenant, now=now)
    concepts = await newest_concepts(session, limit=CONCEPTS_SHOWN)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    posts = await posts_between(session, today, today + A_DAY, limit=POSTS_SHOWN)
    views, posts_read = await views_since(session, now - VIEWS_OVER)
    learned, pending = await status.count_results(session)
    results = await status.scored_results(session, most=RESULTS_READ)
    accuracy = status.accuracy_of(results)
    return HomePage(
        quota=Quota(quota.used, quota.allowed, quota.renews_at),
        views=views,
        posts_read=posts_read,
        results_learned=learned,
        results_pending=pending,
        accuracy=None
        if accuracy is None
        else Accuracy(accuracy.with_learning, accuracy.without_learning, accuracy.results),
        errors=tuple(_rolling(results)),
        posts=tuple(_post(each, now=now) for each in posts if each.predictions),
        jobs=_jobs(jobs, now=now),
        concepts=concept_cards(concepts, {}),
        learned=_learned(await digest_since(session, now - A_WEEK)),
        may_remove_demo=may_remove_demo,
        needs_studio=needs_studio,
    )


def _rolling(results: list[status.ScoredResult]) -> list[float]:
    ends = range(status.WINDOW, len(results) + 1)
    spans = (results[end - status.WINDOW : end] for end in ends)
    return [sum(each.error for each in span) / len(span) for span in spans]


def _post(concept: Concept, *, now: datetime) -> PostRow:
    best = max(concept.predictions, key=lambda each: each.score)
    post_at = concept.post_at or now
    return PostRow(
        str(concept.id), concept.title, post_at, best.platform, best.score, post_at < now
    )


def _jobs(jobs: list[JobLine], *, now: datetime) -> tuple[JobRow, ...]:
    shown = [
        each
        for each in jobs
        if each.status in UNDER_WAY
        or (
            each.status == "failed"
            and each.completed_at is not None
            and now - each.completed_at < FAILED_WITHIN
        )
    ]
    return tuple(_job(each) for each in shown[:JOBS_SHOWN])


def _job(job: JobLine) -> JobRow:
    plain = job.job_type.replace("-", " ").capitalize()
    what, url = _JOBS.get(job.job_type, (plain, ""))
    return JobRow(
        id=str(job.id),
        what=what,
        url=f"{url}{job.id}" if url else "/jobs",
        status=job.status,
        progress=job.progress,
        made_at=job.created_at,
    )


def _learned(digest: Digest) -> Learned:
    return Learned(
        changes=digest.changes,
        adjustments=tuple(
            ChangeLine(
                id=str(each.id),
                what=f"{label_of(each.adjustment_type, each.category)}, {each.goal}",
                platform=each.platform,
                old=each.old_value,
                new=each.new_value,
            )
            for each in digest.adjustments
        ),
        insights=tuple(
            InsightLine(
                id=str(each.id),
                pattern=each.pattern,
                impact=each.impact,
                evidence_count=each.evidence_count,
                is_applied=each.applied_to_scoring,
            )
            for each in digest.insights
        ),
    )


ROUTES: Final = (home,)
