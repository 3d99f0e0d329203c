"""Roles: becoming another one, changing the wall itself, and what no role of tenants may do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.database.validate.access import is_secret
from viral.features.verification.arena import by_each_role, on_all_tables
from viral.features.verification.relations import ATTACKERS, CLOSED_ROLES, SIGN_IN
from viral.features.verification.verdicts import (
    Attack,
    Family,
    Target,
    Verdict,
    held,
    leaked,
    not_applicable,
    rows,
)
from viral.schema.security import APP, AUTH, MIGRATOR, OWNER, READONLY, WORKER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.features.verification.arena import Arena

_DENIED = "42501"
# Nothing of that name is there: there is nothing to attack.
_MISSING = {"42704", "22023", "42883", "58P01"}
_POWERFUL = (OWNER, AUTH, MIGRATOR, "viral_backup", "viral_admin", "postgres")
_WALL = (
    "ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY",
    "CREATE POLICY verification ON {table} USING (true)",
    "ALTER TABLE {table} OWNER TO CURRENT_USER",
    "DROP TABLE {table} CASCADE",
)
_MAKING = (
    ("schema public", "CREATE TABLE public.verification (a integer)"),
    ("schema public", "CREATE VIEW public.verification AS SELECT 1 AS a"),
    (
        "schema public",
        (
            "CREATE FUNCTION public.verification(a text) RETURNS boolean LANGUAGE plpgsql COST 0.01"
            " AS 'BEGIN RAISE NOTICE ''%'', a; RETURN true; END'"
        ),
    ),
    (
        "schema public",
        "CREATE OPERATOR public.=== (FUNCTION = texteq, LEFTARG = text, RIGHTARG = text)",
    ),
    ("schema viral", "CREATE TABLE viral.verification (a integer)"),
    ("schema pg_temp", "CREATE TEMP TABLE tenants (id uuid)"),
    ("the database", "CREATE SCHEMA verification"),
    ("the database", "CREATE EXTENSION dblink"),
    ("the server", "CREATE ROLE verification"),
)
_OUTSIDE = (
    ("files of the server", "SELECT pg_read_file('postgresql.conf')"),
    ("files of the server", "SELECT pg_ls_dir('.')"),
    ("files of the server", "COPY (SELECT 1) TO '/dev/null'"),
    ("programs of the server", "COPY (SELECT 1) TO PROGRAM 'true'"),
    ("configuration of the server", "SET LOCAL log_statement = 'none'"),
    ("configuration of the server", "SELECT pg_reload_conf()"),
    ("passwords of the server", "SELECT rolpassword FROM pg_catalog.pg_authid"),
    ("statistics of the planner", "SELECT 1 FROM pg_catalog.pg_statistic LIMIT 1"),
    ("other databases", "SELECT 1 FROM pg_catalog.pg_user_mapping LIMIT 1"),
)
_BETWEEN_SESSIONS = (
    ("large objects", "SELECT lo_create(0)"),
    ("large objects", "SELECT lo_from_bytea(0, 'kept')"),
    ("large objects", "SELECT lo_get(1)"),
    ("advisory locks", "SELECT pg_advisory_xact_lock(1)"),
    ("advisory locks", "SELECT pg_try_advisory_lock(1)"),
    ("messages", "SELECT pg_notify('verification', '')"),
)
_BILLED = {
    "public.tenants": (
        "subscription_tier",
        "subscription_status",
        "stripe_customer_id",
        "monthly_quota",
        "used_quota",
        "quota_reset_at",
    ),
    "public.memberships": ("role", "ended_at"),
    "public.users": ("is_operator", "email", "password_hash"),
}


async def must_be_denied(arena: Arena, target: Target) -> Verdict:
    """Run a statement that the role has no privilege for."""
    answer = await arena.ask(target, target.statement)
    if answer.state == _DENIED:
        return held(answer.words)
    if answer.state in _MISSING:
        return not_applicable(f"it is not there ({answer.state})")
    return leaked(f"it was not denied: {answer.words}")


async def become(arena: Arena, target: Target) -> Verdict:
    """A11: take a role that may more."""
    if target.object.removeprefix("role ") == target.role:
        return not_applicable("it is the role itself")
    return await must_be_denied(arena, target)


async def break_wall(arena: Arena, target: Target) -> Verdict:
    """A12: change row security, a policy or the owner of a table."""
    for statement in _WALL:
        answer = await arena.ask(target, statement.format(table=target.object))
        if answer.state != _DENIED:
            return leaked(f"{statement.format(table=target.object)}: {answer.words}")
    return held(f"{len(_WALL)} statements refused with {_DENIED}")


async def read_as_owner(arena: Arena, target: Target) -> Verdict:
    """A14: the owner of the tables is under row security as well."""
    relation = target.table
    if not relation.is_enabled:
        return leaked("row security is off")
    if not relation.is_forced:
        return leaked("row security is not forced: its owner sees the rows of all tenants")
    answer = await arena.probes[MIGRATOR].ask(
        f"SET LOCAL ROLE {OWNER}",
        f"SELECT 1 FROM {target.object} WHERE {arena.victim.is_of(relation)}",
    )
    return leaked(rows(answer.touched, " of the victim")) if answer.touched else held(answer.words)


async def use_table(arena: Arena, target: Target) -> Verdict:
    """A47: reach a table as a role that may only call functions."""
    for statement in (
        f"SELECT 1 FROM {target.object} LIMIT 1",
        f"INSERT INTO {target.object} DEFAULT VALUES",
        f"DELETE FROM {target.object} WHERE false",
    ):
        answer = await arena.ask(target, statement)
        if answer.state != _DENIED:
            return leaked(f"{statement.partition(' ')[0]} was not refused ({answer.words})")
    return held(f"refused with {_DENIED}")


async def reach_partition(arena: Arena, target: Target) -> Verdict:
    """A46: go around the parent, whose policies a partition does not have."""
    return await must_be_denied(arena, target)


async def wait_for_ever(arena: Arena, target: Target) -> Verdict:
    """A50: a statement that runs away is stopped by the role's own limit."""
    answer = await arena.probe(target).ask(
        "SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'statement_timeout'"
    )
    if answer.value == "0":
        return leaked("the role has no statement_timeout")
    return held(f"stopped after {answer.value} ms")


