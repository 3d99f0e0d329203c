"""`viral db`: SQL by hand, the database's address, and the demo tenant."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli.output import err, out, print_json, progress_bar
from viral.settings import load_settings

if TYPE_CHECKING:
    from uuid import UUID

    from viral.database.execute import Result, Script
    from viral.database.urls import ServerUrl
    from viral.runtime import Runtime
    from viral.settings import Settings

group = typer.Typer(no_args_is_help=True, help="The database: SQL, its address, the demo.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@group.command()
def execute(
    sql: Annotated[str | None, typer.Argument(help="The SQL, in quotes.")] = None,
    stdin: Annotated[bool, typer.Option("--stdin", help="Read it from standard input.")] = False,
    file: Annotated[Path | None, typer.Option("--file", help="Read it from a file.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Let it change something.")] = False,
    tenant: Annotated[
        str | None, typer.Option("--tenant", help="The slug of the tenant whose rows it sees.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows of a result.")] = 1_000,
    as_json: AsJson = False,
) -> None:
    """Run SQL and print its rows: all of it in one transaction, read-only unless --write.

    Example: viral db execute "SELECT title FROM concepts LIMIT 3" --tenant demo
    """
    from viral.cli.execute import print_results, read_text, results_json
    from viral.database.execute import read_script

    script = read_script(read_text(sql, stdin=stdin, file=file))
    results = asyncio.run(_execute(script, write=write, slug=tenant, limit=limit))
    if as_json:
        sys.stdout.write(results_json(results) + "\n")
    else:
        print_results(results)


@group.command()
def url(
    direct: Annotated[
        bool, typer.Option("--direct/--pooled", help="Past a pooler, or as the app connects.")
    ] = False,
    role: Annotated[
        str | None, typer.Option("--role", help="As another role of ours, such as viral_readonly.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Show the password.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the database's address; its password is hidden unless --show.

    Example: psql "$(viral db url --direct --show)"
    """
    settings = load_settings()
    address = _address(settings, direct=direct, role=role)
    text = _hidden(address) if not show else address.setting(password=True)
    if as_json:
        fields = {name: getattr(address, name) for name in ("host", "port", "database", "user")}
        print_json({"url": text, **fields, "pooled": address.is_pooled})
    else:
        out.print(text, markup=False)
    if not asyncio.run(_is_running(settings)):
        err.print("PostgreSQL does not run at the moment: `viral server start`.")


@group.command()
def seed(as_json: AsJson = False) -> None:
    """Make the demo tenant with its sample history; a second run changes nothing.

    Example: viral db seed
    """
    made, counts = asyncio.run(_seed())
    if as_json:
        print_json({"made": made, "tenant": "demo", **counts})
        return
    state = "is made" if made else "was there already; nothing is changed"
    out.print(f"The demo tenant {state}.")
    out.print("It has " + ", ".join(f"{count:,} {name}" for name, count in counts.items()) + ".")
    if made:
        out.print("Sign in: viral sign-in --tenant demo")


async def make_demo_tenant(runtime: Runtime) -> UUID | None:
    """Make the demo tenant under a progress bar; None when it is there already."""
    from viral.features.sample.history import make_demo

    step = "Making the demo studio"
    with progress_bar(step) as advance:
        return await make_demo(
            runtime.app,
            runtime.system,
            secrets=runtime.secrets,
            writer=runtime.offline_writer,
            critic=runtime.offline_critic,
            now=runtime.clock(),
            hashed=runtime.hashed,
            progress=lambda done, total: advance(step, done, total),
        )


async def _execute(script: Script, *, write: bool, slug: str | None, limit: int) -> list[Result]:
    from viral.database.execute import access_for, execute
    from viral.database.secrets import Secrets
    from viral.database.tenancy import WITHOUT_TENANT, context_token
    from viral.errors import ServerRefused
    from viral.servers import running_server, urls_of

    settings = load_settings()
    access = access_for(writes=write, has_tenant=slug is not None)
    async with running_server(settings):
        secrets = Secrets.load_or_create(settings.home)
        context: str = WITHOUT_TENANT
        if slug is not None:
            context = context_token(secrets.context_key, await _tenant_id(settings, slug))
        try:
            return await execute(
                urls_of(settings).for_role(access.role, secrets),
                script,
                access=access,
                context=context,
                limit=limit,
            )
        except ServerRefused as error:
            hint = "Prepare the server first: `viral server bootstrap --admin-url URL`."
            raise ServerRefused(error.message, hint=hint) from error


async def _tenant_id(settings: Settings, slug: str) -> UUID:
    from viral.features.tenants import find_tenant
    from viral.runtime import open_runtime

    async with (
        open_runtime(settings) as runtime,
        runtime.system.session_without_tenant() as session,
    ):
        return (await find_tenant(session, slug)).id


def _address(settings: Settings, *, direct: bool, role: str | None) -> ServerUrl:
    from viral.database.secrets import Secrets
    from viral.errors import NotFound
    from viral.schema.security import LOGINS
    from viral.servers import urls_of

    urls = urls_of(settings)
    address = urls.direct if direct else urls.app
    if role is None:
        return address
    if role not in LOGINS:
        raise NotFound(f"There is no role {role!r}.", hint=f"Choose {', '.join(LOGINS)}.")
    return address.for_role(role, Secrets.load_or_create(settings.home).password(role))


def _hidden(address: ServerUrl) -> str:
    from sqlalchemy import make_url

    return make_url(address.setting(password=True)).render_as_string(hide_password=True)


async def _is_running(settings: Settings) -> bool:
    from viral.servers import embedded_server, is_embedded

    return not is_embedded(settings) or await embedded_server(settings).is_answering()


async def _seed() -> tuple[bool, dict[str, int]]:
    """Make the demo tenant where it is missing; tell whether, and what it holds."""
    from sqlalchemy import func, select

    from viral.features.sample import SAMPLE_TENANT_SLUG
    from viral.features.tenants import find_tenant
    from viral.runtime import open_runtime
    from viral.schema.content import Concept
    from viral.schema.learning import ReflexionInsight, ScoringAdjustment, SelfCritique
    from viral.schema.results import PerformanceFeedback

    tables = {
        "concepts": Concept,
        "results": PerformanceFeedback,
        "critiques": SelfCritique,
        "insights": ReflexionInsight,
        "adjustments": ScoringAdjustment,
    }
    async with open_runtime(load_settings()) as runtime:
        made = await make_demo_tenant(runtime)
        async with runtime.system.session_without_tenant() as session:
            tenant = await find_tenant(session, SAMPLE_TENANT_SLUG)
        async with runtime.app.tenant_session(tenant.id) as session:
            counts = {
                name: await session.scalar(select(func.count()).select_from(table)) or 0
                for name, table in tables.items()
            }
    return made is not None, counts
