"""API keys: of a person, for a program; shown once, kept as a keyed hash."""

from __future__ import annotations

import hmac
import secrets as random
from typing import TYPE_CHECKING

from sqlalchemy import func, select, type_coerce, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import load_only

from viral.database.engine import tenant_of
from viral.errors import BadInput, NotFound
from viral.features.users.sessions import identity_of
from viral.schema.base import uuid7
from viral.schema.tenants import ApiKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.database.engine import Database
    from viral.features.limits import Caller, Limits
    from viral.features.users.sessions import Identity
    from viral.schema.vocabulary import Scope

PREFIX = "vd_live_"
# As text: PREFIX and 8 characters that tell keys apart in a list, of 43 that hold 256 bits.
_SHOWN = len(PREFIX) + 8
LONGEST_NAME = 100
_BY_KEY = "SELECT * FROM viral.enter_by_key($1, $2, ARRAY[$3, $4, $5, $6]::integer[])"
_SHOWN_COLUMNS = (
    ApiKey.id,
    ApiKey.user_id,
    ApiKey.name,
    ApiKey.prefix,
    ApiKey.scopes,
    ApiKey.expires_at,
    ApiKey.last_used_at,
    ApiKey.revoked_at,
    ApiKey.created_at,
)


def new_key() -> str:
    """Make a key: 256 random bits after a prefix that scanners for leaked secrets know."""
    return PREFIX + random.token_urlsafe(32)


def key_hmac(key: str, pepper: bytes) -> bytes:
    """Return what the database keeps of a key: HMAC-SHA-256 under the installation's pepper.

    Found by an index: what a caller sends tells nothing about the HMAC that is compared.
    """
    return hmac.digest(pepper, b"api key " + key.encode(), "sha256")


async def create_key(
    session: AsyncSession,
    credential: bytes,
    *,
    name: str,
    scopes: Iterable[Scope],
    expires_at: datetime | None,
    now: datetime,
    pepper: bytes,
) -> tuple[UUID, str]:
    """Make a key of the person behind a credential; return its id and, this once, itself."""
    name = name.strip()
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise BadInput(
            f"A key has a name of 1 to {LONGEST_NAME} characters.", hint="Name what will use it."
        )
    chosen = sorted(set(scopes))
    if not chosen:
        raise BadInput("A key that may do nothing is of no use.", hint="Choose read, write, admin.")
    if expires_at is not None and expires_at <= now:
        raise BadInput("The key would have expired already.", hint="Choose a later date.")
    key, key_id = new_key(), uuid7()
    await session.execute(
        select(
            func.viral.create_api_key(
                credential,
                key_id,
                name,
                key[:_SHOWN],
                key_hmac(key, pepper),
                type_coerce(chosen, JSONB),
                expires_at,
            )
        )
    )
    return key_id, key


async def list_keys(session: AsyncSession) -> Sequence[ApiKey]:
    """List the tenant's keys that are not revoked, newest first; of each what may be shown."""
    return (
        await session.scalars(
            select(ApiKey)
            .options(load_only(*_SHOWN_COLUMNS, raiseload=True))
            .where(ApiKey.tenant_id == tenant_of(session), ApiKey.revoked_at.is_(None))
            .order_by(ApiKey.created_at.desc(), ApiKey.id)
        )
    ).all()


async def key_names(session: AsyncSession) -> dict[UUID, str]:
    """Name all keys of the tenant by their ids, revoked ones too: their use is still told."""
    rows = await session.execute(
        select(ApiKey.id, ApiKey.name).where(ApiKey.tenant_id == tenant_of(session))
    )
    return {row[0]: row[1] for row in rows}


async def revoke_key(session: AsyncSession, credential: bytes, key_id: UUID) -> None:
    """Revoke a key: one's own, or as an admin."""
    if not await session.scalar(select(func.viral.revoke_api_key(credential, key_id))):
        raise NotFound(f"There is no key {key_id} that works.")


async def identify_key(
    database: Database, key: str, *, pepper: bytes, caller: Caller, limits: Limits
) -> Identity:
    """Tell who a key acts for; NotSignedIn when it is none, RateLimited when too often."""
    credential = key_hmac(key, pepper)
    allowed = (limits.address, limits.user, limits.tenant, limits.key)
    rows = await database.call(_BY_KEY, credential, caller.bucket, *allowed)
    return identity_of(rows, credential)


async def revoke_keys_of(
    session: AsyncSession, user_id: UUID, *, tenant_id: UUID | None = None
) -> None:
    """Revoke a person's keys, in one tenant or everywhere, as the system role."""
    revoking = update(ApiKey).where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
    if tenant_id is not None:
        revoking = revoking.where(ApiKey.tenant_id == tenant_id)
    await session.execute(
        revoking.values(revoked_at=func.now()), execution_options={"synchronize_session": False}
    )
