"""The web application: pages, API, and what holds for all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from litestar import Litestar, Router
from litestar.config.csrf import CSRFConfig
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.middleware import DefineMiddleware

from viral.database.secrets import Secrets
from viral.errors import ViralError
from viral.features.users.passwords import Passwords, load_or_calibrate
from viral.runtime import open_runtime, settle_memory
from viral.settings import Settings
from viral.web import invitations, sign_in
from viral.web.api import (
    audit,
    billing,
    critiques,
    experiments,
    generations,
    jobs,
    members,
    reflexion,
    sessions,
    tenants,
    trends,
    variants,
)
from viral.web.api import concepts as concepts_api
from viral.web.api import invitations as invitations_api
from viral.web.api import keys as keys_api
from viral.web.api import performance as performance_api
from viral.web.api import usage as usage_api
from viral.web.api.description import describe, get_description
from viral.web.dashboard import (
    account,
    activity,
    changes,
    concept,
    concepts,
    demo,
    design,
    experiment,
    generate,
    history,
    home,
    keys,
    learning,
    metrics,
    palette,
    people,
    performance,
    reference,
    switcher,
    trend_sources,
)
from viral.web.dashboard import experiments as experiment_pages
from viral.web.dashboard import jobs as job_pages
from viral.web.dashboard import reflexion as reflexion_page
from viral.web.dashboard import trends as trend_pages
from viral.web.dashboard import variants as variant_pages
from viral.web.dependencies import DEPENDENCIES
from viral.web.door import Door, finish_answer
from viral.web.etags import Etags
from viral.web.form_tokens import FormTokens
from viral.web.health import health
from viral.web.idempotency import Idempotency
from viral.web.live import Hub, live
from viral.web.mcp import mcp
from viral.web.page_cache import PageCache
from viral.web.problems import answer_error
from viral.web.site import Site, site_of
from viral.web.static import static_file
from viral.web.tools import tools_of
from viral.web.traffic import Traffic
from viral.web.usage import Usage
from viral.web.webhooks import receive_clerk, receive_stripe

LARGEST_BODY_BYTES = 1_000_000

PAGES = (
    *home.ROUTES,
    *trend_pages.ROUTES,
    *trend_sources.ROUTES,
    *demo.ROUTES,
    *generate.ROUTES,
    *history.ROUTES,
    *concept.ROUTES,
    *concepts.ROUTES,
    *variant_pages.ROUTES,
    *experiment_pages.ROUTES,
    *experiment.ROUTES,
    *performance.ROUTES,
    *learning.ROUTES,
    *reflexion_page.ROUTES,
    *changes.ROUTES,
    *job_pages.ROUTES,
    *metrics.ROUTES,
    *people.ROUTES,
    *keys.ROUTES,
    *reference.ROUTES,
    *account.ROUTES,
    *activity.ROUTES,
    *switcher.ROUTES,
    *palette.ROUTES,
    *invitations.ROUTES,
    *sign_in.ROUTES,
    static_file,
    live,
    mcp,
    health,
)
WEBHOOKS = (receive_clerk, receive_stripe)
API = (
    *trends.ROUTES,
    *concepts_api.ROUTES,
    *generations.ROUTES,
    *variants.ROUTES,
    *experiments.ROUTES,
    *performance_api.ROUTES,
    *reflexion.ROUTES,
    *critiques.ROUTES,
    *tenants.ROUTES,
    *jobs.ROUTES,
    *members.ROUTES,
    *invitations_api.ROUTES,
    *keys_api.ROUTES,
    *sessions.ROUTES,
    *audit.ROUTES,
    *usage_api.ROUTES,
    *billing.ROUTES,
)


def create_application(settings: Settings) -> Litestar:
    """Assemble the application; the database is opened when it starts."""
    site = site_of(settings, Secrets.load_or_create(settings.home).pepper)
    usage, traffic, hub = Usage(), Traffic(), Hub()
    page_cache = PageCache(most_bytes=settings.page_cache_mb << 20)
    kept: dict[str, object] = {"site": site, "usage": usage, "traffic": traffic, "hub": hub}
    kept |= {"clock": _now, "page_cache": page_cache}
    pages = PAGES if settings.environment == "production" else (*PAGES, design.show_design)

    @asynccontextmanager
    async def open_database(application: Litestar) -> AsyncIterator[None]:
        async with open_runtime(settings) as runtime:
            application.state.runtime = runtime
            application.state.clock = runtime.clock
            application.state.passwords = Passwords(load_or_calibrate(settings.home))
            news = runtime.urls.for_role("viral_worker", runtime.secrets)
            async with (
                usage.written_to(runtime.system),
                traffic.written_to(runtime.system),
                hub.listening_at(news),
            ):
                settle_memory()
                yield

    described = describe(site, API, is_open=_is_described(settings))
    api = Router(
        "/api/v1", route_handlers=[*API, get_description], middleware=[Etags(), Idempotency()]
    )
    application = Litestar(
        route_handlers=[*pages, *WEBHOOKS, api],
        lifespan=[open_database],
        state=State(kept, deep_copy=False),
        dependencies=DEPENDENCIES,
        middleware=[Door(), DefineMiddleware(FormTokens, config=csrf_of(site))],
        before_send=[finish_answer],
        exception_handlers={
            ViralError: answer_error,
            HTTPException: answer_error,
            Exception: answer_error,
        },
        # `answer_error` logs what is unexpected, without the texts that a database puts into it.
        logging_config=None,
        openapi_config=described,
        request_max_body_size=LARGEST_BODY_BYTES,
        debug=False,
    )
    application.state.tools = tools_of(application)
    return application


def csrf_of(site: Site) -> CSRFConfig:
    """Say how forms of ours prove that they are."""
    return CSRFConfig(
        secret=site.seals.key("csrf").hex(),
        cookie_name=site.csrf_cookie,
        cookie_secure=site.is_secure,
        cookie_httponly=True,
        cookie_samesite="lax",
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _is_described(settings: Settings) -> bool:
    """Tell whether strangers see the API's description; in production only where somebody asks."""
    if settings.api_description is not None:
        return settings.api_description
    return settings.environment != "production"
