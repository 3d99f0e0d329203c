"""Effects as if they had been learnt and published."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection
from studio import NOW, execute


async def publish(
    admin: AsyncConnection,
    family: str,
    key: str,
    points: float,
    *,
    live: float | None = None,
    variance: float = 0.01,
) -> None:
    """Set a shared effect on all platforms and goals; what is live may differ."""
    await execute(
        admin,
        "INSERT INTO shared_effects (platform, goal, family, key, mean, variance, samples, day,"
        " tenants, published) SELECT platform, goal, :family, :key, :live, :variance, 50, :day, 5,"
        " :points FROM unnest(ARRAY['tiktok', 'youtube', 'instagram']) AS platform,"
        " unnest(ARRAY['engagement', 'reach']) AS goal",
        family=family,
        key=key,
        live=points if live is None else live,
        variance=variance,
        day=NOW.date().toordinal(),
        points=points,
    )
