"""`viral tenant`: make and list tenants."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli.output import out, print_json, print_table
from viral.settings import load_settings

if TYPE_CHECKING:
    from uuid import UUID

    from viral.schema.tenants import Tenant

group = typer.Typer(no_args_is_help=True, help="Tenants: the clients that are kept apart.")


@group.command()
def create(
    slug: Annotated[str, typer.Argument(help="A short name: a-z, 0-9, - and _.")],
    name: Annotated[str | None, typer.Option("--name", help="The name that people see.")] = None,
    plan: Annotated[
        str, typer.Option("--plan", help="FREE, STARTER, PRO or AGENCY: concepts a month.")
    ] = "FREE",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a tenant. Example: viral tenant create acme --name "Acme Films" --plan PRO."""
    tenant_id = asyncio.run(_create(slug, name, plan))
    if as_json:
        print_json({"id": tenant_id, "slug": slug})
    else:
        out.print(f"Tenant {slug} is made. Sign in: viral sign-in --tenant {slug}")


@group.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List all tenants. Example: viral tenant list --json."""
    columns = ("slug", "name", "plan", "used", "quota", "id")
    rows = [
        (t.slug, t.name, t.subscription_tier, t.used_quota, t.monthly_quota, t.id)
        for t in asyncio.run(_list())
    ]
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    elif rows:
        print_table(columns, rows)
    else:
        out.print("There is no tenant yet. Make one: viral tenant create acme")


async def _create(slug: str, name: str | None, plan: str) -> UUID:
    from viral.features.tenants import create_tenant
    from viral.features.users import add_member, ensure_operator
    from viral.runtime import open_runtime
    from viral.schema.vocabulary import tier_of

    async with (
        open_runtime(load_settings()) as runtime,
        runtime.system.session_without_tenant() as session,
    ):
        tenant_id = await create_tenant(
            session, slug=slug, name=name, tier=tier_of(plan), secrets=runtime.secrets
        )
        operator = await ensure_operator(session)
        await add_member(session, tenant_id=tenant_id, user_id=operator.id, role="ADMIN")
        return tenant_id


async def _list() -> list[Tenant]:
    from viral.features.tenants import list_tenants
    from viral.runtime import open_runtime

    async with (
        open_runtime(load_settings()) as runtime,
        runtime.system.session_without_tenant() as session,
    ):
        return await list_tenants(session)
