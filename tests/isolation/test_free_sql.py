"""SQL of a person against the wall: it reads unless asked to write, and stays in its tenant."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from clusters import Cluster, count_rows
from factories import TestTenant
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.execute import (
    READ,
    WRITE_AS_OWNER,
    WRITE_AS_TENANT,
    Access,
    Result,
    access_for,
    execute,
    read_script,
)
from viral.database.tenancy import WITHOUT_TENANT
from viral.errors import (
    BadInput,
    BadSetting,
    ServerUnreachable,
    StatementFailed,
    TenantContextMissing,
)

Run = Callable[..., Awaitable[list[Result]]]


@pytest.fixture
def run(cluster: Cluster, database_name: str) -> Run:
    """Run a text as the product would, for a tenant or for none."""

    async def run(
        text: str, access: Access = READ, *, tenant: TestTenant | None = None, limit: int = 10
    ) -> list[Result]:
        return await execute(
            cluster.direct_url(access.role, database_name),
            read_script(text),
            access=access,
            context=WITHOUT_TENANT if tenant is None else cluster.token(tenant.id),
            limit=limit,
        )

    return run


def test_the_least_role_is_chosen() -> None:
    chosen = [access_for(writes=w, has_tenant=t) for w in (False, True) for t in (False, True)]

    assert [READ, READ, WRITE_AS_OWNER, WRITE_AS_TENANT] == chosen


@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE tenants SET name = 'taken'",
        "SET TRANSACTION READ WRITE; UPDATE tenants SET name = 'taken'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE; UPDATE tenants SET name = 'taken'",
        "SET default_transaction_read_only = off; UPDATE tenants SET name = 'taken'",
        "SELECT set_config('transaction_read_only', 'off', true)",
        "DO $$ BEGIN EXECUTE 'SET TRANSACTION READ WRITE'; UPDATE tenants SET name = 'x'; END $$",
        "DO $$ BEGIN COMMIT; UPDATE tenants SET name = 'taken'; END $$",
        "WITH w AS (UPDATE tenants SET name = 'taken' RETURNING 1) SELECT * FROM w",
        "EXPLAIN ANALYZE UPDATE tenants SET name = 'taken'",
        "SET ROLE viral_app; UPDATE tenants SET name = 'taken'",
        "CREATE TEMP TABLE kept (a int)",
        "ALTER ROLE CURRENT_USER SET default_transaction_read_only = off",
        "SELECT pg_advisory_lock(1)",
        "SELECT lo_from_bytea(0, 'kept')",
        "SELECT * FROM tenants; COMMIT; UPDATE tenants SET name = 'taken'",
        "ROLLBACK; BEGIN; UPDATE tenants SET name = 'taken'; COMMIT",
        "COMMIT AND CHAIN",
        "-- a line\rCOMMIT",
        "PREPARE TRANSACTION 'kept'",
    ],
)
async def test_a_text_that_may_only_read_changes_nothing(
    run: Run, admin: AsyncConnection, alice: TestTenant, attack: str
) -> None:
    with pytest.raises((StatementFailed, BadInput)):
        await run(attack, tenant=alice)

    names = await admin.exec_driver_sql("SELECT name FROM tenants")
    assert ["Alice"] == list(names.scalars())


async def test_read_only_is_the_servers_word_even_for_a_role_that_may_write(
    run: Run, alice: TestTenant
) -> None:
    may_write = replace(READ, role="viral_app", settings={})

    with pytest.raises(StatementFailed, match="read-only transaction"):
        await run("UPDATE tenants SET name = 'taken'", may_write, tenant=alice)
    with pytest.raises(StatementFailed, match="before any query"):
        await run("SET TRANSACTION READ WRITE", may_write)


async def test_a_refused_write_says_how_to_write(run: Run, alice: TestTenant) -> None:
    with pytest.raises(StatementFailed) as refused:
        await run("DELETE FROM concepts", tenant=alice)

    assert "--write --tenant SLUG" in refused.value.hint


@pytest.mark.usefixtures("bob")
async def test_a_tenant_is_read_and_the_others_are_not(run: Run, alice: TestTenant) -> None:
    (result,) = await run("SELECT slug FROM tenants", tenant=alice)

    assert [("alice",)] == result.rows
    with pytest.raises(TenantContextMissing) as refused:
        await run("SELECT slug FROM tenants")
    assert "--tenant" in refused.value.hint


@pytest.mark.parametrize(
    "attack",
    [
        "SELECT set_config('app.tenant', '', true); SELECT slug FROM tenants",
        "SET app.tenant = '{bob}'; SELECT slug FROM tenants",
        "SET row_security = off; SELECT slug FROM tenants",
        "SELECT * FROM viral.tenant_contexts",
        "RESET SESSION AUTHORIZATION; SET ROLE viral_system; SELECT slug FROM tenants",
    ],
)
async def test_a_text_cannot_choose_another_tenant(
    run: Run, alice: TestTenant, bob: TestTenant, attack: str
) -> None:
    for access in (READ, WRITE_AS_TENANT):
        with pytest.raises(Exception, match=r"context|tenant's rows|permission|row-level"):
            await run(attack.format(bob=bob.id.hex * 2), access, tenant=alice)


@pytest.mark.usefixtures("bob")
async def test_a_tenants_text_writes_its_own_rows_alone(
    run: Run, admin: AsyncConnection, alice: TestTenant
) -> None:
    (result,) = await run("UPDATE tenants SET name = 'Ours'", WRITE_AS_TENANT, tenant=alice)

    names = await admin.exec_driver_sql("SELECT name FROM tenants ORDER BY slug")
    assert ("UPDATE 1", []) == (result.status, result.rows)
    assert ["Ours", "Bob"] == list(names.scalars())


async def test_all_statements_hold_or_none(run: Run, admin: AsyncConnection) -> None:
    await run("CREATE TABLE kept (a int); INSERT INTO kept VALUES (1)", WRITE_AS_OWNER)

    with pytest.raises(StatementFailed, match="line 2"):
        await run("INSERT INTO kept VALUES (2);\nSELECT 1/0", WRITE_AS_OWNER)

    assert 1 == await count_rows(admin, "kept")


@pytest.mark.usefixtures("alice")
async def test_the_owner_never_passes_over_rows_in_silence(run: Run) -> None:
    with pytest.raises(StatementFailed, match="row-level security") as refused:
        await run("UPDATE tenants SET name = 'all'", WRITE_AS_OWNER)

    assert "--tenant SLUG" in refused.value.hint


@pytest.mark.usefixtures("alice", "bob")
async def test_the_owner_reaches_all_rows_by_the_way_that_the_hint_names(run: Run) -> None:
    results = await run(
        "ALTER TABLE tenants NO FORCE ROW LEVEL SECURITY; UPDATE tenants SET name = 'all';"
        "ALTER TABLE tenants FORCE ROW LEVEL SECURITY",
        WRITE_AS_OWNER,
    )

    assert ["ALTER TABLE", "UPDATE 2", "ALTER TABLE"] == [result.status for result in results]


async def test_the_values_of_other_rows_are_told_to_the_owner_alone(run: Run) -> None:
    await run("CREATE TABLE kept (a text UNIQUE); INSERT INTO kept VALUES ('s3')", WRITE_AS_OWNER)
    await run("GRANT SELECT, INSERT ON kept TO viral_app", WRITE_AS_OWNER)
    again = "INSERT INTO kept SELECT 's' || 3"

    with pytest.raises(StatementFailed, match=r"\(s3\) already exists"):
        await run(again, WRITE_AS_OWNER)
    with pytest.raises(StatementFailed, match="kept_a_key") as refused:
        await run(again, WRITE_AS_TENANT)
    assert "s3" not in refused.value.message


async def test_the_place_of_an_error_is_pointed_at(run: Run) -> None:
    with pytest.raises(StatementFailed) as refused:
        await run("SELECT 1;\r\nSELECT 'ü',\n\tnonsense\nFROM pg_class")

    assert [
        'column "nonsense" does not exist (42703), line 3:',
        "   nonsense",
        "   ^",
    ] == refused.value.message.split("\n")


async def test_a_place_in_a_long_line_is_shown_with_what_stands_around_it(run: Run) -> None:
    with pytest.raises(StatementFailed) as refused:
        await run(f"SELECT '{'x' * 1_000_000}', nonsense, '{'y' * 1000}'")

    _, line, caret = refused.value.message.split("\n")
    assert len(line) <= 102
    assert line[len(caret) - 1 :].startswith("nonsense")


async def test_no_more_rows_than_the_limit_leave_the_server(run: Run) -> None:
    (cut,) = await run("SELECT generate_series(1, 3000000000)", limit=2)
    (whole,) = await run("SELECT generate_series(1, 2)", limit=2)

    assert ([(1,), (2,)], True) == (cut.rows, cut.is_cut)
    assert ([(1,), (2,)], False) == (whole.rows, whole.is_cut)


async def test_rows_beyond_the_limit_are_written_all_the_same(
    run: Run, admin: AsyncConnection
) -> None:
    await run("CREATE TABLE kept (a int)", WRITE_AS_OWNER)

    insert = "INSERT INTO kept SELECT generate_series(1, 5) RETURNING a"
    (result,) = await run(insert, WRITE_AS_OWNER, limit=2)

    assert 2 == len(result.rows)
    assert 5 == await count_rows(admin, "kept")


async def test_the_connection_is_of_its_own_and_gone_afterwards(
    run: Run, admin: AsyncConnection
) -> None:
    (result,) = await run("SELECT pg_backend_pid()")

    left = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND state = 'active'"
    (found,) = await admin.exec_driver_sql(left, result.rows[0])
    assert 0 == found[0]


async def test_a_pooler_is_refused(cluster: Cluster, database_name: str) -> None:
    pooled = replace(cluster.url(READ.role, database_name), is_pooled=True)

    with pytest.raises(BadSetting, match="pooler") as refused:
        await execute(pooled, read_script("SELECT 1"), access=READ, context=WITHOUT_TENANT, limit=1)

    assert "DIRECT_URL" in refused.value.hint


@pytest.mark.parametrize(
    ("text", "words", "fix"),
    [
        ("SELECT $1", "parameter", "Write the value"),
        ("SELECT '20000-01-01'::date", "cannot be shown", "::text"),
        ("SET statement_timeout = 50; SELECT pg_sleep(30)", "57014", "SET statement_timeout"),
        ("VACUUM", "25001", "migration"),
        ("SELECT now(", "42601", ""),
        ("COPY (SELECT 1) TO STDOUT", "COPY cannot be used here", "psql"),
        ("SELECT 1\0", "it is not SQL", "UTF-8"),
        ("SELECT '\udcff'", "it is not SQL", "UTF-8"),
        ("-- nothing", "no statement", "SELECT 1"),
    ],
)
async def test_what_cannot_run_is_told_with_its_fix(
    run: Run, text: str, words: str, fix: str
) -> None:
    with pytest.raises((StatementFailed, BadInput), match=words) as refused:
        await run(text, WRITE_AS_OWNER)

    assert fix in refused.value.hint


async def test_a_connection_that_ends_is_not_the_statements_fault(run: Run) -> None:
    end = "SELECT pg_terminate_backend(pg_backend_pid())"

    with pytest.raises(ServerUnreachable, match="closed the connection"):
        await run(end)
