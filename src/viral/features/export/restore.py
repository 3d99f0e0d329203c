"""A tenant is put back from its export: all its rows with all their ids, or none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING
from uuid import UUID  # noqa: TC003 - msgspec reads annotations at run time

import msgspec
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from viral.database.backfill import rls_suspended
from viral.database.encryption.fields import encrypted_columns
from viral.database.faults import connecting, sqlstate_of
from viral.database.owner import owner_connection
from viral.database.partitions import make_month
from viral.database.tenancy import context_token, token_hash
from viral.database.tombstones import tombstone_removed
from viral.errors import AlreadyExists, BadFile
from viral.features.audit import note
from viral.features.export.parts import PERSON, Part, travelling
from viral.schema.security import AUTH, OWNER
from viral.schema.tenants import Tenant, User

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from viral.database.secrets import Secrets
    from viral.database.urls import ServerUrl
    from viral.features.export.archive import ArchiveReader, Contents

    Advance = Callable[[str, int, int | None], None]

_PEOPLE = User.__tablename__
_TENANTS = Tenant.__tablename__
_TAKEN = text("SELECT id, slug FROM public.tenants WHERE id = :id OR slug = :slug")
# Who is known here by their e-mail, or by their id, is that person.
_KNOWN = text("""
SELECT g.id AS given, u.id AS known
FROM json_to_recordset(CAST(CAST(:people AS text) AS json)) AS g (id uuid, email text)
JOIN public.users AS u ON u.id = g.id OR u.email = g.email
ORDER BY u.email = g.email
""")
_ADD_PERSON = text("""
INSERT INTO public.users (id, email, name, tenant_id) VALUES (:id, :email, :name, :tenant)
""")
_TOKEN = text("""
INSERT INTO viral.tenant_contexts (token_sha256, tenant_id, key_id)
VALUES (:token, :tenant, :key) ON CONFLICT DO NOTHING
""")
# Classes of SQLSTATE that speak of a row: data, constraints, limits.
_ABOUT_ROWS = ("22", "23", "54")


class Person(msgspec.Struct):
    """One person of an export."""

    id: UUID
    email: str
    name: str | None


@dataclass(frozen=True, slots=True)
class Restored:
    """What is back: the tenant, under which slug, and its rows by table."""

    tenant_id: UUID
    slug: str
    rows: dict[str, int]


async def restore_tenant(
    migrator: ServerUrl,
    archive: ArchiveReader,
    *,
    secrets: Secrets,
    home: Path,
    slug: str,
    advance: Advance,
) -> Restored:
    """Put a tenant back in one transaction; AlreadyExists if its id or the slug is taken.

    The owner of the tables writes, in nobody's session, and every row gets the tenant of the
    manifest, whatever a line of the file says. A tombstone of the tenant goes once all is stored:
    whoever calls this has asked whether an erased tenant may come back.
    """
    manifest = archive.manifest
    parts = _parts_of(manifest.tables)
    with connecting(migrator):
        async with owner_connection(migrator) as connection:
            for contents, part in parts:
                for month in contents.months:
                    await make_month(connection, part.name, _first_day(month))
            names = [part.name for _, part in parts]
            async with rls_suspended(connection, *names), connection.begin() as transaction:
                await connection.execute(text("SET LOCAL statement_timeout = 0"))
                restoring = _Restoring(connection, archive, manifest.tenant_id, slug, advance)
                await restoring.refuse_taken()
                for contents, part in parts:
                    await restoring.store(contents, part)
                await restoring.let_in(secrets)
                entry_id = await restoring.tell()
                with tombstone_removed(home, manifest.tenant_id, entry_id=entry_id):
                    await transaction.commit()
    return Restored(manifest.tenant_id, slug, {each.name: each.rows for each in manifest.tables})


class _Restoring:
    """One restore at work, in the transaction of its connection."""

    def __init__(
        self,
        connection: AsyncConnection,
        archive: ArchiveReader,
        tenant_id: UUID,
        slug: str,
        advance: Advance,
    ) -> None:
        self._connection = connection
        self._archive = archive
        self._tenant_id = tenant_id
        self._slug = slug
        self._advance = advance
        # The people of the file who are others here, by their id there.
        self._people: dict[str, str] = {}

    async def refuse_taken(self) -> None:
        """Raise AlreadyExists for an id or a slug that is in use."""
        taken = await self._connection.execute(_TAKEN, {"id": self._tenant_id, "slug": self._slug})
        for tenant_id, slug in taken:
            if tenant_id == self._tenant_id:
                raise AlreadyExists(
                    f"The tenant of this export is here, as {slug!r}.",
                    hint="It keeps what it holds. To go back to the export, erase the tenant first:"
                    f" `viral tenant erase {slug}`.",
                )
            raise AlreadyExists(
                f"Another tenant has the slug {slug!r}.", hint="Choose another one with --as SLUG."
            )

    async def store(self, contents: Contents, part: Part) -> None:
        """Insert the rows of one table."""
        done = 0
        statement = text(_insertion(part, contents.columns))
        for lines in self._archive.batches(contents):
            try:
                if part.name == _PEOPLE:
                    await self._store_people(lines)
                else:
                    await self._connection.execute(statement, self._given(lines))
            except DBAPIError as error:
                raise _refusal(error, part.name) from error
            done += len(lines)
            self._advance(part.name, done, contents.rows)

    async def let_in(self, secrets: Secrets) -> None:
        """Store the tenant's token, without which nobody can act as it."""
        key = None
        # The key changes only while nobody writes tokens (`database/context_keys.py`): at the
        # second look it can no longer.
        await self._connection.execute(text(f"SET LOCAL ROLE {AUTH}"))
        while key != secrets.context.current:
            key = secrets.context.current
            token = token_hash(context_token(key.material, self._tenant_id))
            given = {"token": token, "tenant": self._tenant_id, "key": key.id}
            await self._connection.execute(_TOKEN, given)
        await self._connection.execute(text(f"SET LOCAL ROLE {OWNER}"))

    async def tell(self) -> UUID:
        """Leave an entry in the tenant's audit log, and return its id."""
        manifest = self._archive.manifest
        async with AsyncSession(self._connection) as session:
            return await note(
                session,
                "restored tenant",
                self._slug,
                tenant_id=self._tenant_id,
                by="the operator",
                rows=manifest.rows,
                exported_at=f"{manifest.exported_at:%Y-%m-%dT%H:%M:%SZ}",
            )

    async def _store_people(self, lines: Sequence[bytes]) -> None:
        people = [_person(line) for line in lines]
        given = {"people": _array(lines)}
        # The last one found is the one with the e-mail.
        known = {row.given: row.known for row in await self._connection.execute(_KNOWN, given)}
        self._people |= {str(there): str(here) for there, here in known.items() if there != here}
        strangers = [person for person in people if person.id not in known]
        if strangers:
            home = {"tenant": self._tenant_id}
            rows = [msgspec.structs.asdict(each) | home for each in strangers]
            await self._connection.execute(_ADD_PERSON, rows)

    def _given(self, lines: Sequence[bytes]) -> dict[str, object]:
        return {
            "rows": _array(lines),
            "tenant": self._tenant_id,
            "slug": self._slug,
            "people": msgspec.json.encode(self._people).decode(),
        }


