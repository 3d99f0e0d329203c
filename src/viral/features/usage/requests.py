"""What a tenant asked of the API: how often, how fast, by which key, and what failed."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import text

from viral.database.engine import tenant_of
from viral.features.usage.spread import GROWTH, percentile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

# One pass over the span, into few groups; the bins are those of `spread`.
_USE = text("""
SELECT at, endpoint, method, key_id, took, count(*) AS calls,
       count(*) FILTER (WHERE status_code >= 400) AS errors
FROM (
  SELECT date_bin(:step, requested_at, :since) AS at, endpoint, method, api_key_id AS key_id,
         status_code,
         ceil(ln(greatest(response_time_ms, 1)::double precision)
              / ln(CAST(:growth AS double precision)) - 1e-9)::integer AS took
  FROM api_usage
  WHERE tenant_id = :tenant_id AND requested_at >= :since AND requested_at <= :until
) AS asked
GROUP BY at, endpoint, method, key_id, took
""")


@dataclass(frozen=True, slots=True)
class EndpointUse:
    """A route's calls; half of them took `p50_ms` at most, and 95 of 100 `p95_ms`."""

    method: str
    endpoint: str
    calls: int
    errors: int
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class KeyUse:
    """A key's calls, by step of the span; the key None is a person's own browser."""

    calls: tuple[int, ...]
    errors: int


@dataclass(frozen=True, slots=True)
class ApiUse:
    """A tenant's use of the API in a span, in steps from `since` on.

    `errors` are answers from 400 on: refused, or failed. Endpoints stand slowest first.
    """

    since: datetime
    step: timedelta
    calls: tuple[int, ...]
    errors: tuple[int, ...]
    p95_ms: float | None
    endpoints: tuple[EndpointUse, ...]
    keys: Mapping[UUID | None, KeyUse] = field(default_factory=dict)


async def use_of_api(
    session: AsyncSession, *, since: datetime, step: timedelta, until: datetime
) -> ApiUse:
    """Sum up what the session's tenant asked of the API from `since` to `until`."""
    steps = (until - since) // step + 1
    asked = {
        "tenant_id": tenant_of(session),
        "since": since,
        "until": until,
        "step": step,
        "growth": GROWTH,
    }
    calls, errors = [0] * steps, [0] * steps
    took: defaultdict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    failed: Counter[tuple[str, str]] = Counter()
    of_keys: defaultdict[UUID | None, list[int]] = defaultdict(lambda: [0] * steps)
    failed_of_keys: Counter[UUID | None] = Counter()
    for row in await session.execute(_USE, asked):
        place = (row.at - since) // step
        calls[place] += row.calls
        errors[place] += row.errors
        took[row.method, row.endpoint][row.took] += row.calls
        failed[row.method, row.endpoint] += row.errors
        of_keys[row.key_id][place] += row.calls
        failed_of_keys[row.key_id] += row.errors
    endpoints = [_endpoint(*name, bins, failed[name]) for name, bins in took.items()]
    return ApiUse(
        since=since,
        step=step,
        calls=tuple(calls),
        errors=tuple(errors),
        p95_ms=percentile(sum(took.values(), Counter()), 0.95),
        endpoints=tuple(sorted(endpoints, key=lambda each: (-each.p95_ms, each.endpoint))),
        keys={key: KeyUse(tuple(each), failed_of_keys[key]) for key, each in of_keys.items()},
    )


def _endpoint(method: str, endpoint: str, bins: Counter[int], errors: int) -> EndpointUse:
    return EndpointUse(
        method=method,
        endpoint=endpoint,
        calls=bins.total(),
        errors=errors,
        p50_ms=percentile(bins, 0.5) or 0.0,
        p95_ms=percentile(bins, 0.95) or 0.0,
    )
