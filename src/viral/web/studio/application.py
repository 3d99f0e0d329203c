"""Studio's application: the same sessions and the same door as the dashboard, on its own port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from litestar import Litestar
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.middleware import DefineMiddleware

from viral.database.secrets import Secrets
from viral.errors import ViralError
from viral.features.users.passwords import Passwords, load_or_calibrate
from viral.runtime import open_runtime
from viral.settings import Settings
from viral.web.application import LARGEST_BODY_BYTES, csrf_of
from viral.web.dashboard.switcher import switch
from viral.web.door import Door, finish_answer
from viral.web.form_tokens import FormTokens
from viral.web.health import health
from viral.web.problems import answer_error
from viral.web.sign_in import show_sign_in, sign_in, sign_in_with_password, sign_out
from viral.web.site import site_of
from viral.web.studio import adding, changes, deleting, exporting, grid, row, start
from viral.web.studio.console import handlers
from viral.web.studio.gate import studio_only
from viral.web.studio.rendering import studio_file
from viral.web.studio.shell import DEPENDENCIES

PAGES = (
    start.start,
    start.show_tables,
    start.switch_mode,
    grid.show_table,
    row.show_row,
    row.show_preview,
    row.show_document,
    changes.review,
    changes.review_row,
    changes.save,
    adding.show_new,
    adding.add,
    deleting.ask_deletion,
    deleting.delete,
    exporting.export,
    switch,
    show_sign_in,
    sign_in,
    sign_in_with_password,
    sign_out,
    studio_file,
    health,
)


def create_studio(settings: Settings) -> Litestar:
    """Assemble Studio; the database is opened when it starts."""
    # It is reached as this machine and in no other way: no public address, no proxy to believe.
    here = settings.model_copy(update={"public_url": None, "trusted_proxies": ""})
    site = site_of(here, Secrets.load_or_create(settings.home).pepper)

    @asynccontextmanager
    async def open_database(application: Litestar) -> AsyncIterator[None]:
        async with open_runtime(settings) as runtime:
            application.state.runtime = runtime
            application.state.clock = runtime.clock
            application.state.passwords = Passwords(load_or_calibrate(settings.home))
            yield

    return Litestar(
        route_handlers=[*PAGES, *handlers],
        lifespan=[open_database],
        state=State({"site": site, "clock": lambda: datetime.now(UTC)}, deep_copy=False),
        dependencies=DEPENDENCIES,
        guards=[studio_only],
        middleware=[Door(), DefineMiddleware(FormTokens, config=csrf_of(site))],
        before_send=[finish_answer],
        exception_handlers={
            ViralError: answer_error,
            HTTPException: answer_error,
            Exception: answer_error,
        },
        logging_config=None,
        openapi_config=None,
        request_max_body_size=LARGEST_BODY_BYTES,
        debug=False,
    )
