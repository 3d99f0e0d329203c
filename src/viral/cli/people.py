"""`viral user`: the people of the tenants, as the operator sees and changes them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from viral.cli.guard import require_name
from viral.cli.output import out, print_json, print_table
from viral.cli.up import sign_in_address
from viral.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.users.members import Member
    from viral.runtime import Runtime
    from viral.schema.tenants import Tenant
    from viral.schema.vocabulary import Role

group = typer.Typer(no_args_is_help=True, help="People: who may enter a tenant, and as what.")

Email = Annotated[str, typer.Argument(help="The person's e-mail.")]
InTenant = Annotated[str, typer.Option("--tenant", help="The tenant's slug.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Desk(NamedTuple):
    """A transaction of the operator's, the tenant it is about, and what it runs in."""

    session: AsyncSession
    tenant: Tenant
    runtime: Runtime


@group.command("list")
def list_(
    tenant: Annotated[
        str | None, typer.Option("--tenant", help="The tenant's slug; else all tenants.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List who may enter which tenant. Example: viral user list --tenant demo."""
    columns = ("tenant", "email", "name", "role", "joined_at", "last_login_at")
    rows = [
        (slug, each.email, each.name, each.role, each.joined_at, each.last_login_at)
        for slug, each in asyncio.run(_list(tenant))
    ]
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    elif rows:
        print_table(columns, [(*row[:4], *map(_minute, row[4:])) for row in rows])
    else:
        out.print("Nobody is in. Let somebody in: viral user add EMAIL --tenant SLUG")


@group.command()
def add(
    email: Email,
    tenant: InTenant,
    name: Annotated[str | None, typer.Option("--name", help="Of who is not known yet.")] = None,
    role: Annotated[str, typer.Option("--role", help="ADMIN or MEMBER.")] = "MEMBER",
    as_json: AsJson = False,
) -> None:
    """Let a person into a tenant and print their sign-in link. It works once, within an hour.

    Example: viral user add ana@example.com --tenant demo --role ADMIN

    A password that was set before is void, for nobody has shown whose the e-mail is.
    """
    found, is_as, token = asyncio.run(_add(email, tenant, name, role))
    link = sign_in_address(load_settings(), token)
    if as_json:
        print_json({"email": found, "tenant": tenant, "role": is_as, "link": link})
    else:
        out.print(f"{found} is in the tenant {tenant} as {is_as}. Their link:", markup=False)
        out.print(link, markup=False)


@group.command("role")
def role_(
    email: Email,
    tenant: InTenant,
    role: Annotated[str, typer.Option("--role", help="ADMIN or MEMBER.")],
    as_json: AsJson = False,
) -> None:
    """Give a member another role; they sign in anew. A tenant keeps an admin.

    Example: viral user role ana@example.com --tenant demo --role ADMIN

    The keys and invitations that a former admin made are revoked.
    """
    before, after = asyncio.run(_role(email, tenant, role))
    if as_json:
        document = {"email": before.email, "tenant": tenant, "role": after}
        print_json(document | {"is_changed": before.role != after})
    elif before.role == after:
        out.print(f"{before.email} is {after} already; nothing is changed.", markup=False)
    else:
        out.print(f"{before.email} is {after}; their sessions have ended.", markup=False)


@group.command()
def remove(
    email: Email,
    tenant: InTenant,
    confirm: Annotated[
        str | None,
        typer.Option("--confirm", metavar="EMAIL", help="The e-mail once more; else you type it."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let a member go: sessions, keys and invitations end, their work stays. An admin is kept.

    Example: viral user remove ana@example.com --tenant demo --confirm ana@example.com
    """
    removed = asyncio.run(_remove(email, tenant, confirm))
    if as_json:
        print_json({"email": removed, "tenant": tenant, "is_removed": True})
    else:
        out.print(f"{removed} is no member of {tenant} any more.", markup=False)


@group.command("sign-out")
def sign_out(email: Email, as_json: AsJson = False) -> None:
    """End all sessions and sign-in links of a person, in every tenant; keys of programs go on.

    Example: viral user sign-out ana@example.com
    """
    found, ended = asyncio.run(_sign_out(email))
    if as_json:
        print_json({"email": found, "ended": ended})
    else:
        out.print(f"{found} is signed out: {ended:,} sessions and links ended.", markup=False)


async def _list(slug: str | None) -> list[tuple[str, Member]]:
    from viral.features.tenants import find_tenant
    from viral.features.users.members import list_everybody
    from viral.runtime import open_runtime

    async with (
        open_runtime(load_settings()) as runtime,
        runtime.system.session_without_tenant() as session,
    ):
        tenant_id = None if slug is None else (await find_tenant(session, slug)).id
        return await list_everybody(session, tenant_id)


async def _add(email: str, slug: str, name: str | None, role: str) -> tuple[str, Role, str]:
    from viral.features.users.members import add_person, link_for
    from viral.schema.vocabulary import email_of, role_of

    wanted, address = role_of(role), email_of(email)
    async with _desk(slug) as (session, tenant, runtime):
        await add_person(session, tenant, email=address, name=name, role=wanted)
        token = await link_for(session, tenant, address, now=runtime.clock())
        return address, wanted, token


async def _role(email: str, slug: str, role: str) -> tuple[Member, Role]:
    from viral.features.users.members import assign_role
    from viral.schema.vocabulary import email_of, role_of

    wanted, address = role_of(role), email_of(email)
    async with _desk(slug) as (session, tenant, _):
        return await assign_role(session, tenant, address, wanted), wanted


async def _remove(email: str, slug: str, confirmed: str | None) -> str:
    from viral.features.tenants import find_tenant
    from viral.features.users.members import find_member, remove_member
    from viral.runtime import open_runtime
    from viral.schema.vocabulary import email_of

    address = email_of(email)
    async with open_runtime(settings := load_settings()) as runtime:
        async with runtime.system.session_without_tenant() as session:
            tenant = await find_tenant(session, slug)
            await find_member(session, tenant, address)
        # Between two transactions: nothing is held while a person types.
        require_name(
            settings,
            address,
            confirmed,
            what="`viral user remove`",
            thing="person",
            loss=f"{address} is let out of {slug}, and their sessions, keys and invitations end",
        )
        async with runtime.system.session_without_tenant() as session:
            await remove_member(session, tenant, address)
    return address


async def _sign_out(email: str) -> tuple[str, int]:
    from viral.features.users.members import sign_out_everywhere
    from viral.runtime import open_runtime
    from viral.schema.vocabulary import email_of

    address = email_of(email)
    async with (
        open_runtime(load_settings()) as runtime,
        runtime.system.session_without_tenant() as session,
    ):
        return address, await sign_out_everywhere(session, address)


@asynccontextmanager
async def _desk(slug: str) -> AsyncIterator[Desk]:
    """Open the operator's transaction about a tenant."""
    from viral.features.tenants import find_tenant
    from viral.runtime import open_runtime

    async with (
        open_runtime(load_settings()) as runtime,
        runtime.system.session_without_tenant() as session,
    ):
        yield Desk(session, await find_tenant(session, slug), runtime)


def _minute(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%d %H:%M}"
