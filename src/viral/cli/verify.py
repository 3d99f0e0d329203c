"""`viral tenant verify`: attack the wall between tenants, and sign a report of what held."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli.output import err, out, print_facts, print_json, print_table, progress_bar
from viral.settings import load_settings

if TYPE_CHECKING:
    from viral.features.verification.report import Report
    from viral.settings import Settings

LEAKS_SHOWN = 50


def verify(
    tenant: Annotated[
        str | None,
        typer.Option("--tenant", help="Attack this tenant, by reads alone; else one made for it."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="Write FILE.json, signed, and FILE.html beside it."),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option("--check", help="Attack nothing: check the signature of a report."),
    ] = None,
    public_key: Annotated[
        str | None,
        typer.Option("--public-key", help="With --check: the key that has to have signed it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Attack this installation as another tenant; exit code 1 if anything comes through.

    Example: viral tenant verify --report isolation
    """
    if check is not None:
        _check(check, public_key, as_json=as_json)
        return
    settings = load_settings()
    found = asyncio.run(_verify(settings, tenant))
    files = {} if report is None else _write(found, report, settings)
    if as_json:
        print_json(found.as_json() | files)
    else:
        _print(found, files)
    if found.total.leaked:
        raise typer.Exit(1)


async def _verify(settings: Settings, tenant: str | None) -> Report:
    from viral.features.verification.run import Installation, verify
    from viral.runtime import open_runtime
    from viral.schema.security import APP, MIGRATOR
    from viral.servers import migrator_url
    from viral.web.verification.family import api_family

    async with open_runtime(settings) as runtime, api_family(settings) as api:
        special = {APP: runtime.urls.app_itself, MIGRATOR: migrator_url(settings, runtime.secrets)}
        installation = Installation(
            lambda role: special.get(role) or runtime.urls.for_role(role, runtime.secrets),
            runtime.secrets,
            settings.pg_bindir,
        )
        with progress_bar("attacking") as advance:
            return await verify(
                installation, clock=runtime.clock, progress=advance, victim=tenant, more=[api]
            )


def _write(found: Report, path: Path, settings: Settings) -> dict[str, str]:
    """Write both files; return what they are called and whose key signed them."""
    from viral.features.verification.signature import SigningKey, document_hash, write_report

    key = SigningKey.load_or_create(settings.home)
    base = path.with_suffix("") if path.suffix in {".json", ".html"} else path
    document, page = (base.with_name(base.name + ending) for ending in (".json", ".html"))
    content = key.sign(found.as_json())
    html = found.as_html(public_key=key.public_key, document_sha256=document_hash(content))
    write_report(document, content)
    write_report(page, html.encode())
    return {"signed": str(document), "page": str(page), "public_key": key.public_key}


def _check(path: Path, public_key: str | None, *, as_json: bool) -> None:
    from viral.features.verification.signature import check

    signer = check(path, public_key=public_key)
    if as_json:
        print_json({"file": str(path), "public_key": signer, "is_key_expected": bool(public_key)})
        return
    out.print(f"{path} is as it was signed, by {signer}.", markup=False)
    if public_key is None:
        out.print("Whose key it is, it cannot tell: compare it, or name it with --public-key.")


def _print(found: Report, files: dict[str, str]) -> None:
    rows = [
        (each.name, each.tried, each.held, each.leaked, each.not_applicable)
        for each in (*found.families, found.total)
    ]
    print_table(("attack", "tried", "held", "leaked", "not applicable"), rows)
    if found.leaks:
        _print_leaks(found)
    _print_rest()
    if files:
        out.print()
        print_facts(files)
    out.print()
    rate = found.total.tried / max(found.seconds, 0.1)
    ending = "all held" if not found.total.leaked else f"{found.total.leaked:,} leaked"
    out.print(f"{found.total.tried:,} attempts in {found.seconds:.1f} s ({rate:,.0f}/s): {ending}.")


def _print_leaks(found: Report) -> None:
    err.print()
    for leak in found.leaks[:LEAKS_SHOWN]:
        statement = f" ({leak.statement})" if leak.statement else ""
        err.print(f"leak: {leak.object}, as {leak.roles}", markup=False)
        err.print(f"  {leak.attack}: {leak.title}{statement}: {leak.detail}", markup=False)
        err.print(f"  {leak.meaning}", markup=False)
        err.print(f"  fix: {leak.fix}", markup=False)
    if len(found.leaks) > LEAKS_SHOWN:
        err.print(f"... and {len(found.leaks) - LEAKS_SHOWN} more: see --json or --report.")


def _print_rest() -> None:
    from viral.features.verification.report import NOT_TRIED, RESIDUALS

    for heading, lines in (("What remains", RESIDUALS), ("Not tried", NOT_TRIED)):
        out.print(f"\n{heading}:")
        for line in lines:
            out.print(f"- {line}", markup=False)
