"""Every table x command x tenant, for every role: expected from the table's own declarations.

What is expected is derived from the policies and grants that stand in the table's class; what
happens is asked of the database. A statement that a key stops has passed the wall before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import product
from typing import Literal

import pytest
from clusters import Cluster, superuser
from factories import Row, TestTenant, fill_every_table, make_tenant, new_row
from sqlalchemy import Executable, Table, and_, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from viral.database.faults import sqlstate_of
from viral.schema.security import APP, READONLY, SYSTEM, WORKER, Policy, security_of
from viral.schema.tables import METADATA

Command = Literal["SELECT", "INSERT", "UPDATE", "DELETE"]
Whose = Literal["own", "other", "none"]
Answer = Literal["passed", "nothing", "42501", "VT001"]

ROLES = (APP, READONLY, WORKER, SYSTEM)
COMMANDS: tuple[Command, ...] = ("SELECT", "INSERT", "UPDATE", "DELETE")
WHOSE: tuple[Whose, ...] = ("own", "other", "none")
# Unique, foreign key, check: looked at after row security let the row in.
KEYS = {"23505", "23503", "23514"}


@dataclass(frozen=True)
class Filled:
    """A database with a row of two tenants in every table, and a connection per role."""

    database: str
    tenants: tuple[TestTenant, TestTenant]
    rows: tuple[dict[str, Row], dict[str, Row]]
    tokens: tuple[str, str]
    connections: dict[str, AsyncConnection]


@pytest.fixture(scope="module")
async def filled(cluster: Cluster, module_database: str) -> AsyncIterator[Filled]:
    system = cluster.database(SYSTEM, module_database)
    alice = await make_tenant(system, cluster.secrets, slug="alice")
    bob = await make_tenant(system, cluster.secrets, slug="bob")
    await system.close()
    async with superuser(cluster, module_database) as admin:
        rows = (await fill_every_table(admin, alice), await fill_every_table(admin, bob))
    tokens = (cluster.token(alice.id), cluster.token(bob.id))
    async with AsyncExitStack() as stack:
        connections = {
            role: await stack.enter_async_context(
                create_async_engine(
                    cluster.url(role, module_database).sqlalchemy, poolclass=NullPool
                ).connect()
            )
            for role in ROLES
        }
        yield Filled(module_database, (alice, bob), rows, tokens, connections)


def granted_columns(table: Table, role: str, command: Command) -> set[str]:
    """List the columns on which a role has a privilege; empty when it has none."""
    columns: set[str] = set()
    for grant in security_of(table).grants:
        if grant.role == role and command in grant.privileges:
            columns |= set(grant.columns) or {column.name for column in table.columns}
    return columns


def reach(table: Table, role: str, command: Command) -> set[str]:
    """Say whose rows the policies let a role reach: `own`, `all`, or nobody's."""
    reached = set()
    for policy in security_of(table).policies:
        if role in policy.roles and policy.command in {"ALL", command}:
            reached.add(_reach_of(policy))
    return reached - {"nobody"}


def _reach_of(policy: Policy) -> str:
    if policy.using == "true":
        return "all"
    return "own" if "viral.tenant_id()" in (policy.using or "") else "nobody"


def expected(table: Table, role: str, command: Command, whose: Whose) -> Answer:
    if not granted_columns(table, role, command):
        return "42501"
    reached = reach(table, role, command)
    if command in {"UPDATE", "DELETE"}:
        # Which row is meant, is said in a WHERE: that takes reading it as well.
        reached &= reach(table, role, "SELECT")
    if "all" in reached:
        return "passed"
    if "own" in reached:
        return {"own": "passed", "other": _refused(command), "none": "VT001"}[whose]
    return _refused(command)


def _refused(command: Command) -> Answer:
    return "42501" if command == "INSERT" else "nothing"


def statement(table: Table, role: str, command: Command, row: Row, fresh: Row) -> Executable:
    """Write a statement about one row, with no more columns than the role may use."""
    this = and_(*(column == row[column.name] for column in table.primary_key.columns))
    if command == "INSERT":
        return table.insert().values(fresh).inline()
    if command == "DELETE":
        return table.delete().where(this)
    column = table.c[
        min(granted_columns(table, role, command) or {min(table.primary_key.c.keys())})
    ]
    if command == "UPDATE":
        return table.update().values({column.name: column}).where(this)
    return select(column).where(this)


