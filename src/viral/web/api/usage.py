"""/api/v1/usage: what the tenant asked of the API, how fast it was answered, and what failed."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec
from litestar import get
from litestar.params import FromQuery

from viral.features.usage.requests import EndpointUse
from viral.web.dashboard.metrics import SPANS, read_use
from viral.web.dependencies import Person, Wired


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


@get("/usage", operation_id="get_usage")
async def get_usage(
    runtime: Wired, identity: Person, span: FromQuery[Literal["24h", "7d"]] = "24h"
) -> UsageOut:
    """Show the use of the API in the last 24 hours, or in the last 7 days."""
    use = await read_use(runtime, identity.tenant_id, SPANS[span], now=runtime.clock())
    return UsageOut(
        since=use.since,
        step_s=int(use.step.total_seconds()),
        calls=list(use.calls),
        errors=list(use.errors),
        p95_ms=use.p95_ms,
        endpoints=list(use.endpoints),
        keys=[KeyUseOut(key, list(each.calls), each.errors) for key, each in use.keys.items()],
    )


ROUTES: Final = (get_usage,)