def _becoming(_arena: Arena) -> Iterator[Target]:
    for other in _POWERFUL:
        for role in ATTACKERS:
            for verb in ("SET ROLE", "SET SESSION AUTHORIZATION"):
                yield Target(role, f"role {other}", statement=f"{verb} {other}")


def _owned(arena: Arena) -> Iterator[Target]:
    for relation in arena.catalogue.relations:
        if relation.is_table and relation.owner_column:
            yield Target(OWNER, relation.name, relation)


def _closed(arena: Arena) -> Iterator[Target]:
    for relation in arena.catalogue.relations:
        for role in CLOSED_ROLES:
            yield Target(role, relation.name, relation)


def _partitions(arena: Arena) -> Iterator[Target]:
    for relation in arena.catalogue.relations:
        if relation.is_partition and relation.kind == "r":
            for role in ATTACKERS:
                sql = f"SELECT 1 FROM {relation.name} LIMIT 1"
                yield Target(role, relation.name, relation, sql)


def _sequences(arena: Arena) -> Iterator[Target]:
    for name in arena.catalogue.sequences:
        for role in ATTACKERS:
            yield Target(role, name, statement=f"SELECT last_value FROM {name}")
            yield Target(role, name, statement=f"SELECT nextval('{name}')")


def _secret_columns(arena: Arena) -> Iterator[Target]:
    for relation in arena.catalogue.relations:
        for column in relation.columns:
            for role in (APP, READONLY, *CLOSED_ROLES):
                if is_secret(column.name, role):
                    sql = f"SELECT {column.name} FROM {relation.name} LIMIT 1"
                    yield Target(role, f"{relation.name}.{column.name}", relation, sql)


