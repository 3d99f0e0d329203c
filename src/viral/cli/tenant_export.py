"""`viral tenant export` and `viral tenant restore`: one tenant in a file, and back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli.guard import require_name
from viral.cli.output import err, out, print_json, progress_bar
from viral.settings import load_settings

if TYPE_CHECKING:
    from viral.features.export.archive import Manifest
    from viral.features.export.export import Exported
    from viral.features.export.restore import Restored
    from viral.settings import Settings


def export(
    slug: Annotated[str, typer.Argument(help="The tenant's slug.")],
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="The file to make.")],
    sealed: Annotated[
        bool, typer.Option("--sealed", help="Encrypt it with this installation's key, tokens too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write all of a tenant into one file. Example: viral tenant export acme --to acme.zip.

    The file is a zip of JSON lines, a table each, and a manifest with counts and SHA-256. It is
    for the client, or for `viral tenant restore`. Of people it has names and e-mails; passwords,
    sessions, keys, invitations and jobs stay here. Tokens of connected accounts go along only in
    a sealed file, which opens with the keys of this installation alone, and as ciphertext.
    """
    exported = asyncio.run(_export(slug, to.resolve(), is_sealed=sealed))
    manifest = exported.manifest
    assert manifest is not None
    if as_json:
        print_json(
            {
                "file": to,
                "id": manifest.tenant_id,
                "slug": slug,
                "is_sealed": sealed,
                "size_bytes": exported.size_bytes,
                "rows": {table.name: table.rows for table in manifest.tables},
            }
        )
        return
    out.print(
        f"{manifest.rows:,} rows of tenant {slug} are in {to}, {exported.size_bytes:,} bytes.",
        markup=False,
    )
    if not sealed:
        err.print("It is not encrypted: hand it over by a way that nobody else reads.")


def restore(
    file: Annotated[Path, typer.Argument(help="What `viral tenant export` wrote.")],
    as_slug: Annotated[
        str | None, typer.Option("--as", metavar="SLUG", help="Another slug than it had.")
    ] = None,
    after_erasure: Annotated[
        bool, typer.Option("--after-erasure", help="Also a tenant that was erased here.")
    ] = False,
    confirm: Annotated[
        str | None,
        typer.Option("--confirm", metavar="SLUG", help="The slug of an erased one; else typed."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Put a tenant back from its export, all or nothing. Example: viral tenant restore acme.zip.

    All ids stay as they were, so the tenant must not be here. People are known by their e-mail;
    who is not here yet gets no password: make a link with `viral sign-in`. Sessions and API keys
    have to be made anew, and accounts connected again unless the file was sealed.
    """
    restored = asyncio.run(
        _restore(file.resolve(), as_slug, is_erased_too=after_erasure, confirmed=confirm)
    )
    if as_json:
        print_json({"id": restored.tenant_id, "slug": restored.slug, "rows": restored.rows})
        return
    rows = sum(restored.rows.values())
    out.print(
        f"Tenant {restored.slug} is back: {rows:,} rows. Sign in: "
        f"viral sign-in --tenant {restored.slug}"
    )


async def _export(slug: str, path: Path, *, is_sealed: bool) -> Exported:
    from viral.features.export.export import export_tenant
    from viral.features.tenants import find_tenant
    from viral.runtime import open_runtime

    async with open_runtime(load_settings()) as runtime:
        async with runtime.system.session_without_tenant() as session:
            tenant = await find_tenant(session, slug)
        with progress_bar("Exporting") as advance:
            return await export_tenant(
                runtime.app,
                tenant.id,
                path,
                key=runtime.field_keys.primary if is_sealed else None,
                now=runtime.clock(),
                advance=advance,
            )


async def _restore(
    path: Path, slug: str | None, *, is_erased_too: bool, confirmed: str | None
) -> Restored:
    from viral.features.export.archive import open_archive
    from viral.features.export.restore import restore_tenant
    from viral.runtime import open_runtime
    from viral.servers import migrator_url

    settings = load_settings()
    async with (
        open_runtime(settings) as runtime,
        open_archive(path, runtime.field_keys, home=settings.home) as archive,
    ):
        manifest = archive.manifest
        _tell_what_comes(manifest)
        _refuse_erased(settings, manifest, confirmed, is_erased_too=is_erased_too)
        with progress_bar("Restoring") as advance:
            return await restore_tenant(
                migrator_url(settings, runtime.secrets),
                archive,
                secrets=runtime.secrets,
                home=settings.home,
                slug=slug or manifest.slug,
                advance=advance,
            )


def _tell_what_comes(manifest: Manifest) -> None:
    err.print(
        f"The export of tenant {manifest.slug} of {manifest.exported_at:%Y-%m-%d %H:%M} UTC,"
        f" {manifest.rows:,} rows, schema {manifest.revision}.",
        markup=False,
    )


def _refuse_erased(
    settings: Settings, manifest: Manifest, confirmed: str | None, *, is_erased_too: bool
) -> None:
    """Let an erased tenant come back only where that is asked for, and its name typed."""
    from viral.database.tombstones import read_tombstones
    from viral.errors import NotConfirmed

    erased = [t for t in read_tombstones(settings.home) if t.tenant_id == manifest.tenant_id]
    if not erased:
        return
    if not is_erased_too:
        raise NotConfirmed(
            f"The tenant {manifest.slug} was erased here on {erased[0].erased_at:%Y-%m-%d} for"
            " good: it does not come back by mistake.",
            hint="If it has to: viral tenant restore FILE --after-erasure",
        )
    require_name(
        settings,
        manifest.slug,
        confirmed,
        what="`viral tenant restore --after-erasure`",
        thing="tenant",
        loss=f"the tenant {manifest.slug}, erased for good, lives again",
    )
