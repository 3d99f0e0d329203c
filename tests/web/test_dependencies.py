"""A request is one transaction: all of it, or nothing."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.web import uploads
from web.conftest import Browser, altered

ROWS = [{"id": "v1", "platform": "tiktok", "published_at": "2026-01-02", "views": 1000}]


async def test_a_request_that_fails_stores_nothing(
    alices: Browser, admin: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(uploads, "ask_for_reflexion", fail)

    answer = await alices.send("/api/v1/performance", ROWS)

    assert answer.status_code == 500
    assert await admin.scalar(text("SELECT count(*) FROM performance_feedback")) == 0
    assert await admin.scalar(text("SELECT count(*) FROM concepts")) == 0


async def test_what_was_answered_is_stored(alices: Browser, admin: AsyncConnection) -> None:
    refuse = (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'late'; END $$"
    )
    # Fails at COMMIT alone, after the handler is done.
    late = (
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON job_queue DEFERRABLE"
        " INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()"
    )

    async with altered(admin, refuse, late, back=["DROP FUNCTION refuse() CASCADE"]):
        answer = await alices.send("/api/v1/performance", ROWS)

    assert answer.status_code == 500
    assert await admin.scalar(text("SELECT count(*) FROM performance_feedback")) == 0
