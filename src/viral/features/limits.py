"""How often somebody may: turns, counted in the database for all processes at once."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, ip_address, ip_network
from typing import TYPE_CHECKING

from sqlalchemy import func, select, type_coerce
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Integer, Interval, Text

from viral.errors import RateLimited

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests a minute: from an address, of a person, of a tenant, with a key."""

    address: int
    user: int
    tenant: int
    key: int


@dataclass(frozen=True, slots=True)
class Caller:
    """From where a request comes; `bucket` counts it under a name that nobody can guess."""

    address: str
    bucket: str


@dataclass(frozen=True, slots=True)
class Attempts:
    """How often something may be tried in a span, by whoever the bucket is named after."""

    bucket: str
    allowed: int
    span: timedelta


@lru_cache(maxsize=1024)
def caller_at(address: str, pepper: bytes) -> Caller:
    """Name the bucket of an address: its HMAC-SHA-256 under the installation's pepper."""
    return Caller(address, hidden(f"address {_counted(address)}", pepper))


def _counted(address: str) -> str:
    """Give what is counted as one: a home has 2^64 addresses of IPv6 to choose from."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ip_network((found, 64), strict=False))


def hidden(name: str, pepper: bytes) -> str:
    """Hide what a bucket is named after; the database holds no addresses and no e-mails here."""
    return hmac.digest(pepper, f"limit {name}".encode(), "sha256").hex()


async def limit_attempts(session: AsyncSession, attempts: Sequence[Attempts]) -> None:
    """Take a turn of each, or raise RateLimited; for those who are not known yet."""
    wait_s = await session.scalar(
        select(
            func.viral.limit_attempts(
                type_coerce([each.bucket for each in attempts], ARRAY(Text)),
                type_coerce([each.allowed for each in attempts], ARRAY(Integer)),
                type_coerce([each.span for each in attempts], ARRAY(Interval)),
            )
        )
    )
    refuse_wait(wait_s)


def refuse_wait(wait_s: float | None) -> None:
    """Raise RateLimited when there was no turn."""
    if wait_s:
        raise RateLimited(retry_after_s=wait_s)