def _own_rights(_arena: Arena) -> Iterator[Target]:
    for role in (APP, READONLY, *CLOSED_ROLES):
        for table, columns in _BILLED.items():
            for column in columns:
                sql = f"UPDATE {table} SET {column} = {column}"
                yield Target(role, f"{table}.{column}", statement=sql)
        yield Target(role, "public.tenants", statement="DELETE FROM public.tenants")
        insert = "INSERT INTO public.tenants (id, slug, name) VALUES (DEFAULT, 'x', 'x')"
        yield Target(role, "public.tenants", statement=insert)


def _limited(_arena: Arena) -> Iterator[Target]:
    for role in (APP, READONLY, WORKER, SIGN_IN):
        yield Target(role, f"role {role}")


_REVOKE = "REVOKE the privilege from the role and from PUBLIC."

ROLES = Family(
    "Roles and privileges",
    (
        Attack(
            "A11",
            "become another role",
            "refused",
            "The role of the app turns into one that row security does not bind.",
            "REVOKE the powerful role from it.",
            _becoming,
            become,
        ),
        Attack(
            "A12",
            "change row security, a policy, the owner; drop the table",
            "refused",
            "The app can take its own wall away.",
            "ALTER TABLE ... OWNER TO viral_owner, and REVOKE viral_owner from every login.",
            on_all_tables,
            break_wall,
            writes=True,
        ),
        Attack(
            "A14",
            "read as the owner of the tables",
            "0 rows, or refused",
            "A migration, a definer function or a view of the owner sees the rows of all clients.",
            "ALTER TABLE ... ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY.",
            _owned,
            read_as_owner,
        ),
        Attack(
            "A29",
            "make tables, functions, operators, extensions, roles (A27, A29)",
            "refused",
            "An object of the attacker stands where the product looks for its own.",
            _REVOKE,
            by_each_role(*_MAKING),
            must_be_denied,
            writes=True,
        ),
        Attack(
            "A33",
            "read and move sequences",
            "refused",
            "Their values tell how much all clients together do.",
            "Use version 7 UUIDs; REVOKE ALL on the sequence.",
            _sequences,
            must_be_denied,
        ),
        Attack(
            "A38",
            "large objects, advisory locks, messages (A38, A39)",
            "refused",
            "Sessions of different clients reach each other past row security.",
            "Run `viral server bootstrap --admin-url URL` as a superuser: it withholds them.",
            by_each_role(*_BETWEEN_SESSIONS),
            must_be_denied,
            writes=True,
        ),
        Attack(
            "A40",
            "read hashes and ciphertext",
            "refused",
            "Hashes and tokens of people can be carried away and tried elsewhere.",
            "Grant SELECT on the other columns by name.",
            _secret_columns,
            must_be_denied,
        ),
        Attack(
            "A41",
            "change one's own plan, quota, role",
            "refused",
            "A client gives itself what it did not buy.",
            "Grant UPDATE on the other columns by name.",
            _own_rights,
            must_be_denied,
            writes=True,
        ),
        Attack(
            "A46",
            "address a partition directly",
            "refused",
            "A partition does not have the policies of its parent.",
            "REVOKE ALL on the partition: rows are reached by the parent.",
            _partitions,
            reach_partition,
        ),
        Attack(
            "A47",
            "reach a table as a role that may only call functions",
            "refused",
            "The worker, which knows no tenant, reads or writes tables.",
            _REVOKE,
            _closed,
            use_table,
        ),
        Attack(
            "A49",
            "files, programs, configuration and passwords of the server",
            "refused",
            "The attacker leaves the database for the machine.",
            _REVOKE,
            by_each_role(*_OUTSIDE),
            must_be_denied,
            writes=True,
        ),
        Attack(
            "A50",
            "a statement that runs away",
            "stopped by the role's own limit",
            "One client's query holds up the others for as long as it likes.",
            "ALTER ROLE ... SET statement_timeout = '30s'.",
            _limited,
            wait_for_ever,
        ),
    ),
)
