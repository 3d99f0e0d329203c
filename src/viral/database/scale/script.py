"""The script that distributes the database: one transaction, which may run again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.database.scale.plan import TENANT
from viral.database.scale.policies import Rewritten, without_sub_selects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.database.scale.plan import Plan, Policy, Reference, Role

# Policies of these roles name the tenant: their context has to reach the nodes.
_IN_A_TENANT = ("viral_app", "viral_readonly")
_OWNERS = ("viral_owner", "viral_auth")

_HEAD = """\
-- Distributes this database by tenant over Citus 14, on PostgreSQL 16 to 18.
-- Written by `viral scale script` from the catalogue of the live database; docs/scale-out.md has
-- the steps before and after it. All writing has to stop meanwhile: every table is locked.
--
-- Run it on the coordinator, as a superuser, in the database of the product:
--   psql -X -v ON_ERROR_STOP=1 -d viral -f citus.sql
-- It is one transaction: it does everything or nothing, and may run again.
"""

_BEGIN = """\
BEGIN;
SET LOCAL statement_timeout = 0;
SET LOCAL lock_timeout = '60s';
-- Foreign keys to reference tables are made over one connection to each node.
SET LOCAL citus.multi_shard_modify_mode = 'sequential';
-- Every function below is known by its schema, on every node.
SET LOCAL check_function_bodies = off;

-- As another role than a superuser, row security would hide the rows that are to be moved.
DO $check$
BEGIN
  IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
    RAISE EXCEPTION 'run this as a superuser: row security would hide rows from %', current_user;
  END IF;
  IF to_regclass('pg_dist_node') IS NULL THEN
    RAISE EXCEPTION 'this database has no Citus: CREATE EXTENSION citus, on every node';
  END IF;
  IF NOT EXISTS (SELECT FROM pg_dist_node WHERE groupid = 0) THEN
    RAISE EXCEPTION 'name this node first: SELECT citus_set_coordinator_host(''HOST'', PORT)';
  END IF;
  IF NOT EXISTS (SELECT FROM pg_dist_node WHERE groupid <> 0 AND isactive) THEN
    RAISE EXCEPTION 'there is no worker yet: SELECT citus_add_node(''HOST'', PORT)';
  END IF;
