"""Row security and privileges as parts of a table's definition."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from sqlalchemy import Table, event
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import SchemaItem

if TYPE_CHECKING:
    from collections.abc import Iterator

OWNER = "viral_owner"
AUTH = "viral_auth"
APP = "viral_app"
READONLY = "viral_readonly"
WORKER = "viral_worker"
SYSTEM = "viral_system"
SIGNIN = "viral_signin"
MIGRATOR = "viral_migrator"

# Roles without a login own things; roles with one do things (design: one right each).
OWNERS = (OWNER, AUTH)
LOGINS = (MIGRATOR, APP, WORKER, SYSTEM, SIGNIN, READONLY, "viral_backup")

# The `info` of an index that definer functions alone search, to whom every row is open.
BY_FUNCTIONS = {"searched_by": AUTH}

MINE = "tenant_id = (SELECT viral.tenant_id())"


class SecurityItem(SchemaItem):
    """Stands among a table's arguments and is looked up by table."""

    __visit_name__ = "security_item"


class Policy(SecurityItem):
    """A row security policy; `command` is ALL, SELECT, INSERT, UPDATE or DELETE.

    `check` is the condition of rows that are written, where it is not `using`.
    """

    def __init__(
        self,
        name: str,
        *roles: str,
        using: str | None,
        command: str = "ALL",
        check: str | None = None,
        is_restrictive: bool = False,
    ) -> None:
        self.name = name
        self.roles = roles
        self.using = using
        self.command = command
        self.check = check
        self.is_restrictive = is_restrictive


class Grant(SecurityItem):
    """Privileges of a role on a table, or on the named columns of it."""

    def __init__(
        self,
        role: str,
        *privileges: str,
        columns: tuple[str, ...] = (),
        may_pass_on: bool = False,
    ) -> None:
        self.role = role
        self.privileges = privileges
        self.columns = columns
        self.may_pass_on = may_pass_on


class OwnedBy(SecurityItem):
    """Another owner than `viral_owner`."""

    def __init__(self, role: str) -> None:
        self.role = role


class RowSecurity(SecurityItem):
    """Row security that is not on and forced: for databases that are not the product's."""

    def __init__(self, *, is_enabled: bool, is_forced: bool) -> None:
        self.is_enabled = is_enabled
        self.is_forced = is_forced


@dataclass(slots=True)
class Security:
    """All that a table says about who may touch it."""

    owner: str = OWNER
    is_enabled: bool = True
    is_forced: bool = True
    policies: list[Policy] = field(default_factory=list)
    grants: list[Grant] = field(default_factory=list)


_PREPARER = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]  # untyped in SQLAlchemy
_BY_TABLE: WeakKeyDictionary[Table, Security] = WeakKeyDictionary()


def security_of(table: Table) -> Security:
    """Return what the table's class states; empty when it states nothing."""
    return _BY_TABLE.setdefault(table, Security())


@event.listens_for(SecurityItem, "after_parent_attach", propagate=True)
def _attach(item: SecurityItem, parent: SchemaItem) -> None:
    assert isinstance(parent, Table)
    security = security_of(parent)
    match item:
        case Policy():
            security.policies.append(item)
        case Grant():
            security.grants.append(item)
        case OwnedBy():
            security.owner = item.role
        case RowSecurity():
            security.is_enabled = item.is_enabled
            security.is_forced = item.is_forced


def tenant_only() -> Policy:
    """Let a tenant's roles see and write the tenant's own rows."""
    return Policy("tenant_only", APP, READONLY, using=MINE)


def system_too(command: str = "ALL") -> Policy:
    """Let the learner and operator commands pass over all tenants."""
    return Policy(f"system_{command.lower()}", SYSTEM, using="true", command=command)


def functions_too() -> Policy:
    """Let definer functions see all rows; without it they silently see none."""
    return Policy("functions", AUTH, using="true")


def open_to_all() -> Policy:
    """Let every tenant read the same rows: a table without a tenant."""
    return Policy("open_to_all", APP, READONLY, using="true", command="SELECT")


def system_only() -> Policy:
    """Keep a table without a tenant to the product itself."""
    return Policy("system_only", SYSTEM, using="true")


def security_statements(table: Table) -> Iterator[str]:
    """Yield the SQL that puts a table's statements about security in force."""
    name = _PREPARER.format_table(table)
    security = security_of(table)
    if security.is_enabled:
        yield f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY"
    if security.is_forced:
        yield f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY"
    for policy in security.policies:
        yield _create_policy(name, policy)
    for grant in security.grants:
        names = ", ".join(_PREPARER.quote(column) for column in grant.columns)
        columns = f" ({names})" if names else ""
        rights = ", ".join(privilege + columns for privilege in grant.privileges)
        option = " WITH GRANT OPTION" if grant.may_pass_on else ""
        yield f"GRANT {rights} ON {name} TO {grant.role}{option}"


def _create_policy(table: str, policy: Policy) -> str:
    clauses = [f"CREATE POLICY {_PREPARER.quote(policy.name)} ON {table}"]
    if policy.is_restrictive:
        clauses.append("AS RESTRICTIVE")
    if policy.command != "ALL":
        clauses.append(f"FOR {policy.command}")
    clauses.append(f"TO {', '.join(policy.roles)}")
    if policy.using is not None and policy.command != "INSERT":
        clauses.append(f"USING ({policy.using})")
    check = policy.using if policy.check is None else policy.check
    if check is not None and policy.command in {"ALL", "INSERT", "UPDATE"}:
        clauses.append(f"WITH CHECK ({check})")
    return " ".join(clauses)