async def answer(
    connection: AsyncConnection, token: str | None, statement: Executable, *, is_read: bool
) -> Answer | str:
    """Run a statement in a transaction that is undone, and say how it ended."""
    async with connection.begin() as transaction:
        await connection.execute(text("SET TRANSACTION READ WRITE"))
        if token is not None:
            await connection.execute(text(f"SET LOCAL app.tenant = '{token}'"))
        try:
            result = await connection.execute(statement)
            touched = len(result.all()) if is_read else result.rowcount
        except DBAPIError as error:
            state = sqlstate_of(error)
            return "passed" if state in KEYS else str(state)
        finally:
            await transaction.rollback()
    return "passed" if touched else "nothing"


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("table", METADATA.sorted_tables, ids=str)
async def test_a_role_reaches_what_the_table_declares_and_nothing_else(
    filled: Filled, table: Table, role: str
) -> None:
    found: dict[tuple[Command, Whose], str] = {}
    should: dict[tuple[Command, Whose], str] = {}

    for command, whose in product(COMMANDS, WHOSE):
        owner = 1 if whose == "other" else 0
        fresh = new_row(
            table,
            tenant_id=filled.tenants[owner].id,
            parents=filled.rows[owner],
            columns=granted_columns(table, role, command) or None,
        )
        if table.name == "tenants":
            fresh |= {"id": filled.tenants[owner].id}
        sql = statement(table, role, command, filled.rows[owner][str(table)], fresh)
        token = None if whose == "none" else filled.tokens[0]
        found[command, whose] = await answer(
            filled.connections[role], token, sql, is_read=command == "SELECT"
        )
        should[command, whose] = expected(table, role, command, whose)

    assert found == should


@pytest.mark.parametrize(
    "table",
    [t for t in METADATA.sorted_tables if "own" in reach(t, APP, "SELECT")],
    ids=str,
)
async def test_a_whole_table_shows_the_app_no_row_of_another_tenant(
    filled: Filled, table: Table
) -> None:
    owner = table.c["id" if table.name in {"tenants", "users"} else "tenant_id"]
    connection = filled.connections[APP]

    async with connection.begin():
        await connection.execute(text(f"SET LOCAL app.tenant = '{filled.tokens[0]}'"))
        owners = set(await connection.scalars(select(owner)))

    mine = filled.tenants[0]
    assert owners == {mine.user_id if table.name == "users" else mine.id}


@pytest.mark.parametrize(
    "table",
    [t for t in METADATA.sorted_tables if "tenant_id" in granted_columns(t, APP, "UPDATE")],
    ids=str,
)
async def test_the_app_cannot_move_a_row_into_another_tenant(filled: Filled, table: Table) -> None:
    row = filled.rows[0][str(table)]
    this = and_(*(column == row[column.name] for column in table.primary_key.columns))
    moved = table.update().values(tenant_id=filled.tenants[1].id).where(this)

    ended = await answer(filled.connections[APP], filled.tokens[0], moved, is_read=False)

    assert ended == "42501"


@pytest.mark.parametrize("table", METADATA.sorted_tables, ids=str)
async def test_the_filler_puts_a_row_of_each_tenant_into_every_table(
    cluster: Cluster, filled: Filled, table: Table
) -> None:
    async with superuser(cluster, filled.database) as admin:
        rows = (await admin.execute(select(table))).mappings().all()

    if "tenant_id" in table.c and table.name != "users":
        assert {row["tenant_id"] for row in rows} == {tenant.id for tenant in filled.tenants}
    assert len(rows) >= 2


@pytest.mark.parametrize("role", ROLES)
async def test_a_partition_is_reached_by_its_parent_alone(
    cluster: Cluster, filled: Filled, role: str
) -> None:
    async with superuser(cluster, filled.database) as admin:
        partitions = list(
            await admin.scalars(
                text("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'")
            )
        )

    ended = [
        await answer(
            filled.connections[role], filled.tokens[0], text(f"SELECT 1 FROM {name}"), is_read=True
        )
        for name in partitions
    ]

    assert len(partitions) >= 15
    assert set(ended) == {"42501"}
