"""The use of the API over the API: by step, route and key."""

from __future__ import annotations

from litestar import Litestar
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from web.conftest import Browser
from web.programs import made_key, running


async def test_use_is_told_by_key_and_route(
    application: Litestar, alices: Browser, bobs: Browser, system: Database, admin: AsyncConnection
) -> None:
    await admin.execute(text("SELECT viral.make_partitions()"))
    await admin.commit()
    key = await made_key(alices, "read")
    async with running(application, key["key"]) as program:
        for path in ("jobs", "jobs", "concepts?limit=0"):
            await program.get(f"/api/v1/{path}")
        await application.state.usage.write(system)

        day = (await program.get("/api/v1/usage")).json()
        week = (await program.get("/api/v1/usage?span=7d")).json()

    (mine,) = [each for each in day["keys"] if each["key_id"] == key["id"]]
    assert (3, 1, 3600, 24) == (
        sum(mine["calls"]),
        mine["errors"],
        day["step_s"],
        len(day["calls"]),
    )
    assert (86_400, 7) == (week["step_s"], len(week["calls"]))
    calls = {each["endpoint"]: (each["calls"], each["errors"]) for each in day["endpoints"]}
    assert ((2, 0), (1, 1)) == (calls["/api/v1/jobs"], calls["/api/v1/concepts"])
    assert [] == (await bobs.get("/api/v1/usage")).json()["endpoints"]
    assert 422 == (await alices.get("/api/v1/usage?span=1y")).status_code
