"""What came before about a subject is found in an index, however much came about others."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.features.webhooks import Delivery, is_outdated, is_over

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
# Often enough for PostgreSQL to think of one plan for all subjects.
TIMES = 10


@pytest.fixture
async def many(admin: AsyncConnection) -> None:
    await admin.execute(
        text(
            "INSERT INTO webhook_events (id, provider, event_id, event_type, payload, processed_at)"
            " SELECT gen_random_uuid(), 'clerk', 'event ' || n, 'user.updated', jsonb_build_object("
            "'subject', 'user ' || n / 5, 'occurred_at', now(), 'ends', n % 5 = 0), now()"
            " FROM generate_series(1, 5000) AS n"
        )
    )
    await admin.execute(text("ANALYZE webhook_events"))
    await admin.commit()


@pytest.mark.usefixtures("many")
async def test_a_look_at_what_came_before_reads_no_other_subject(system: Database) -> None:
    scans = text(
        "SELECT pg_stat_get_xact_numscans('ix_webhook_events_subject'::regclass),"
        " pg_stat_get_xact_numscans('webhook_events'::regclass)"
    )
    async with system.session_without_tenant() as session:
        for number in range(TIMES):
            news = Delivery("clerk", "new", "user.updated", f"user {number + 100}", MOMENT)
            assert await is_outdated(session, news)
            assert await is_over(session, "clerk", [news.subject, "nobody"])
        by_index, by_table = (await session.execute(scans)).one()

    # A set of subjects may be looked up one by one.
    assert by_index >= 2 * TIMES
    assert by_table == 0
