"""What becomes of each table when the database is distributed by tenant over Citus.

The rules are those of Citus 14 (its manual: "Multi-tenant Applications", "Determining Application
Type", "SQL Support and Workarounds"), tried on a cluster where `docs/scale-out.md` says so. They
are read off the live catalogue, so what a migration or a person has changed is judged as well.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

import msgspec
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from viral.database.faults import connecting
from viral.errors import ServerRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.ext.asyncio import AsyncConnection

    from viral.database.urls import ServerUrl

TENANT = "tenant_id"

Role = Literal["distributed", "reference", "local"]


class Table(msgspec.Struct, frozen=True):
    """A table of ours, without its partitions; `numbered` columns own a sequence."""

    name: str
    owner: str
    is_partitioned: bool
    has_levels: bool
    columns: list[str]
    types: list[str]
    numbered: list[str]
    triggers: list[str]

    def type_of(self, column: str) -> str:
        return self.types[self.columns.index(column)]


class Key(msgspec.Struct, frozen=True):
    """A unique index or an exclusion; None stands for an expression."""

    table: str
    name: str
    is_primary: bool
    columns: list[str | None]


class Reference(msgspec.Struct, frozen=True):
    """A foreign key; the actions are letters of `pg_constraint`."""

    name: str
    source: str
    target: str
    source_columns: list[str]
    target_columns: list[str]
    on_delete: str
    on_update: str
    definition: str


class Policy(msgspec.Struct, frozen=True):
    """A policy as PostgreSQL prints it; `reads` are the tables of its sub-selects."""

    table: str
    name: str
    is_permissive: bool
    shows: str | None
    takes: str | None
    roles: list[str]
    reads: list[str]
    functions: list[str]


class Function(msgspec.Struct, frozen=True):
    """A function that a policy or an index calls, and the tables that it names."""

    name: str
    reads: list[str]
    callers: list[str]


class ColumnGrant(msgspec.Struct, frozen=True):
    """A privilege on some columns."""

    table: str
    role: str
    privilege: str
    columns: list[str]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a table lives, and why."""

    role: Role
    why: str


@dataclass(slots=True)
class Plan:
    """The schema, and the place of each of its tables."""

    tables: dict[str, Table] = field(default_factory=dict)
    keys: list[Key] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    policies: list[Policy] = field(default_factory=list)
    functions: dict[str, Function] = field(default_factory=dict)
    column_grants: list[ColumnGrant] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)

    def role(self, table: str) -> Role:
        return self.places[table].role

    def is_managed(self, table: str) -> bool:
        """Say whether Citus has to do with the table: local ones by a foreign key only."""
        return self.role(table) != "local" or any(
            table == reference.source and self.role(reference.target) != "local"
            for reference in self.references
        )

    def with_role(self, role: Role) -> list[str]:
        """List the tables of a role; the parents of foreign keys before their children."""
        waiting = [name for name in self.tables if self.role(name) == role]
        parents = {
            name: {r.target for r in self.references if r.source == name and r.target != name}
            for name in waiting
        }
        ordered: list[str] = []
        while waiting:
            ready = [name for name in waiting if not parents[name] & set(waiting)]
            # A circle has no first: any order is right, its foreign keys are off at that time.
            ordered += ready or waiting
            waiting = [name for name in waiting if name not in ordered]
        return ordered


async def plan_of(url: ServerUrl) -> Plan:
    """Read the plan of a database; nothing is written."""
    engine = create_async_engine(url.sqlalchemy, connect_args=url.connect_args, poolclass=NullPool)
    try:
        async with AsyncExitStack() as stack:
            with connecting(url):
                connection = await stack.enter_async_context(engine.connect())
            await connection.exec_driver_sql("SET TRANSACTION READ ONLY")
            return await read_plan(connection)
    finally:
        await engine.dispose()


async def read_plan(connection: AsyncConnection) -> Plan:
    """Read the catalogue of the open transaction and decide about each table."""
    query = "SELECT to_regnamespace('viral') IS NOT NULL"
    if not (await connection.exec_driver_sql(query)).scalar_one():
        raise ServerRefused(
            "The database is not prepared: it has no schema viral.",
            hint="Set it up with `viral server bootstrap --admin-url URL`.",
        )
    async with connection.begin_nested() as for_the_moment:
        await connection.exec_driver_sql("SELECT set_config('search_path', '', true)")
        script = (files("viral.database.scale") / "facts.sql").read_text("utf-8")
        rows = (await connection.exec_driver_sql(script)).all()
        await for_the_moment.rollback()
    plan = Plan()
    for row in rows:
        _take(plan, row.topic, row.document)
    plan.places = dict(_places(plan))
    return plan


def _take(plan: Plan, topic: str, document: object) -> None:
    match topic:
        case "table":
            table = msgspec.convert(document, Table)
            plan.tables[table.name] = table
        case "key":
            plan.keys.append(msgspec.convert(document, Key))
        case "reference":
            plan.references.append(msgspec.convert(document, Reference))
        case "policy":
            plan.policies.append(msgspec.convert(document, Policy))
        case "function":
            function = msgspec.convert(document, Function)
            plan.functions[function.name] = function
        case _:
            plan.column_grants.append(msgspec.convert(document, ColumnGrant))


def _places(plan: Plan) -> dict[str, Place]:
    """Decide by the keys first; then what has to be everywhere becomes a reference table."""
    places = {name: _place_by_key(plan, name) for name in plan.tables}
    while promoted := _promotion(plan, places):
        name, why = promoted
        places[name] = Place("reference", why)
    return places


def _place_by_key(plan: Plan, name: str) -> Place:
    primary = next((key for key in plan.keys if key.table == name and key.is_primary), None)
    if primary is not None and TENANT in primary.columns:
        return Place("distributed", f"its key holds {TENANT}: a tenant's rows lie together")
    if TENANT in plan.tables[name].columns:
        return Place("local", f"looked up before a tenant is known: its key has no {TENANT}")
    return Place("local", "no tenant's, and no distributed table needs it")


def _promotion(plan: Plan, places: dict[str, Place]) -> tuple[str, str] | None:
    """Find a table that must be on every node, and say why."""
    for reference in plan.references:
        source, target = places[reference.source], places[reference.target]
        if target.role == "local" and source.role != "local":
            return reference.target, f"{reference.source} refers to it from every node"
        if target.role == "distributed" and source.role != "distributed":
            # Citus refuses a foreign key from one place into many.
            return reference.target, f"{reference.source}, which is not distributed, refers to it"
    for policy in plan.policies:
        if places[policy.table].role == "local":
            continue
        for name in (*policy.reads, *_read_by_functions(plan, policy)):
            if places[name].role == "local":
                return name, f"the policy {policy.name} of {policy.table} reads it on every node"
    return None


def _read_by_functions(plan: Plan, policy: Policy) -> Iterator[str]:
    for name in policy.functions:
        yield from plan.functions[name].reads
