"""A tenant's context for one text of SQL: valid while it runs, worth nothing afterwards.

A text can read the setting in which its context stands. So it is never given the tenant's own
token: who keeps what a text has shown holds a key that fits no door, and who writes such a key into
the setting opens none.
"""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from viral.database.driver import driver_connection
from viral.database.faults import DRIVER_ERRORS
from viral.database.tenancy import token_hash
from viral.errors import LockNotObtained
from viral.schema.security import AUTH

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from viral.database.urls import ServerUrl

# A pass's number is the second in which it was made, counted from 2020 and below zero: it never
# meets the number of a key, which counts up from one, and tells how old it is.
_SECOND = "extract(epoch FROM now())::integer - 1577836800"
# What a killed process left. No text runs for as long.
_PRUNE = f"DELETE FROM viral.tenant_contexts WHERE key_id BETWEEN 601 - ({_SECOND}) AND -1"  # noqa: S608 - a constant
_STORE = f"""
INSERT INTO viral.tenant_contexts (token_sha256, tenant_id, key_id)
VALUES ($1, $2, -({_SECOND}) - $3)
ON CONFLICT DO NOTHING
"""  # noqa: S608 - a constant
_REMOVE = "DELETE FROM viral.tenant_contexts WHERE token_sha256 = $1"
# Passes that one tenant may be given in one second.
_AT_ONCE = 20


@asynccontextmanager
async def tenant_pass(migrator: ServerUrl, tenant_id: UUID) -> AsyncIterator[str]:
    """Give a context of a tenant that ends with the block; `migrator` is the migrator's URL."""
    token = secrets.token_hex(32)
    hashed = token_hash(token)
    async with driver_connection(migrator, settings={"role": AUTH}) as connection:
        await connection.execute(_PRUNE)
        for number in range(_AT_ONCE):
            if await connection.execute(_STORE, hashed, tenant_id, number) != "INSERT 0 0":
                break
        else:
            raise LockNotObtained("Too many texts run at once.", hint="Try again in a second.")
        try:
            yield token
        finally:
            # A server that is gone by now: the next pass takes this one away.
            with suppress(*DRIVER_ERRORS):
                await connection.execute(_REMOVE, hashed)
