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
from viral.runtime import open_runtime
from viral.settings import Settings
from viral.web.api import (
    audit,
    billing,
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
from viral.web.api.description import describe
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
from viral.web.invitations import accept_invitation, show_invitation
from viral.web.live import Hub, live
from viral.web.mcp import mcp
from viral.web.problems import answer_error
from viral.web.sign_in import (
    show_sign_in,
    sign_in,
    sign_in_with_password,
    sign_out,
    sign_out_everywhere,
)
from viral.web.site import Site, site_of
from viral.web.static import static_file
from viral.web.tools import tools_of
from viral.web.traffic import Traffic
from viral.web.usage import Usage
from viral.web.webhooks import receive_clerk, receive_stripe

LARGEST_BODY_BYTES = 1_000_000

PAGES = (
    home.home,
    trend_pages.show_trends,
    trend_sources.make_source,
    trend_sources.switch_source_on,
    trend_sources.switch_source_off,
    trend_sources.fetch_now,
    trend_sources.import_file,
    demo.remove_demo,
    generate.show_generate,
    generate.generate,
    generate.cancel_order,
    history.show_history,
    history.compare,
    history.export,
    concept.show_concept,
    concepts.keep,
    variant_pages.vary,
    variant_pages.choose,
    experiment_pages.show_experiments,
    experiment_pages.start,
    experiment.show_experiment,
    experiment.course_csv,
    experiment.stop,
    performance.show_performance,
    performance.take_rows,
    performance.add_result,
    performance.weeks_csv,
    learning.import_file,
    reflexion_page.show_reflexion,
    reflexion_page.accuracy_csv,
    reflexion_page.calibration_csv,
    learning.learn,
    learning.learning_csv,
    changes.undo,
    changes.undo_whole_run,
    changes.undo_tested_insight,
    changes.undo_shared_version,
    job_pages.show_jobs,
    job_pages.show_job,
    job_pages.retry_job,
    job_pages.cancel_job,
    metrics.show_metrics,
    metrics.metrics_csv,
    people.show_people,
    people.invite_person,
    people.take_invitation_back,
    people.give_role,
    people.remove_member,
    keys.show_keys,
    keys.make_key,
    keys.take_key_back,
    account.show_account,
    account.give_password,
    activity.show_activity,
    switcher.switch,
    palette.find,
    show_invitation,
    accept_invitation,
    show_sign_in,
    sign_in,
    sign_in_with_password,
    sign_out,
    sign_out_everywhere,
    static_file,
    live,
    mcp,
    health,
)
WEBHOOKS = (receive_clerk, receive_stripe)
API = (
    trends.get_trends,
    trends.add_trends,
    trends.fetch_now,
    concepts_api.add_concepts,
    concepts_api.get_concepts,
    concepts_api.order,
    concepts_api.export_concepts,
    concepts_api.keep,
    concepts_api.let_go,
    concepts_api.get_concept,
    generations.get_generations,
    variants.get_variants,
    variants.add_variants,
    variants.choose,
    experiments.get_experiments,
    experiments.start,
    experiments.get_experiment,
    experiments.stop,
    performance_api.add_results,
    performance_api.add_file,
    reflexion.get_status,
    reflexion.start_run,
    reflexion.get_adjustments,
    reflexion.undo,
    reflexion.undo_whole_run,
    reflexion.get_insights,
    reflexion.undo_tested_insight,
    reflexion.undo_shared,
    reflexion.get_report,
    reflexion.get_why,
    reflexion.check_replay,
    tenants.get_tenant,
    tenants.rename,
    tenants.get_tenants,
    jobs.get_jobs,
    jobs.get_job,
    jobs.cancel,
    jobs.retry,
    members.get_members,
    members.get_member,
    members.give_role,
    members.remove_member,
    invitations_api.get_invitations,
    invitations_api.invite_person,
    invitations_api.take_invitation_back,
    keys_api.get_keys,
    keys_api.make_key,
    keys_api.take_key_back,
    sessions.get_sessions,
    sessions.sign_out_everywhere,
    sessions.get_memberships,
    audit.get_audit,
    billing.open_checkout,
    billing.open_portal,
)


def create_application(settings: Settings) -> Litestar:
    """Assemble the application; the database is opened when it starts."""
    site = site_of(settings, Secrets.load_or_create(settings.home).pepper)
    usage, traffic, hub = Usage(), Traffic(), Hub()
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
                yield

    api = Router("/api/v1", route_handlers=API, middleware=[Etags(), Idempotency()])
    application = Litestar(
        route_handlers=[*pages, *WEBHOOKS, api],
        lifespan=[open_database],
        state=State(
            {
                "site": site,
                "usage": usage,
                "traffic": traffic,
                "hub": hub,
                "clock": lambda: datetime.now(UTC),
            },
            deep_copy=False,
        ),
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
        openapi_config=describe(site, API) if _is_described(settings) else None,
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


def _is_described(settings: Settings) -> bool:
    """Tell whether the API's description is served; in production only where somebody asks."""
    if settings.api_description is not None:
        return settings.api_description
    return settings.environment != "production"
