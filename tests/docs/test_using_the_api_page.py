"""The page about using the API: its Python runs as it stands."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from clusters import Cluster
from factories import TestTenant
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from web.conftest import ADDRESS, add_sample_trends, browsing, serving, settings_for, sign_in
from web.programs import make_key
from web.served import served

from viral.database.engine import Database

PAGE = (Path(__file__).parents[2] / "docs" / "using-the-api.md").read_text("utf-8")


async def test_the_pages_code_makes_concepts_and_renames_the_tenant(
    monkeypatch: pytest.MonkeyPatch,
    cluster: Cluster,
    database_name: str,
    short_folder: Path,
    system: Database,
    alice: TestTenant,
    admin: AsyncConnection,
) -> None:
    await add_sample_trends(system)
    settings = settings_for(cluster, short_folder / "home", database_name)
    async with serving(settings) as application, browsing(application) as browser:
        await sign_in(browser, system, alice)
        monkeypatch.setenv("VIRAL_KEY", await make_key(browser, "read", "write", "admin"))
        async with served(application) as address:
            code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
            assert 2 == code.count(ADDRESS)
            await asyncio.to_thread(exec, code.replace(ADDRESS, address), {})

    # A result of a video that nobody generated makes a concept too.
    generated = text("SELECT count(DISTINCT concept_id) FROM predictions")
    assert 3 == await admin.scalar(generated)
    assert 1 == await admin.scalar(text("SELECT count(*) FROM performance_feedback"))
    assert "Acme Studios" == await admin.scalar(text("SELECT name FROM tenants"))
