"""`viral studio`: the tables in a browser, on this machine."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli.output import out
from viral.settings import load_settings

if TYPE_CHECKING:
    from viral.settings import Settings


def studio(
    port: Annotated[
        int | None,
        typer.Option("--port", min=1, max=65535, help="The port; else VIRAL_STUDIO_PORT."),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option("--tenant", help="The tenant's slug, for the sign-in link.")
    ] = None,
) -> None:
    """Open the tables in a browser: see, filter, change, export. Example: viral studio.

    `viral up` serves Studio already: then only the address and a new sign-in link are printed.
    """
    from viral.cli.supervisor import find_running, refuse_taken_port

    settings = load_settings()
    is_elsewhere = port is not None and port != settings.studio_port
    if port is not None:
        settings = settings.model_copy(update={"studio_port": port})
    running = find_running(settings.home)
    if running is not None and running.pid == os.getppid():
        # Its output is a log, which no link belongs into.
        _serve(settings)
    elif running is not None and not is_elsewhere:
        asyncio.run(_greet(settings, tenant))
    else:
        refuse_taken_port(settings.studio_port, "viral studio --port 5556")
        _serve(settings, tenant, is_told=True)


def _serve(settings: Settings, tenant: str | None = None, *, is_told: bool = False) -> None:
    from viral.cli.processes import configure_logs, serve
    from viral.web.studio.application import create_studio

    configure_logs()
    application = create_studio(settings)

    async def greet() -> None:
        await _greet(settings, tenant)
        out.print("Ctrl-C stops it.")

    serve(application, settings.studio_port, greet if is_told else None)


async def _greet(settings: Settings, tenant: str | None) -> None:
    from viral.cli.up import operators_token, studio_address

    token = await operators_token(settings, tenant)
    out.print(f"  Studio   {studio_address(settings)}")
    out.print(f"  Sign in  {studio_address(settings)}/sign-in?token={token}")
    out.print(
        "  The link works once, within an hour; who is signed in to the dashboard needs none."
    )
