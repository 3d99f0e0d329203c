"""Distribution over Citus: judged from the live catalogue, and the script tried without Citus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import postgast
import pytest
from clusters import Cluster, superuser
from factories import TestTenant
from shell import Shell, environment_of
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.catalog import differences, read_catalog
from viral.database.scale.check import obstacles
from viral.database.scale.plan import Plan, read_plan
from viral.database.scale.script import citus_script

STUB = (Path(__file__).parent / "citus_stub.sql").read_text()


@asynccontextmanager
async def trial(cluster: Cluster, database: str) -> AsyncIterator[AsyncConnection]:
    """Open a transaction of a superuser that leaves nothing behind."""
    async with superuser(cluster, database) as connection:
        yield connection
        await connection.rollback()


async def run(connection: AsyncConnection, script: str) -> None:
    """Run several statements at once, inside the open transaction."""
    await connection.exec_driver_sql("SELECT 1")
    raw = await connection.get_raw_connection()
    assert isinstance(raw.driver_connection, asyncpg.Connection)
    await raw.driver_connection.execute(script)


async def distribute(connection: AsyncConnection, plan: Plan) -> None:
    await run(connection, STUB)
    script = citus_script(plan)
    assert script.count("\nBEGIN;\n") == script.count("\nCOMMIT;\n") == 1
    await run(connection, script.replace("\nBEGIN;\n", "\n").replace("\nCOMMIT;\n", "\n"))


async def judged(connection: AsyncConnection, *changes: str) -> list[tuple[str, str]]:
    """Change the schema and say which rule which object breaks."""
    for change in changes:
        await connection.exec_driver_sql(change)
    return [(found.rule, found.object) for found in obstacles(await read_plan(connection))]


async def test_the_schema_distributes_and_each_table_has_its_place(
    cluster: Cluster, module_database: str
) -> None:
    async with trial(cluster, module_database) as connection:
        plan = await read_plan(connection)

        assert obstacles(plan) == []
        assert set(plan.with_role("reference")) == {
            "public.tenants", "public.users", "public.memberships", "viral.tenant_contexts",
        }  # fmt: skip
        assert {"public.job_queue", "public.sessions", "public.api_keys", "viral.rate_limits"} <= (
            set(plan.with_role("local"))
        )
        for name, table in plan.tables.items():
            if plan.role(name) == "distributed":
                assert "tenant_id" in table.columns
        # An index whose function is missing on a node is not made there.
        assert "viral.words_of(uuid,text,jsonb,text[])" in plan.functions
        order = plan.with_role("distributed")
        assert order.index("public.concepts") < order.index("public.videos")
        assert order.index("public.videos") < order.index("public.social_posts")


@pytest.mark.parametrize(
    ("change", "rule", "place"),
    [
        (
            "ALTER TABLE videos ADD CONSTRAINT one UNIQUE (video_url)",
            "key-without-tenant",
            "public.videos.one",
        ),
        (
            "CREATE UNIQUE INDEX turned ON videos (status, tenant_id)",
            "key-without-tenant",
            "public.videos.turned",
        ),
        (
            (
                "ALTER TABLE videos ADD CONSTRAINT beside FOREIGN KEY (id, tenant_id)"
                " REFERENCES concepts (tenant_id, id) NOT VALID"
            ),
            "reference-without-tenant",
            "public.videos.beside",
        ),
        (
            (
                "ALTER TABLE videos ADD CONSTRAINT cleared FOREIGN KEY (tenant_id, concept_id)"
                " REFERENCES concepts (tenant_id, id) ON DELETE SET NULL (concept_id)"
            ),
            "reference-action",
            "public.videos.cleared",
        ),
        (
            (
                "ALTER TABLE videos ADD CONSTRAINT moved FOREIGN KEY (tenant_id, concept_id)"
                " REFERENCES concepts (tenant_id, id) ON UPDATE CASCADE"
            ),
            "reference-action",
            "public.videos.moved",
        ),
        (
            (
                "CREATE TRIGGER watch BEFORE UPDATE ON sessions FOR EACH ROW"
                " EXECUTE FUNCTION suppress_redundant_updates_trigger()"
            ),
            "trigger",
            "public.sessions.watch",
        ),
        (
            "ALTER TABLE videos ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY",
            "sequence",
            "public.videos.number",
        ),
        (
            (
                "CREATE TABLE api_usage_odd PARTITION OF api_usage FOR VALUES FROM ('2001-01-01')"
                " TO ('2002-01-01') PARTITION BY RANGE (requested_at)"
            ),
            "partition-levels",
            "public.api_usage",
        ),
        (
            "CREATE POLICY less ON videos AS RESTRICTIVE TO viral_app USING (true)",
            "policy-restrictive",
            "public.videos.less",
        ),
        (
            (
                "CREATE POLICY odd ON videos TO viral_app"
                " USING (EXISTS (SELECT FROM users u WHERE u.id = videos.id))"
            ),
            "policy-sub-select",
            "public.videos.odd",
        ),
        (
            (
                "CREATE POLICY far ON users TO viral_app"
                " USING (id IN (SELECT g.user_id FROM generations g))"
            ),
            "policy-reads-tenants",
            "public.users.far",
        ),
    ],
)
async def test_what_citus_refuses_is_found(
    cluster: Cluster, module_database: str, change: str, rule: str, place: str
) -> None:
    async with trial(cluster, module_database) as connection:
        assert (rule, place) in await judged(connection, change)


async def test_a_parent_of_an_undistributed_table_becomes_a_reference_table(
    cluster: Cluster, module_database: str
) -> None:
    async with trial(cluster, module_database) as connection:
        await judged(
            connection,
            "ALTER TABLE webhook_events ADD COLUMN video_id uuid,"
            " ADD FOREIGN KEY (tenant_id, video_id) REFERENCES videos (tenant_id, id)",
        )
        plan = await read_plan(connection)

    assert plan.role("public.videos") == "reference"
    assert "webhook_events" in plan.places["public.videos"].why
    # Its own parents have to follow it, and they say why.
    assert "public.videos" in plan.places["public.concepts"].why


async def test_an_empty_database_has_nothing_to_distribute(cluster: Cluster) -> None:
    async with trial(cluster, "postgres") as connection:
        await connection.exec_driver_sql("CREATE SCHEMA viral")

        assert await judged(connection) == [("nothing-to-distribute", "database")]


async def test_the_script_moves_every_table_and_the_schema_is_the_same_after_it(
    cluster: Cluster, module_database: str
) -> None:
    async with trial(cluster, module_database) as connection:
        before = await read_catalog(connection)
        plan = await read_plan(connection)
        await distribute(connection, plan)
        placed = await connection.exec_driver_sql(
            "SELECT logicalrelid::text AS name, partmethod::text AS method FROM pg_dist_partition"
            " ORDER BY place"
        )
        rows = [(row.name, row.method) for row in placed]
        emptied = await connection.exec_driver_sql(
            "SELECT logicalrelid::text FROM emptied ORDER BY place"
        )
        names = [str(row[0]) for row in emptied]
        await run(connection, STUB_GONE)
        found = differences(before, await read_catalog(connection))

    methods = [method for _, method in rows]
    assert methods == sorted(methods, key="nh".index)
    assert {name for name, _ in rows} == {
        name.removeprefix("public.")
        for name in (*plan.with_role("reference"), *plan.with_role("distributed"))
    }
    assert names == [name for name, method in reversed(rows) if method == "h"]
    policies = [difference for difference in found if difference.entry.kind == "policy"]
    others = {difference.entry.name for difference in found if difference not in policies}
    assert policies
    assert {part for each in policies for part in each.changed} == {"using", "with check"}
    conditions = [
        str(each.actual.parts[part]) for each in policies if each.actual for part in each.changed
    ]
    assert not any("SELECT" in condition for condition in conditions)
    assert all("viral.users_members_only()" in name for name in others)


async def test_the_script_runs_again_on_what_it_has_distributed(
    cluster: Cluster, module_database: str
) -> None:
    async with trial(cluster, module_database) as connection:
        plan = await read_plan(connection)
        await distribute(connection, plan)
        body = citus_script(plan).replace("\nBEGIN;\n", "\n").replace("\nCOMMIT;\n", "\n")
        await run(connection, body)

        count = await connection.exec_driver_sql("SELECT count(*) FROM pg_dist_partition")
        assert count.scalar_one() == 24


async def test_row_security_holds_after_the_script(
    cluster: Cluster, database_name: str, alice: TestTenant, bob: TestTenant
) -> None:
    async with trial(cluster, database_name) as connection:
        await distribute(connection, await read_plan(connection))
        for mine, other in ((alice, bob), (bob, alice)):
            await run(
                connection,
                f"SET LOCAL ROLE viral_app; SET LOCAL app.tenant = '{cluster.token(mine.id)}'",
            )
            tenants = await connection.exec_driver_sql("SELECT id FROM tenants")
            assert tenants.scalars().all() == [mine.id]
            people = await connection.exec_driver_sql("SELECT id FROM users")
            assert people.scalars().all() == [mine.user_id]
            members = await connection.exec_driver_sql("SELECT user_id FROM memberships")
            assert members.scalars().all() == [mine.user_id]
            with pytest.raises(Exception, match="row-level security"):
                async with connection.begin_nested():
                    await connection.exec_driver_sql(
                        "INSERT INTO audit_log (tenant_id, id, action, subject)"
                        f" VALUES ('{other.id}', gen_random_uuid(), 'a', 'b')"
                    )
            await run(connection, "RESET ROLE")


async def test_another_role_than_a_superuser_is_stopped_before_it_moves_anything(
    cluster: Cluster, module_database: str
) -> None:
    async with trial(cluster, module_database) as connection:
        plan = await read_plan(connection)
        await run(connection, "SET LOCAL ROLE viral_migrator")

        with pytest.raises(asyncpg.RaiseError, match="run this as a superuser"):
            await distribute_as_it_is(connection, plan)


async def distribute_as_it_is(connection: AsyncConnection, plan: Plan) -> None:
    await run(connection, citus_script(plan).replace("\nBEGIN;\n", "\n"))


def test_the_command_prints_the_script_and_nothing_else(
    cluster: Cluster, module_database: str, tmp_path: Path
) -> None:
    script = Shell(environment_of(cluster, module_database), tmp_path).viral("scale", "script")

    assert script.code == 0
    assert script.out.startswith("-- Distributes this database")
    assert len(postgast.parse(script.out).stmts) > 150


async def test_what_stands_in_the_way_ends_the_command_with_two(
    cluster: Cluster, database_name: str, tmp_path: Path
) -> None:
    await cluster.execute_as_admin(
        database_name, "ALTER TABLE videos ADD CONSTRAINT one UNIQUE (video_url)"
    )

    checked = Shell(environment_of(cluster, database_name), tmp_path).viral(
        "scale", "check", "--json"
    )

    assert checked.code == 2
    assert checked.document["distributes"] is False
    assert checked.document["obstacles"][0]["object"] == "public.videos.one"


STUB_GONE = """
DROP TABLE pg_dist_node, pg_dist_partition, distributed_functions, emptied;
DROP FUNCTION create_reference_table, create_distributed_table, create_distributed_function,
  truncate_local_data_after_distributing_table, refuse_what_citus_refuses;
"""
