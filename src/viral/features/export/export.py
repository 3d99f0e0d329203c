"""A tenant is taken out: its rows, read in its own session, become one file."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from viral.database.history import read_history
from viral.errors import AlreadyExists
from viral.features.audit import note
from viral.features.export.archive import BATCH_ROWS, SEALED_NAME, ArchiveWriter
from viral.features.export.parts import travelling
from viral.features.tenants import own_tenant
from viral.postgres.backup.sealing import seal
from viral.postgres.backup.target import LocalFolder

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from datetime import datetime
    from pathlib import Path
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.database.encryption.keys import FieldKey
    from viral.database.engine import Database
    from viral.features.export.archive import Manifest
    from viral.features.export.parts import Part

    Advance = Callable[[str, int, int | None], None]

# Rows are written as text by the server: at every server and every client the same.
_SETTINGS = (
    "SET LOCAL timezone = 'UTC'",
    "SET LOCAL bytea_output = 'hex'",
    "SET LOCAL extra_float_digits = 1",
    "SET LOCAL statement_timeout = 0",
)


@dataclass(slots=True)
class Exported:
    """What was written; `manifest` is there once the file is."""

    size_bytes: int = 0
    manifest: Manifest | None = None


async def export_tenant(
    app: Database,
    tenant_id: UUID,
    path: Path,
    *,
    key: FieldKey | None,
    now: datetime,
    advance: Advance,
) -> Exported:
    """Write all that travels of a tenant into a file, which appears whole or not at all.

    All rows are of one moment. With a key the file is sealed, and holds the ciphertext of tokens
    as well. The audit log has its entry before the file has its name.
    """
    _refuse_existing(path)
    exported = Exported()
    archive = _archive(app, tenant_id, exported, with_tokens=key is not None, now=now, to=advance)
    async with aclosing(archive) as plain:
        chunks = plain if key is None else seal(plain, key, name=SEALED_NAME)
        exported.size_bytes = await LocalFolder(path.parent).write(path.name, chunks)
    return exported


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise AlreadyExists(f"{path} exists.", hint="Name another file with --to.")


async def _archive(
    app: Database,
    tenant_id: UUID,
    exported: Exported,
    *,
    with_tokens: bool,
    now: datetime,
    to: Advance,
) -> AsyncGenerator[bytes, None]:
    writer = ArchiveWriter()
    async with app.tenant_snapshot(tenant_id) as session:
        for setting in _SETTINGS:
            await session.execute(text(setting))
        slug = (await own_tenant(session)).slug
        for part in travelling(with_tokens=with_tokens):
            async for chunk in _table(session, tenant_id, part, writer, to):
                yield chunk
    manifest = writer.finish(
        tenant_id=tenant_id,
        slug=slug,
        exported_at=now,
        revision=read_history().revisions[-1].id,
    )
    yield writer.take()
    async with app.tenant_session(tenant_id) as session:
        await note(
            session,
            "exported tenant",
            slug,
            by="the operator",
            rows=manifest.rows,
            tokens="sealed" if with_tokens else "left out",
        )
    exported.manifest = manifest


async def _table(
    session: AsyncSession, tenant_id: UUID, part: Part, writer: ArchiveWriter, advance: Advance
) -> AsyncIterator[bytes]:
    """Write the rows of a table, a batch at a time."""
    given = {"tenant": tenant_id}
    where = f"public.{part.name} WHERE {part.condition}"
    total = int(await session.scalar(text(f"SELECT count(*) FROM {where}"), given) or 0)  # noqa: S608 - names of ours
    months: list[str] = []
    if (column := part.month_column) is not None:
        of_rows = f"SELECT DISTINCT to_char({column}, 'YYYY-MM') FROM {where} ORDER BY 1"  # noqa: S608 - the same
        months = [str(month) for month in await session.scalars(text(of_rows), given)]
    names = ", ".join(f'"{name}"' for name in part.columns)
    rows = text(
        f"SELECT row_to_json(r)::text FROM (SELECT {names} FROM {where}) AS r ORDER BY {part.order}"  # noqa: S608 - the same
    )
    table = writer.open_table(part.name)
    stream = await session.stream_scalars(rows, given, execution_options={"yield_per": BATCH_ROWS})
    async for batch in stream.partitions():
        table.add(batch)
        advance(part.name, table.rows, total)
        yield writer.take()
    writer.close_table(table, part.name, part.columns, months)
    yield writer.take()
