"""/api/v1/usage: what the tenant asked of the API, how fast it was answered, and what failed.

Written by `make docs`; do not edit.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from viral.client.calls import Calls, read


class EndpointUse(msgspec.Struct, frozen=True):
    """A route's calls; half of them took `p50_ms` at most, and 95 of 100 `p95_ms`."""

    method: str
    endpoint: str
    calls: int
    errors: int
    p50_ms: float
    p95_ms: float


class KeyUseOut(msgspec.Struct, frozen=True):
    """The calls of a key, step by step; those without a key came from browsers."""

    key_id: UUID | None
    calls: list[int]
    errors: int


class UsageOut(msgspec.Struct, frozen=True):
    """Calls in steps of `step_s` seconds from `since` on, the last one unfinished.

    Errors are answers from 400 on. Endpoints stand slowest first.
    """

    since: datetime
    step_s: int
    calls: list[int]
    errors: list[int]
    p95_ms: float | None
    endpoints: list[EndpointUse]
    keys: list[KeyUseOut]


class Usage(Calls):
    """What the tenant asked of the API, how fast it was answered, and what failed."""

    def get_usage(self, *, span: Literal["24h", "7d"] = "24h") -> UsageOut:
        """Show the use of the API in the last 24 hours, or in the last 7 days."""
        return read(self._ask("GET", "/usage", query={"span": span}), UsageOut)
