"""`viral tenant`: make and list tenants, change their plans, erase them."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli.guard import require_name
from viral.cli.output import err, out, print_json, print_table, progress_bar
from viral.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from uuid import UUID

    from viral.database.tombstones import Tombstone
    from viral.runtime import Runtime
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


@group.command()
def plan(
    slug: Annotated[str, typer.Argument(help="The tenant's slug.")],
    tier: Annotated[str, typer.Argument(metavar="PLAN", help="FREE, STARTER, PRO or AGENCY.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Give a tenant another plan; what this month used stays used.

    Example: viral tenant plan acme PRO

    Where Stripe is connected, the next payment event of the tenant sets the plan again.
    """
    tenant = asyncio.run(_plan(slug, tier))
    facts = {
        "slug": slug,
        "plan": tenant.subscription_tier,
        "used": tenant.used_quota,
        "quota": tenant.monthly_quota,
    }
    if as_json:
        print_json(facts)
    else:
        out.print(
            f"Tenant {slug} has the plan {facts['plan']}: {facts['quota']:,} concepts a month, "
            f"{facts['used']:,} used."
        )
    if tenant.stripe_subscription_id is not None:
        err.print(
            f"Its subscription {tenant.stripe_subscription_id} at Stripe is as it was; the next"
            " payment event sets the plan by it.",
            markup=False,
        )


@group.command()
def erase(
    slug: Annotated[str, typer.Argument(help="The tenant's slug.")],
    confirm: Annotated[
        str | None,
        typer.Option("--confirm", metavar="SLUG", help="The slug once more; else you type it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Destroy everything of a tenant, for good. Example: viral tenant erase acme.

    It shows what will go and has the slug typed. People whom no other tenant let in go too.

    No copy is made first: a client that has to be forgotten must not stay in one. What you want
    to keep or hand over, take out before. Backups that you made still hold the tenant; where one
    is restored, the tenant is erased again at the next start, as tombstones.json in VIRAL_HOME
    says: keep that file with secrets.json. What Stripe, Clerk or a platform holds is not touched.

    One transaction does it; stopped half-way, it is finished at the next start.
    """
    tombstone = asyncio.run(_erase(slug, confirm))
    rows = sum(tombstone.rows.values())
    if as_json:
        print_json(
            {
                "id": tombstone.tenant_id,
                "slug": slug,
                "erased_at": tombstone.erased_at,
                "rows": tombstone.rows,
            }
        )
    else:
        out.print(f"Tenant {slug} is erased: {rows:,} rows of {len(tombstone.rows)} tables.")


async def _create(slug: str, name: str | None, plan: str) -> UUID:
    from viral.features.tenants import create_tenant
    from viral.features.users.members import add_member, ensure_operator
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


async def _plan(slug: str, name: str) -> Tenant:
    from viral.features.billing import change_plan
    from viral.runtime import open_runtime
    from viral.schema.vocabulary import tier_of

    tier = tier_of(name)
    async with open_runtime(load_settings()) as runtime:
        await change_plan(runtime.system, (await _find(runtime, slug)).id, tier)
        return await _find(runtime, slug)


async def _erase(slug: str, confirmed: str | None) -> Tombstone:
    from viral.features.erasure import count_rows, erase_tenant
    from viral.runtime import open_runtime
    from viral.servers import migrator_url

    settings = load_settings()
    async with open_runtime(settings) as runtime:
        tenant = await _find(runtime, slug)
        with progress_bar("Counting rows") as advance:
            rows = await count_rows(runtime.app, runtime.system, tenant.id, advance=advance)
        _tell_what_goes(tenant, rows)
        require_name(settings, slug, confirmed, what="`viral tenant erase`", thing="tenant")
        with err.status(f"Erasing {sum(rows.values()):,} rows"):
            return await erase_tenant(
                migrator_url(settings, runtime.secrets),
                settings.home,
                tenant_id=tenant.id,
                slug=slug,
                now=runtime.clock(),
            )


async def _find(runtime: Runtime, slug: str) -> Tenant:
    """Find the tenant; of one that is erased, say when that was."""
    from viral.errors import NotFound
    from viral.features.tenants import find_tenant

    try:
        async with runtime.system.session_without_tenant() as session:
            return await find_tenant(session, slug)
    except NotFound as error:
        erased_at = _erased_at(runtime.settings.home, slug)
        if erased_at is None:
            raise
        raise NotFound(
            f"There is no tenant {slug!r}: it was erased on {erased_at:%Y-%m-%d at %H:%M} UTC.",
            hint="Nothing is left to do.",
        ) from error


def _erased_at(home: Path, slug: str) -> datetime | None:
    from viral.database.tombstones import read_tombstones, slug_hash

    hashed = slug_hash(slug)
    return max(
        (t.erased_at for t in read_tombstones(home) if t.slug_sha256 == hashed), default=None
    )


def _tell_what_goes(tenant: Tenant, rows: Mapping[str, int]) -> None:
    err.print(
        f"This will be gone, with no copy kept, of {tenant.slug} ({tenant.name}):", markup=False
    )
    for name, count in rows.items():
        err.print(f"{count:>12,}  {name}", markup=False)
    if tenant.stripe_subscription_id is not None:
        err.print(
            f"Its subscription {tenant.stripe_subscription_id} goes on at Stripe: end it there.",
            markup=False,
        )
