"""`viral up`, `viral status`, `viral sign-in`: the whole product on this machine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli.output import err, out, print_facts, print_json
from viral.settings import load_settings

if TYPE_CHECKING:
    from viral.cli.supervisor import Running
    from viral.settings import Settings


def up() -> None:
    """Start PostgreSQL, the dashboard, Studio and the worker, until Ctrl-C. Example: viral up."""
    raise typer.Exit(asyncio.run(_up(load_settings())))


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what runs on this machine and where. Example: viral status --json."""
    from viral.cli.supervisor import find_running
    from viral.servers import branch_name

    settings = load_settings()
    running = find_running(settings.home)
    facts = {
        "running": running is not None,
        "dashboard": address_of(settings) if running else None,
        "studio": studio_address(settings) if running else None,
        "pid": running.pid if running else None,
        "since": running.since if running else None,
        "home": settings.home,
        "database": (settings.database_url is None and "embedded") or "DATABASE_URL",
        "branch": branch_name(settings),
    }
    if as_json:
        print_json(facts)
    else:
        print_facts(facts)


def sign_in(
    tenant: Annotated[str | None, typer.Option("--tenant", help="The tenant's slug.")] = None,
    email: Annotated[
        str | None, typer.Option("--email", help="A member whom the link is for; else you.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print a link that signs you in once. Example: viral sign-in --tenant demo.

    With --email it is a member's, who may set a password with it: the way back for who forgot
    theirs. Give it to nobody else.
    """
    settings = load_settings()
    if email is None:
        link = asyncio.run(_sign_in_link(settings, tenant))
    else:
        link = asyncio.run(_link_of_member(settings, tenant, email))
    if as_json:
        print_json({"link": link})
    else:
        out.print(link)


def address_of(settings: Settings) -> str:
    """Return where people reach the dashboard."""
    return settings.public_url or f"http://127.0.0.1:{settings.port}"


def studio_address(settings: Settings) -> str:
    """Return where Studio is, on this machine alone."""
    return f"http://127.0.0.1:{settings.studio_port}"


def sign_in_address(settings: Settings, token: str) -> str:
    """Return the link that spends a token."""
    return f"{address_of(settings)}/sign-in?token={token}"


async def _up(settings: Settings) -> int:
    from viral.cli.supervisor import ending_server, find_running, only_one, supervise
    from viral.servers import is_embedded, prepare_server

    if (running := find_running(settings.home)) is not None:
        await _tell_who_runs(settings, running)
        return 0
    with only_one(settings):
        async with ending_server(settings):
            if is_embedded(settings):
                out.print("Starting PostgreSQL ...")
                for warning in await prepare_server(settings):
                    err.print(f"warning: {warning}")
            await _migrate(settings)
            await _first_start(settings)
            return await supervise(settings, lambda: _greet(settings))


async def _migrate(settings: Settings) -> None:
    from viral.database import migrate
    from viral.database.secrets import Secrets
    from viral.servers import migrator_url

    secrets = Secrets.load_or_create(settings.home)
    applied = await migrate.deploy(migrator_url(settings, secrets))
    if applied:
        out.print(f"Applied migrations: {', '.join(applied)}.")


async def _first_start(settings: Settings) -> None:
    """Make the demo tenant, so that the page is alive."""
    from viral.cli.db import make_demo_tenant
    from viral.features.tenants import list_tenants
    from viral.runtime import open_runtime

    async with open_runtime(settings) as runtime:
        async with runtime.system.session_without_tenant() as session:
            if await list_tenants(session):
                return
        await make_demo_tenant(runtime)
        out.print("The demo studio is ready, with sample data.")


async def _greet(settings: Settings) -> None:
    out.print()
    out.print(f"  Dashboard  {address_of(settings)}")
    out.print(f"  Studio     {studio_address(settings)}")
    out.print(f"  API        {address_of(settings)}/schema/openapi.json")
    out.print(f"  Sign in    {await _sign_in_link(settings, None)}")
    out.print("  The link works once, within an hour; another: viral sign-in")
    out.print()
    out.print("Ctrl-C stops everything.")


async def _tell_who_runs(settings: Settings, running: Running) -> None:
    out.print(f"Viral Dashboard runs already (pid {running.pid}, since {running.since}).")
    out.print(f"  Dashboard  {address_of(settings)}")
    out.print(f"  Studio     {studio_address(settings)}")
    out.print(f"  Sign in    {await _sign_in_link(settings, None)}")


async def _sign_in_link(settings: Settings, slug: str | None) -> str:
    return sign_in_address(settings, await operators_token(settings, slug))


async def operators_token(settings: Settings, slug: str | None) -> str:
    """Make the secret of a link that signs the operator in once, to a tenant or the first one."""
    from viral.errors import NotFound
    from viral.features.tenants import find_tenant, list_tenants
    from viral.features.users.members import add_member, ensure_operator
    from viral.features.users.sessions import make_sign_in_link
    from viral.runtime import open_runtime

    async with (
        open_runtime(settings) as runtime,
        runtime.system.session_without_tenant() as session,
    ):
        if slug is not None:
            tenant = await find_tenant(session, slug)
        else:
            tenants = await list_tenants(session)
            if not tenants:
                raise NotFound(
                    "There is no tenant to sign in to.", hint="Make one: `viral tenant create`."
                )
            tenant = next((each for each in tenants if each.is_demo), tenants[0])
        operator = await ensure_operator(session)
        await add_member(session, tenant_id=tenant.id, user_id=operator.id, role="ADMIN")
        return await make_sign_in_link(
            session, tenant_id=tenant.id, user_id=operator.id, now=runtime.clock()
        )


async def _link_of_member(settings: Settings, slug: str | None, email: str) -> str:
    from viral.features.tenants import find_tenant
    from viral.features.users.members import link_for
    from viral.runtime import open_runtime
    from viral.schema.vocabulary import email_of

    async with (
        open_runtime(settings) as runtime,
        runtime.system.session_without_tenant() as session,
    ):
        tenant = await find_tenant(session, slug)
        token = await link_for(session, tenant, email_of(email), now=runtime.clock())
    return sign_in_address(settings, token)
