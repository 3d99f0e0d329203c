"""/api/v1/api-keys: keys of people, for programs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from viral.errors import NotFound
from viral.features.users.api_keys import create_key, list_keys, revoke_key
from viral.features.users.sessions import Identity
from viral.schema.tenants import ApiKey
from viral.schema.vocabulary import Scope
from viral.web.deeds import note_deed
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.door import require_admin
from viral.web.idempotency import SAID_ONCE
from viral.web.moments import in_utc
from viral.web.requests import WebRequest


class KeyWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What will use the key, what it may, and until when; without an end it is for good."""

    name: str
    scopes: list[Scope]
    expires_at: datetime | None = None


class KeyMade(msgspec.Struct, frozen=True):
    """A new key. It is said this once, and kept nowhere."""

    id: UUID
    key: str


class KeyOut(msgspec.Struct, frozen=True):
    """A key that is not revoked: how it begins, whose it is, and what it may."""

    id: UUID
    user_id: UUID
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


@get("/api-keys", operation_id="list_keys")
async def get_keys(identity: Person, session: Transaction) -> list[KeyOut]:
    """List keys, newest first: to admins the tenant's, to members their own."""
    return [
        KeyOut(
            id=each.id,
            user_id=each.user_id,
            name=each.name,
            prefix=each.prefix,
            scopes=each.scopes,
            created_at=each.created_at,
            expires_at=each.expires_at,
            last_used_at=each.last_used_at,
        )
        for each in await _visible(session, identity)
    ]


@post("/api-keys", operation_id="create_key", opt=SAID_ONCE)
async def make_key(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    session: Transaction,
    data: JSONBody[KeyWanted],
) -> KeyMade:
    """Make a key that acts for you. Scopes: read, write, and for admins admin."""
    if "admin" in data.scopes:
        require_admin(identity)
    key_id, key = await create_key(
        session,
        identity.credential,
        name=data.name,
        scopes=data.scopes,
        expires_at=None if data.expires_at is None else in_utc(data.expires_at),
        now=runtime.clock(),
        pepper=runtime.secrets.pepper,
    )
    scopes = " ".join(sorted(set(data.scopes)))
    await note_deed(request, session, identity, "made key", data.name.strip(), scopes=scopes)
    return KeyMade(key_id, key)


@delete("/api-keys/{key_id:uuid}", operation_id="revoke_key")
async def take_key_back(
    request: WebRequest, identity: Person, session: Transaction, key_id: FromPath[UUID]
) -> None:
    """Let a key open nothing from the next request on: your own, or as an admin."""
    names = {each.id: each.name for each in await _visible(session, identity)}
    if key_id not in names:
        raise NotFound(f"There is no key {key_id} that works.")
    await revoke_key(session, identity.credential, key_id)
    await note_deed(request, session, identity, "revoked key", names[key_id])


async def _visible(session: AsyncSession, identity: Identity) -> Sequence[ApiKey]:
    keys = await list_keys(session)
    if identity.is_admin:
        return keys
    return [each for each in keys if each.user_id == identity.user_id]


ROUTES: Final = (get_keys, make_key, take_key_back)
