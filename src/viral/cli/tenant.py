"""`viral tenant`: make and list tenants, change their plans, erase them."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, NamedTuple

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


class _Billed(NamedTuple):
    """What became of the subscriptions of a tenant at Stripe."""

    canceled: list[str]
    left: str | None


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
    says: keep that file with secrets.json.

    With STRIPE_API_KEY its subscription is canceled first, at once; when Stripe refuses, nothing is
    erased. What else Stripe, Clerk or a platform holds is not touched.

    One transaction does it; stopped half-way, it is finished at the next start.
    """
    tombstone, billed = asyncio.run(_erase(slug, confirm))
    rows = sum(tombstone.rows.values())
    if as_json:
        print_json(
            {
                "id": tombstone.tenant_id,
                "slug": slug,
                "erased_at": tombstone.erased_at,
                "rows": tombstone.rows,
                "canceled_subscriptions": billed.canceled,
                "subscription_left": billed.left,
            }
        )
    else:
        out.print(f"Tenant {slug} is erased: {rows:,} rows of {len(tombstone.rows)} tables.")
        for id_ in billed.canceled:
            out.print(f"Its subscription {id_} is canceled at Stripe.")
        if billed.left is not None:
            out.print(f"Its subscription {billed.left} goes on at Stripe: end it there.")


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


async def _erase(slug: str, confirmed: str | None) -> tuple[Tombstone, _Billed]:
    from viral.features.erasure import count_rows, erase_tenant
    from viral.runtime import open_runtime
    from viral.servers import migrator_url

    settings = load_settings()
    async with open_runtime(settings) as runtime:
        tenant = await _find(runtime, slug)
        with progress_bar("Counting rows") as advance:
            rows = await count_rows(runtime.app, runtime.system, tenant.id, advance=advance)
        _tell_what_goes(tenant, rows, ends_at_stripe=_is_ours_to_end(runtime, tenant))
        require_name(settings, slug, confirmed, what="`viral tenant erase`", thing="tenant")
        # While the ids are known: nobody could end what a tenant had that is gone.
        billed = await _end_billing(runtime, tenant)
        with err.status(f"Erasing {sum(rows.values()):,} rows"):
            tombstone = await erase_tenant(
                migrator_url(settings, runtime.secrets),
                settings.home,
                tenant_id=tenant.id,
                slug=slug,
                now=runtime.clock(),
            )
        return tombstone, billed


async def _end_billing(runtime: Runtime, tenant: Tenant) -> _Billed:
    """Cancel what the tenant pays for, or leave it to the operator."""
    if not _is_ours_to_end(runtime, tenant) or runtime.vendors.stripe is None:
        return _Billed([], tenant.stripe_subscription_id)
    return _Billed(await runtime.vendors.stripe.cancel_all(tenant.stripe_customer_id or ""), None)


def _is_ours_to_end(runtime: Runtime, tenant: Tenant) -> bool:
    """Say no without a key for Stripe, and in a branch: the tenant goes on in main."""
    has_key = runtime.vendors.stripe is not None
    return has_key and runtime.branch is None and tenant.stripe_customer_id is not None


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


def _tell_what_goes(tenant: Tenant, rows: Mapping[str, int], *, ends_at_stripe: bool) -> None:
    err.print(
        f"This will be gone, with no copy kept, of {tenant.slug} ({tenant.name}):", markup=False
    )
    for name, count in rows.items():
        err.print(f"{count:>12,}  {name}", markup=False)
    if tenant.stripe_subscription_id is not None:
        fate = "is canceled at Stripe" if ends_at_stripe else "goes on at Stripe: end it there"
        err.print(f"Its subscription {tenant.stripe_subscription_id} {fate}.", markup=False)
