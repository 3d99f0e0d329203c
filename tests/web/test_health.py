"""Health is up or down, and says no more."""

from __future__ import annotations

from web.conftest import Browser


async def test_health_is_ok_while_the_database_answers(stranger: Browser) -> None:
    answer = await stranger.get("/health")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert "set-cookie" not in answer.headers or "session" not in answer.headers["set-cookie"]
