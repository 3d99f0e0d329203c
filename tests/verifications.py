"""A verification of one of the tests' databases."""

from __future__ import annotations

from datetime import UTC, datetime

from clusters import Cluster

from viral.features.verification.report import Report
from viral.features.verification.run import Installation, verify


def installation_of(cluster: Cluster, database: str) -> Installation:
    return Installation(lambda role: cluster.direct_url(role, database), cluster.secrets)


async def verify_database(cluster: Cluster, database: str, *, victim: str | None = None) -> Report:
    return await verify(
        installation_of(cluster, database),
        clock=lambda: datetime.now(UTC),
        progress=lambda _step, _done, _total: None,
        victim=victim,
    )