def _parts_of(tables: Sequence[Contents]) -> list[tuple[Contents, Part]]:
    """Find the tables of a file among those that travel, parents first; refuse any other."""
    known = {part.name: part for part in travelling(with_tokens=True)}
    given = {contents.name: contents for contents in tables}
    strange = [name for name in given if name not in known] + [
        f"{contents.name}.{column}"
        for contents in tables
        if contents.name in known
        for column in contents.columns
        if column not in known[contents.name].columns
    ]
    if strange or len(given) < len(tables) or not {_TENANTS, _PEOPLE} <= given.keys():
        raise BadFile(
            f"This is no export of the schema here: {', '.join(strange[:5]) or 'a table'}.",
            hint="Restore it with the version of the product that made it, or a later one.",
        )
    if given[_TENANTS].rows != 1 or set(given[_PEOPLE].columns) != set(PERSON):
        raise BadFile("The export is not of one tenant with its people.")
    return [(given[name], part) for name, part in known.items() if name in given]


def _insertion(part: Part, columns: Sequence[str]) -> str:
    """Write the statement that inserts many rows, given as one JSON array.

    PostgreSQL reads each value as the type of its column; Python would lose nanoseconds of it.
    """
    values = {name: f'r."{name}"' for name in columns}
    for name in part.people & set(columns):
        values[name] = f"coalesce((CAST(:people AS jsonb) ->> r.{name}::text)::uuid, r.{name})"
    for name in part.documents() & set(columns):
        # A JSON null in a row of the file may stand for that document, or for no value.
        values[name] = f"coalesce(r.\"{name}\", 'null')"
    for name in encrypted_columns(part.table):
        if name not in columns and not part.table.columns[name].nullable:
            # As an account is kept whose token is not: it has to be connected again.
            values[name] = "''::bytea"
    values[part.owner_column] = "CAST(:tenant AS uuid)"
    if part.name == _TENANTS:
        values["slug"] = "CAST(:slug AS text)"
    names = ", ".join(f'"{name}"' for name in values)
    return (
        f"INSERT INTO public.{part.name} ({names}) SELECT {', '.join(values.values())}"  # noqa: S608 - names of ours
        f" FROM json_populate_recordset(NULL::public.{part.name},"
        f" CAST(CAST(:rows AS text) AS json)) AS r"
    )


def _array(lines: Sequence[bytes]) -> str:
    try:
        return f"[{','.join(line.decode() for line in lines)}]"
    except UnicodeDecodeError as error:
        raise BadFile("The export holds a line that is no text.") from error


def _person(line: bytes) -> Person:
    try:
        return msgspec.json.decode(line, type=Person)
    except msgspec.DecodeError as error:
        raise BadFile(f"The export names a person in a way that is not known: {error}.") from error


def _first_day(month: str) -> date:
    try:
        return date.fromisoformat(f"{month}-01")
    except ValueError as error:
        raise BadFile(f"The export names a month {month[:20]!r}.") from error


def _refusal(error: DBAPIError, table: str) -> Exception:
    """Say which rule a row breaks; not the message, in which PostgreSQL quotes values."""
    if not (sqlstate_of(error) or "").startswith(_ABOUT_ROWS):
        return error
    cause = error.orig.__cause__ if error.orig is not None else None
    rule = getattr(cause, "constraint_name", None) or f"a rule ({sqlstate_of(error)})"
    return BadFile(
        f"The rows of {table} cannot be restored: they break {rule}. Nothing was changed.",
        hint="Something else here has the same key, or the file was changed by hand.",
    )
