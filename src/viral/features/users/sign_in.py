"""Signing in with e-mail and password; as the role that may do nothing else."""

from __future__ import annotations

import secrets as random
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from viral.database.tenancy import token_hash
from viral.errors import NotSignedIn, SignInRefused
from viral.features.limits import Attempts, hidden, limit_attempts
from viral.features.users.passwords import refuse_weak
from viral.features.users.sessions import SESSION_LIFETIME, SignedIn
from viral.schema.base import uuid7
from viral.schema.vocabulary import LONGEST_EMAIL

if TYPE_CHECKING:
    from uuid import UUID

    from viral.database.engine import Database
    from viral.features.limits import Caller
    from viral.features.users.passwords import Passwords
    from viral.features.users.sessions import Identity

SPAN = timedelta(minutes=15)
PER_EMAIL = 10
PER_ADDRESS = 50


@dataclass(frozen=True, slots=True)
class Door:
    """What checking a password takes: the role's database, the hasher, the pepper."""

    signin: Database
    passwords: Passwords
    pepper: bytes


async def sign_in(door: Door, *, email: str, password: str, caller: Caller) -> SignedIn:
    """Open a session; SignInRefused in one text and one time, whatever is wrong.

    Attempts are counted by e-mail and by address, in the database, also the right ones.
    """
    email = email.strip().lower()[:LONGEST_EMAIL]
    user_id = await check_password(door, email=email, password=password, caller=caller)
    return await begin_session(door, user_id, place=None)


async def check_password(door: Door, *, email: str, password: str, caller: Caller) -> UUID:
    """Return whose e-mail and password these are."""
    async with door.signin.session_without_tenant() as session:
        await limit_attempts(session, _attempts(door, email, caller))
        found = (
            await session.execute(select("*").select_from(func.viral.password_of(email)))
        ).one_or_none()
    hashed = None if found is None else found.hash
    if not await door.passwords.is_right(hashed, password):
        raise SignInRefused("This e-mail and this password do not fit.")
    assert found is not None
    if door.passwords.is_weaker(found.hash):
        stronger = await door.passwords.hash(password)
        async with door.signin.session_without_tenant() as session:
            await session.execute(
                select(func.viral.replace_password(found.user_id, found.hash, stronger, None))
            )
    user_id: UUID = found.user_id
    return user_id


async def begin_session(door: Door, user_id: UUID, *, place: UUID | None) -> SignedIn:
    """Open a session of a person who proved to be it, in a tenant of theirs."""
    token = random.token_urlsafe(32)
    async with door.signin.session_without_tenant() as session:
        tenant_id = await session.scalar(
            select(
                func.viral.begin_session(
                    user_id, place, uuid7(), token_hash(token), SESSION_LIFETIME
                )
            )
        )
    if tenant_id is None:
        # A member of nothing is told what a stranger is told.
        raise SignInRefused("This e-mail and this password do not fit.")
    return SignedIn(token, user_id, tenant_id)


async def set_password(
    door: Door, identity: Identity, *, current: str, new: str, caller: Caller
) -> None:
    """Give the person of a session a new password; their other sessions end.

    The current one is asked for, unless there is none or a fresh link let them in.
    """
    refuse_weak(new, email=identity.email)
    async with door.signin.session_without_tenant() as session:
        await limit_attempts(session, _attempts(door, identity.email, caller))
        found = (
            await session.execute(
                select("*").select_from(func.viral.password_of_session(identity.credential))
            )
        ).one_or_none()
    if found is None:
        raise NotSignedIn("You are not signed in.")
    is_asked = found.hash is not None and not found.is_by_fresh_link
    if is_asked and not await door.passwords.is_right(found.hash, current):
        raise SignInRefused("That is not your current password.")
    hashed = await door.passwords.hash(new)
    async with door.signin.session_without_tenant() as session:
        is_replaced = await session.scalar(
            select(
                func.viral.replace_password(found.user_id, found.hash, hashed, identity.credential)
            )
        )
    if not is_replaced:
        raise SignInRefused("The password was changed elsewhere at the same moment.")


def _attempts(door: Door, email: str, caller: Caller) -> list[Attempts]:
    return [
        Attempts(f"sign-in {caller.bucket}", PER_ADDRESS, SPAN),
        Attempts(f"sign-in {hidden(email, door.pepper)}", PER_EMAIL, SPAN),
    ]
