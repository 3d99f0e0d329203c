"""Rules of policies and grants: every table says who may touch it, and nobody passes the tenant."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viral.database.validate.findings import Finding
from viral.schema.security import (
    APP,
    AUTH,
    MIGRATOR,
    OWNERS,
    READONLY,
    SYSTEM,
    WORKER,
    security_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Table

    from viral.schema.security import Grant, Policy

SIGN_IN = "viral_signin"
BACKUP = "viral_backup"
TENANT_ROLES = (APP, READONLY, WORKER, SIGN_IN)
GRANTEES = {APP, READONLY, WORKER, SIGN_IN, SYSTEM, AUTH, BACKUP}
# A definer function of one owner may be a part of another owner's.
CALLERS = GRANTEES | {MIGRATOR}
# Hashes and vendors' ids of people: read by definer functions and the system alone.
HASHES = r"(_hash|_hmac|_sha256)$|^clerk_id$"
# Ciphertext: the app opens it, nobody else does.
CIPHERTEXTS = r"_token$"
_NAME_A_ROLE = f"Name one of {', '.join(sorted(GRANTEES))}."
_PRIVILEGES = {"SELECT", "INSERT", "UPDATE", "DELETE", "REFERENCES"}
_BY_COLUMN = {"SELECT", "INSERT", "UPDATE", "REFERENCES"}
_CONTEXT = "viral.tenant_id()"
_CONTEXT_ONCE = re.compile(r"\(\s*select\s+viral\.tenant_id\(\)\s*\)", re.IGNORECASE)


def is_secret(column: str, role: str) -> bool:
    """Tell whether a role must not read a column of this name."""
    if role not in TENANT_ROLES:
        return False
    return bool(re.search(HASHES, column)) or (role != APP and bool(re.search(CIPHERTEXTS, column)))


def access_rules(table: Table) -> Iterator[Finding]:
    """Check the policies, the grants and the owner that a table states."""
    security = security_of(table)
    if not security.policies:
        yield Finding(
            "policy-missing",
            str(table),
            "does not say who may see its rows",
            "Add tenant_only(); a table without a tenant says open_to_all() or system_only().",
        )
    if security.owner not in OWNERS:
        yield Finding(
            "owner",
            str(table),
            f"belongs to {security.owner}",
            f"Only {' and '.join(OWNERS)} own things.",
        )
    if not (security.is_enabled and security.is_forced):
        yield Finding(
            "row-security-off",
            str(table),
            "is not under row security, or its owner is not",
            "Remove RowSecurity(...): it is on and forced by itself.",
        )
    for policy in security.policies:
        yield from _policy(table, policy)
    for grant in security.grants:
        yield from _grant(table, grant)


def _policy(table: Table, policy: Policy) -> Iterator[Finding]:
    name = f"{table}.{policy.name}"
    for role in sorted(set(policy.roles) - GRANTEES):
        yield Finding("policy-role", name, f"is for {role}", _NAME_A_ROLE)
    is_of_tenants = "tenant_id" in table.c or table.fullname == "tenants"
    if not is_of_tenants or policy.is_restrictive or not set(policy.roles) & set(TENANT_ROLES):
        return
    for condition in filter(None, (policy.using, policy.check)):
        if _CONTEXT not in condition:
            yield Finding(
                "policy-without-tenant",
                name,
                f"lets a tenant's role reach the rows of all: {condition}",
                f"Use tenant_only(), or compare with (SELECT {_CONTEXT}).",
            )
        elif _CONTEXT in _CONTEXT_ONCE.sub("", condition):
            yield Finding(
                "policy-per-row",
                name,
                f"asks for {_CONTEXT} once per row",
                f"Write (SELECT {_CONTEXT}): then it is asked once per statement.",
            )


def _grant(table: Table, grant: Grant) -> Iterator[Finding]:
    name = f"{table} to {grant.role}"
    if grant.role not in GRANTEES:
        yield Finding("grant-role", name, f"is for {grant.role}", _NAME_A_ROLE)
        return
    allowed = _BY_COLUMN if grant.columns else _PRIVILEGES
    for privilege in sorted(set(grant.privileges) - allowed):
        yield Finding(
            "grant-privilege",
            name,
            f"grants {privilege}, which passes row security or does not exist",
            f"Grant {', '.join(sorted(allowed))}.",
        )
    for column in sorted(set(grant.columns) - {column.name for column in table.c}):
        yield Finding(
            "grant-column", name, f"names {column}, which is no column", "Correct the name."
        )
    if grant.may_pass_on:
        yield Finding("grant-passed-on", name, "may be granted further", "Remove may_pass_on.")
    yield from _secrets(table, grant)
    yield from _without_policy(table, grant)


def _secrets(table: Table, grant: Grant) -> Iterator[Finding]:
    if "SELECT" not in grant.privileges:
        return
    for column in grant.columns or [column.name for column in table.c]:
        if is_secret(column, grant.role):
            yield Finding(
                "secret-readable",
                f"{table}.{column}",
                f"can be read by {grant.role}",
                "Grant SELECT on the other columns by name.",
            )


def _without_policy(table: Table, grant: Grant) -> Iterator[Finding]:
    policies = security_of(table).policies
    reached = {
        policy.command
        for policy in policies
        if grant.role in policy.roles and not policy.is_restrictive
    }
    missing = set(grant.privileges) & _PRIVILEGES - {"REFERENCES"} - reached
    if policies and missing and "ALL" not in reached:
        yield Finding(
            "grant-without-policy",
            f"{table} to {grant.role}",
            f"grants {', '.join(sorted(missing))}, but no policy lets the role reach a row",
            "Add a policy for the role, or take the grant away.",
        )
