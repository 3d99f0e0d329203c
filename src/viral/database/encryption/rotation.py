"""The change of keys: count what is under each, re-encrypt in batches, let an unused key go."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, cast
from uuid import UUID

from sqlalchemy import func, or_, select, text, update
from sqlalchemy.exc import DBAPIError

from viral.database.bulk import as_arrays, unnested
from viral.database.encryption.cipher import (
    KEY_ID_BYTES,
    KEY_ID_START,
    Place,
    key_id_of,
    seal,
    unseal,
)
from viral.database.encryption.fields import encrypted_models
from viral.database.encryption.keys import VARIABLE, KeyFile, new_key, retirable
from viral.database.engine import tenant_of
from viral.database.faults import sqlstate_of
from viral.errors import BadInput, DecryptionFailed, LockNotObtained, NotAllowed
from viral.schema.encrypted import SealedSecret

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Table
    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.database.encryption.keys import KeyRing
    from viral.database.engine import Database
    from viral.schema.base import Base

BATCH = 500
FIRST_ID = UUID(int=0)
WRITERS_TIMEOUT_S = 10
_LOCK_TIMED_OUT = "55P03"


class Use(NamedTuple):
    """What a key is used for."""

    key_id: str
    table: str


@dataclass(slots=True)
class Rotated:
    """What a run did: values it re-encrypted, and those that no key of the ring opens."""

    is_continued: bool = False
    values: int = 0
    unreadable: list[Place] = field(default_factory=list)


async def key_use(app: Database, tenant_ids: Sequence[UUID]) -> Counter[Use]:
    """Count the values under each key, each tenant's in its own session."""
    use: Counter[Use] = Counter()
    for tenant_id in tenant_ids:
        async with app.tenant_session(tenant_id) as session:
            for model, names in encrypted_models().items():
                for name in names:
                    key_id = _key_id(model, name)
                    found = await session.execute(
                        select(key_id, func.count())
                        .where(_is_kept(model, name), model.__table__.c.tenant_id == tenant_id)
                        .group_by(key_id)
                    )
                    for key, count in found:
                        use[Use(key, model.__tablename__)] += count
    return use


async def rotate(
    app: Database,
    tenant_ids: Sequence[UUID],
    *,
    keys: KeyRing,
    now: datetime,
    advance: Callable[[str, int, int | None], None],
) -> Rotated:
    """Make another primary key and put every value under it.

    A run that was killed is finished by the next: while a value is under a former key, no further
    key is made. Each batch is a transaction, and the ring opens what is done and what is not.
    """
    total = await _outdated(app, tenant_ids, keys)
    result = Rotated(is_continued=total > 0)
    if not result.is_continued:
        _add_primary(keys, now)
        total = await _outdated(app, tenant_ids, keys)
    for tenant_id in tenant_ids:
        for model in encrypted_models():
            last_id: UUID | None = FIRST_ID
            while last_id is not None:
                async with app.tenant_session(tenant_id) as session:
                    last_id = await _reencrypt_batch(
                        session, model, keys=keys, after=last_id, result=result
                    )
                advance(model.__tablename__, result.values, total)
    return result


async def retire(app: Database, tenant_ids: Sequence[UUID], *, keys: KeyRing, key_id: str) -> None:
    """Take a key out of the ring; refused while a value is under it."""
    key = retirable(keys, key_id)
    await _wait_for_writers(app)
    use = await key_use(app, tenant_ids)
    if count := sum(count for each, count in use.items() if each.key_id == key.id):
        raise NotAllowed(
            f"{count:,} values are under the key {key_id}.",
            hint="Run `viral keys rotate` first.",
        )
    if isinstance(keys, KeyFile):
        keys.remove(key.id)


async def _outdated(app: Database, tenant_ids: Sequence[UUID], keys: KeyRing) -> int:
    use = await key_use(app, tenant_ids)
    return sum(count for each, count in use.items() if each.key_id != keys.primary.id)


def _add_primary(keys: KeyRing, now: datetime) -> None:
    if not isinstance(keys, KeyFile):
        raise BadInput(
            f"Everything is under the first key of {VARIABLE}.",
            hint="Put another key first, restart the product, and run this again.",
        )
    keys.add_primary(new_key(now))


async def _reencrypt_batch(
    session: AsyncSession, model: type[Base], *, keys: KeyRing, after: UUID, result: Rotated
) -> UUID | None:
    """Re-encrypt the next rows and return the last one's id; None when there is none left."""
    table, names = model.__table__, encrypted_models()[model]
    tenant_id = tenant_of(session)
    found = await session.execute(
        select(table.c.id, *(table.c[name] for name in names))
        .where(table.c.tenant_id == tenant_id, table.c.id > after)
        .where(or_(*(_is_kept(model, n) & (_key_id(model, n) != keys.primary.id) for n in names)))
        .order_by(table.c.id)
        .limit(BATCH)
        # A token that is refreshed meanwhile would be written over with the former one.
        .with_for_update()
    )
    rows = []
    for row_id, *held in found:
        places = (Place(tenant_id, model.__tablename__, name, row_id) for name in names)
        sealed = [
            _resealed(secret, place, keys, result)
            for secret, place in zip(held, places, strict=True)
        ]
        rows.append((row_id, *sealed))
    if not rows:
        return None
    await _store(session, model, rows)
    last_id: UUID = rows[-1][0]
    return last_id


def _resealed(
    secret: SealedSecret | None, place: Place, keys: KeyRing, result: Rotated
) -> SealedSecret | None:
    """Return a secret under the primary key; one that cannot be opened stays as it is."""
    if secret is None or not secret.ciphertext or key_id_of(secret.ciphertext) == keys.primary.id:
        return secret
    try:
        value = seal(unseal(secret.ciphertext, place, keys), place, keys)
    except DecryptionFailed:
        result.unreadable.append(place)
        return secret
    result.values += 1
    return SealedSecret(value)


async def _store(
    session: AsyncSession, model: type[Base], rows: Sequence[Sequence[object]]
) -> None:
    table = model.__table__
    names = ["id", *encrypted_models()[model]]
    given = unnested(model, names)
    # For its tenant the row did not change: updated_at stays.
    same = {column.name: column for column in table.c if column.onupdate is not None}
    await session.execute(
        update(cast("Table", table))
        .values({**same, **{name: given.c[name] for name in names[1:]}})
        .where(table.c.tenant_id == tenant_of(session), table.c.id == given.c.id),
        as_arrays(rows, names),
    )


def _key_id(model: type[Base], name: str) -> ColumnElement[str]:
    column = model.__table__.c[name]
    return func.encode(func.substr(column, KEY_ID_START + 1, KEY_ID_BYTES), "hex")


def _is_kept(model: type[Base], name: str) -> ColumnElement[bool]:
    return func.length(model.__table__.c[name]) > 0


async def _wait_for_writers(app: Database) -> None:
    """Wait for transactions that may have sealed with a former primary and are not counted yet."""
    for model in encrypted_models():
        name = model.__tablename__
        try:
            async with app.session_without_tenant() as session:
                await session.execute(text(f"SET LOCAL lock_timeout = '{WRITERS_TIMEOUT_S}s'"))
                await session.execute(text(f"LOCK TABLE {name} IN SHARE MODE"))
        except DBAPIError as error:
            if sqlstate_of(error) != _LOCK_TIMED_OUT:
                raise
            raise LockNotObtained(
                f"A transaction has been writing to {name} for {WRITERS_TIMEOUT_S} seconds.",
                hint="Run it again when that has ended.",
            ) from error
