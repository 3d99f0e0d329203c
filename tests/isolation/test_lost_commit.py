"""A commit that was answered by something else is an error that can be looked at."""

from __future__ import annotations

from contextlib import suppress

import pytest
from factories import TestTenant
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from viral.database.engine import Database
from viral.database.faults import sqlstate_of
from viral.errors import CommitLost


async def commit_after_a_failure(app: Database, tenant: TestTenant) -> None:
    async with app.tenant_session(tenant.id) as session:
        with suppress(DBAPIError):
            await session.execute(text("SELECT 1 / 0"))


async def test_a_lost_commit_has_no_sqlstate_and_the_search_for_one_ends(
    app: Database, alice: TestTenant
) -> None:
    with pytest.raises(CommitLost) as caught:
        await commit_after_a_failure(app, alice)

    assert sqlstate_of(caught.value) is None
