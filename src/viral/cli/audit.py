"""`viral audit`: what was done in the tenants."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, NamedTuple, get_args

import typer

from viral.cli.output import out, print_json, print_table
from viral.errors import BadInput
from viral.settings import load_settings

if TYPE_CHECKING:
    from viral.schema.tenants import AuditEntry, Tenant

group = typer.Typer(no_args_is_help=True, help="The audit log: who did what, when, from where.")

_SPAN = re.compile(r"(\d{1,4})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Deed(NamedTuple):
    """An entry, in which tenant, and whose; nobody's where a machine or the operator acted."""

    slug: str
    email: str | None
    entry: AuditEntry


@group.callback()
def _group() -> None:
    """Audit: who did what, when, from where."""


@group.command("list")
def list_(
    tenant: Annotated[
        str | None, typer.Option("--tenant", help="The tenant's slug; else all tenants.")
    ] = None,
    action: Annotated[
        str | None, typer.Option("--action", help='One kind, such as "signed in".')
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="30m, 12h, 7d, 2w, or a date.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Entries.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what was done, newest first. Example: viral audit list --tenant demo --since 7d."""
    deeds = asyncio.run(_list(tenant, action, since, limit))
    if as_json:
        print_json([_document(each) for each in deeds])
    elif deeds:
        print_table(
            ("when_utc", "tenant", "who", "action", "subject", "details", "address"),
            [_row(each) for each in deeds],
        )
    else:
        out.print("There is no such entry.")


def moment_of(text: str, *, now: datetime) -> datetime:
    """Read a span before now, such as 7d, or a date or time of ISO 8601; UTC where none is said."""
    if found := _SPAN.fullmatch(text.strip().lower()):
        return now - timedelta(**{_UNITS[found[2]]: int(found[1])})
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise BadInput(
            f"{text!r} is no time.", hint="Write 30m, 12h, 7d, 2w or a date such as 2026-11-22."
        ) from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


async def _list(slug: str | None, action: str | None, since: str | None, limit: int) -> list[Deed]:
    from viral.features.audit import Action, list_entries
    from viral.features.tenants import find_tenant, list_tenants
    from viral.features.users.members import emails_of
    from viral.runtime import open_runtime

    if action is not None and action not in get_args(Action):
        raise BadInput(
            f"{action!r} is not an action.", hint=f"Choose {', '.join(get_args(Action))}."
        )
    deeds: list[Deed] = []
    async with open_runtime(load_settings()) as runtime:
        after = None if since is None else moment_of(since, now=runtime.clock())
        async with runtime.system.session_without_tenant() as session:
            tenants: list[Tenant] = (
                await list_tenants(session) if slug is None else [await find_tenant(session, slug)]
            )
        # The log is a tenant's: the system role may append to it and not read it.
        for tenant in tenants:
            async with runtime.app.tenant_session(tenant.id) as session:
                entries = await list_entries(session, limit=limit, action=action, since=after)
                who = await emails_of(session, {e.user_id for e in entries if e.user_id})
            deeds += [Deed(tenant.slug, who[e.user_id] if e.user_id else None, e) for e in entries]
    deeds.sort(key=lambda each: (each.entry.created_at, each.entry.id), reverse=True)
    return deeds[:limit]


def _document(deed: Deed) -> dict[str, object]:
    entry = deed.entry
    return {
        "id": entry.id,
        "created_at": entry.created_at.astimezone(UTC).isoformat(),
        "tenant": deed.slug,
        "user": deed.email,
        "action": entry.action,
        "subject": entry.subject,
        "details": entry.details,
        "address": entry.address,
    }


def _row(deed: Deed) -> tuple[object, ...]:
    entry = deed.entry
    return (
        f"{entry.created_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        deed.slug,
        deed.email,
        entry.action,
        entry.subject or None,
        " ".join(f"{name}={value}" for name, value in entry.details.items()) or None,
        entry.address,
    )