END
$check$;
"""


def citus_script(plan: Plan) -> str:
    """Write the script for a plan that nothing stands in the way of."""
    chapters = (
        ("Roles: what they are on every node.", _roles()),
        ("Functions that policies and indexes call, on every node.", _functions(plan)),
        ("Policies without sub-selects.", _policies(plan)),
        ("Foreign keys are off while their tables move.", _without_references(plan)),
        ("Reference tables: a copy on every node.", _reference_tables(plan)),
        (f"Distributed tables: a tenant's rows lie together, by {TENANT}.", _distributed(plan)),
        ("Foreign keys again; each one is checked. Local tables join Citus by them.",
         _with_references(plan)),
        ("Privileges on columns, once more: they have to reach the nodes.", _column_grants(plan)),
        ("All are where they should be.", _checks(plan)),
    )  # fmt: skip
    parts = [_HEAD, _BEGIN]
    parts += [f"-- {title}\n" + "\n".join(lines) + "\n" for title, lines in chapters]
    parts.append("COMMIT;\n")
    parts.append(
        "-- The coordinator still holds the rows as they were before; children first.\n"
        + "\n".join(_leftovers(plan))
        + "\n"
    )
    return "\n".join(parts)


def _roles() -> Iterator[str]:
    yield "-- A function that runs as its owner reaches other nodes as that owner, who has no"
    yield "-- password: let it in from the addresses of the nodes alone (docs/scale-out.md)."
    for role in _OWNERS:
        yield f"ALTER ROLE {role} LOGIN PASSWORD NULL;"
    yield "-- SET LOCAL app.tenant has to reach the nodes,"
    for role in _IN_A_TENANT:
        yield f"ALTER ROLE {role} SET citus.propagate_set_commands = 'local';"
    yield "-- and viral.tenant_id() has to read a reference table there, in the midst of a query."
    for role in (*_IN_A_TENANT, "viral_auth"):
        yield f"ALTER ROLE {role} SET citus.allow_nested_distributed_execution = on;"


def _functions(plan: Plan) -> Iterator[str]:
    for policy, rewritten in _rewritten(plan):
        if (listing := rewritten.listing) is None:
            continue
        column = plan.tables[policy.table].type_of(listing.column)
        # Not SQL: a body in plpgsql names tables that the other nodes get later.
        yield f"CREATE OR REPLACE FUNCTION {listing.function} RETURNS {column}[]"
        yield "LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = ''"
        yield f"AS $$ BEGIN RETURN ARRAY({listing.query}); END $$;"
        yield f"ALTER FUNCTION {listing.function} OWNER TO viral_owner;"
        yield from _granted(listing.function, policy.roles)
    for name, function in plan.functions.items():
        yield from _granted(name, function.callers)


def _granted(function: str, callers: list[str]) -> Iterator[str]:
    yield f"SELECT create_distributed_function('{function}');"
    yield f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC;"
    if callers:
        yield f"GRANT EXECUTE ON FUNCTION {function} TO {', '.join(callers)};"


def _policies(plan: Plan) -> Iterator[str]:
    for policy, rewritten in _rewritten(plan):
        clauses = [f"ALTER POLICY {policy.name} ON {policy.table}"]
        if rewritten.shows is not None:
            clauses.append(f"USING ({rewritten.shows})")
        if rewritten.takes is not None:
            clauses.append(f"WITH CHECK ({rewritten.takes})")
        yield " ".join(clauses) + ";"


def _rewritten(plan: Plan) -> Iterator[tuple[Policy, Rewritten]]:
    for policy in plan.policies:
        rewritten = without_sub_selects(policy) if plan.is_managed(policy.table) else None
        if isinstance(rewritten, Rewritten):
            yield policy, rewritten


def _managed_references(plan: Plan) -> list[Reference]:
    return [reference for reference in plan.references if plan.role(reference.target) != "local"]


def _without_references(plan: Plan) -> Iterator[str]:
    for reference in _managed_references(plan):
        yield f"ALTER TABLE {reference.source} DROP CONSTRAINT IF EXISTS {reference.name};"


def _reference_tables(plan: Plan) -> Iterator[str]:
    for name in plan.with_role("reference"):
        yield f"-- {plan.places[name].why}"
        yield f"SELECT create_reference_table('{name}') {_unless_done(name)};"


def _distributed(plan: Plan) -> Iterator[str]:
    first = None
    for name in plan.with_role("distributed"):
        beside = f"'{first}'" if first else "'none'"
        first = first or name
        yield (
            f"SELECT create_distributed_table('{name}', '{TENANT}', colocate_with => {beside})"
            f" {_unless_done(name)};"
        )


def _unless_done(name: str) -> str:
    return (
        f"WHERE NOT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = '{name}'::regclass)"
    )


def _with_references(plan: Plan) -> Iterator[str]:
    order = (*plan.with_role("reference"), *plan.with_role("distributed"), *plan.with_role("local"))
    references = sorted(_managed_references(plan), key=lambda each: order.index(each.source))
    for reference in references:
        yield (
            f"ALTER TABLE {reference.source} ADD CONSTRAINT {reference.name}"
            f" {reference.definition};"
        )


def _column_grants(plan: Plan) -> Iterator[str]:
    for grant in plan.column_grants:
        if plan.is_managed(grant.table):
            columns = ", ".join(grant.columns)
            yield f"GRANT {grant.privilege} ({columns}) ON {grant.table} TO {grant.role};"


def _checks(plan: Plan) -> Iterator[str]:
    """Compare what Citus says of itself: 'h' is distributed by hash, 'n' everything else."""
    methods: tuple[tuple[Role, str], ...] = (("reference", "n"), ("distributed", "h"))
    for role, method in methods:
        names = [f"'{name}'::regclass" for name in plan.with_role(role)]
        yield "DO $check$"
        yield "BEGIN"
        yield "  IF (SELECT count(*) FROM pg_dist_partition"
        yield f"      WHERE partmethod = '{method}' AND logicalrelid IN ("
        yield "        " + ",\n        ".join(names)
        yield f"      )) <> {len(names)} THEN"
        yield f"    RAISE EXCEPTION 'not all {role} tables are; nothing was changed';"
        yield "  END IF;"
        yield "END"
        yield "$check$;"


def _leftovers(plan: Plan) -> Iterator[str]:
    for name in reversed(plan.with_role("distributed")):
        yield f"SELECT truncate_local_data_after_distributing_table('{name}');"
