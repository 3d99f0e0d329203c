"""`viral doctor`: what is wrong with this installation, why, and which command mends it."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from viral.cli.output import err, out, print_json
from viral.errors import BadInput, ViralError
from viral.settings import load_settings, unknown_variables

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from viral.database.encryption.keys import KeyRing
    from viral.database.encryption.rotation import Use
    from viral.database.secrets import Secrets
    from viral.postgres.doctor.check import Check, Finding, Patient
    from viral.servers import Urls
    from viral.settings import Settings

_COLOURS = {"ok": "green", "warning": "yellow", "error": "bold red", "skipped": "dim"}


def doctor(
    only: Annotated[str | None, typer.Option("--only", help="One check, by its name.")] = None,
    explain: Annotated[
        str | None, typer.Option("--explain", help="An error text to explain; - reads it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look at everything and say what is wrong, why, and what mends it; nothing is changed.

    Example: viral doctor. Exit code 1 if there is an error. With --explain it says what an error
    text means: viral doctor --explain 'unique constraint "uq_users_email"'
    """
    if explain is not None:
        _explain(sys.stdin.read() if explain == "-" else explain, as_json=as_json)
        return
    from viral.postgres.doctor.check import examine

    checks = all_checks()
    names = [check.name for check in checks]
    if only is not None and only not in names:
        raise BadInput(f"There is no check {only!r}.", hint=f"Checks: {', '.join(names)}.")
    with err.status("Looking"):
        findings = asyncio.run(examine(gather(), checks, only=only))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        _print(findings)
    if any(finding.state == "error" for finding in findings):
        raise typer.Exit(1)


def all_checks() -> list[Check]:
    """List the checks in the order in which they are shown."""
    from viral.postgres.doctor import (
        connection,
        roles,
        schema,
        secrets,
        snapshots,
        storage,
        vendors,
    )

    return [
        *secrets.CHECKS,
        *connection.CHECKS,
        *snapshots.CHECKS,
        *roles.CHECKS,
        *schema.CHECKS,
        *storage.CHECKS,
        *vendors.CHECKS,
    ]


def _explain(text: str, *, as_json: bool) -> None:
    from viral.errors import NotFound
    from viral.postgres.doctor.explain import explain

    if (found := explain(text)) is None:
        raise NotFound("This text is not known here.", hint="Look at everything: viral doctor")
    if as_json:
        print_json(asdict(found))
        return
    out.print(found.what, markup=False)
    for step in found.steps:
        out.print(f"  {step}", markup=False)


def _print(findings: Sequence[Finding]) -> None:
    width = max((len(finding.check) for finding in findings), default=0)
    for finding in findings:
        state = Text(f"{finding.state:<8}", style=_COLOURS[finding.state])
        out.print(Text.assemble(state, f"{finding.check:<{width}}  ", finding.cause))
        if finding.fix:
            out.print(Text.assemble(" " * (width + 10), ("fix: ", "bold"), finding.fix))
    counts = {state: sum(each.state == state for each in findings) for state in _COLOURS}
    said = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    out.print(f"\n{said}.")


def gather() -> Patient:
    """Gather what can be read; what cannot is a finding, and nothing is made."""
    from viral.postgres.doctor.check import Patient

    patient = Patient(clock=lambda: datetime.now(UTC))
    try:
        settings = load_settings()
    except ViralError as unreadable:
        return replace(patient, unread=dict.fromkeys(("settings", "secrets", "urls"), unreadable))
    patient = replace(
        patient,
        settings=settings,
        unknown_variables=unknown_variables(),
        claude=lambda: _is_claude_taken(settings),
    )
    from viral.database.secrets import Secrets

    try:
        secrets = Secrets.load(settings.home)
    except ViralError as unreadable:
        return replace(patient, unread={"secrets": unreadable, "urls": unreadable})
    patient = replace(patient, secrets=secrets)
    try:
        return _with_places(patient, settings, secrets)
    except ViralError as unusable:
        return replace(patient, unread={"urls": unusable})


def _with_places(patient: Patient, settings: Settings, secrets: Secrets) -> Patient:
    from viral import servers
    from viral.postgres.doctor.check import Embedded

    urls = servers.urls_of(settings)
    embedded = None
    if servers.is_embedded(settings):
        embedded = Embedded(
            server=servers.embedded_server(settings),
            main=servers.main_server(settings),
            replica=servers.local_replica(settings),
            pooler=servers.pooler_of(settings),
        )

    def keys() -> KeyRing:
        if settings.field_keys is None:
            from viral.database.encryption.keys import KeyFile

            # Opened and not made, as `servers.field_keys` would: a doctor changes nothing.
            return KeyFile(settings.home)
        return servers.field_keys(settings)

    async def key_use() -> Counter[Use]:
        return await _key_use(urls, secrets)

    return replace(
        patient,
        app=urls.app,
        direct=urls.direct,
        migrator=servers.migrator_url(settings, secrets),
        embedded=embedded,
        keys=keys,
        key_use=key_use,
        target=lambda: servers.backup_target(settings),
    )


async def _is_claude_taken(settings: Settings) -> bool:
    """Ask Claude about the key and the models; False without a key."""
    from viral.runtime import open_claude

    async with open_claude(settings) as claude:
        if claude is None:
            return False
        for model in {settings.critic_model, settings.writer_model}:
            await claude.check(model)
        return True


async def _key_use(urls: Urls, secrets: Secrets) -> Counter[Use]:
    """Count the values under each key, tenant by tenant."""
    from contextlib import AsyncExitStack

    from viral.database.encryption.rotation import key_use
    from viral.database.engine import Database
    from viral.features.tenants import list_tenants

    async with AsyncExitStack() as stack:
        opened = {}
        for role in ("viral_app", "viral_system"):
            url = urls.app if role == "viral_app" else urls.for_role(role, secrets)
            opened[role] = Database(
                replace(url, pool_size=1),
                context_key=lambda: secrets.context_key,
                passwords=secrets.login(url.user, url.password),
            )
            stack.push_async_callback(opened[role].close)
        async with opened["viral_system"].session_without_tenant() as session:
            tenant_ids = [tenant.id for tenant in await list_tenants(session)]
        return await key_use(opened["viral_app"], tenant_ids)
