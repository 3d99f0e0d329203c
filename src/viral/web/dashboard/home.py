"""GET /: the whole loop on one page."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from litestar import Response, get
from sqlalchemy.ext.asyncio import AsyncSession

from viral.features.generations.concepts import count_concepts, newest_concepts
from viral.features.generations.quota import quota_of
from viral.features.performance.files import REQUIRED
from viral.features.reflexion import status
from viral.features.tenants import own_tenant
from viral.schema.tenants import Tenant
from viral.schema.vocabulary import CATEGORIES, PLATFORMS
from viral.web.dashboard.changes import adjustment_row, critique_row, insight_row
from viral.web.dashboard.concepts import concept_cards
from viral.web.dashboard.learning import learning_curve
from viral.web.dashboard.rendering import platform_name, render, sentence
from viral.web.dashboard.switcher import page_of, send_page
from viral.web.dashboard.views import Accuracy, Choice, HomePage, Quota, SignInPage
from viral.web.dependencies import Wired
from viral.web.door import EITHER
from viral.web.requests import WebRequest
from viral.web.sign_in import door_page

CONCEPTS_SHOWN = 6
ADJUSTMENTS_SHOWN = 12
INSIGHTS_SHOWN = 8
CRITIQUES_SHOWN = 5
# What a file of results may tell beside what it must.
RESULTS_COLUMNS = (*REQUIRED, "concept_id", "likes", "comments", "shares", "followers")


@get("/", opt=EITHER, include_in_schema=False)
async def home(request: WebRequest, runtime: Wired) -> Response[str]:
    """Show the loop to those who are signed in, and the door to others."""
    if request.user is None:
        return door_page(request, runtime, SignInPage("signed_out"))
    now = runtime.clock()
    async with runtime.app.tenant_session(request.user.tenant_id) as session:
        tenant = await own_tenant(session)
        page = await page_of(request, request.user, session, tenant, now=now)
    shown = await runtime.reading.read(
        request.user.tenant_id, partial(home_page, tenant=tenant, now=now)
    )
    return send_page(request, render("home.html", page=page, home=shown))


async def home_page(session: AsyncSession, *, tenant: Tenant, now: datetime) -> HomePage:
    """Read what the page shows, in ten queries however much there is.

    1-2 newest concepts, their predictions; 3 results of those concepts; 4 concepts of the month;
    5 counts of results; 6 results beside their predictions; 7 newest adjustments; 8 the moments of
    all adjustments; 9 insights; 10 critiques.
    """
    quota = quota_of(tenant, now=now)
    concepts = await newest_concepts(session, limit=CONCEPTS_SHOWN)
    outcomes = await status.outcomes_of(session, [each.id for each in concepts])
    concepts_this_month = await count_concepts(session, since=quota.began_at)
    learned, pending = await status.count_results(session)
    results = await status.scored_results(session)
    adjustments = await status.list_adjustments(session, limit=ADJUSTMENTS_SHOWN)
    changes = await status.adjustment_times(session)
    insights = await status.list_insights(session, limit=INSIGHTS_SHOWN)
    critiques = await status.list_critiques(session, limit=CRITIQUES_SHOWN)
    accuracy = status.accuracy_of(results)
    return HomePage(
        quota=Quota(quota.used, quota.allowed, quota.renews_at),
        concepts_this_month=concepts_this_month,
        results_learned=learned,
        results_pending=pending,
        accuracy=None
        if accuracy is None
        else Accuracy(accuracy.with_learning, accuracy.without_learning, accuracy.results),
        categories=tuple(Choice(each, sentence(each)) for each in CATEGORIES),
        platforms=tuple(Choice(each, platform_name(each)) for each in PLATFORMS),
        concepts=concept_cards(concepts, outcomes, adjustments),
        learning=learning_curve(results, changes),
        adjustments=tuple(adjustment_row(each) for each in adjustments),
        insights=tuple(insight_row(each) for each in insights),
        critiques=tuple(critique_row(each) for each in critiques),
        results_columns=RESULTS_COLUMNS,
    )
