"""Row security and privileges as parts of a table's definition."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from sqlalchemy import Table, event
from sqlalchemy.schema import SchemaItem

if TYPE_CHECKING:
    from collections.abc import Iterator

OWNER = "viral_owner"
AUTH = "viral_auth"
APP = "viral_app"
READONLY = "viral_readonly"
WORKER = "viral_worker"
SYSTEM = "viral_system"

MINE = "tenant_id = (SELECT viral.tenant_id())"


class SecurityItem(SchemaItem):
    """Stands among a table's arguments and is looked up by table."""

    __visit_name__ = "security_item"


class Policy(SecurityItem):
    """A row security policy; `command` is ALL, SELECT, INSERT, UPDATE or DELETE."""

    def __init__(self, name: str, *roles: str, using: str, command: str = "ALL") -> None:
        self.name = name
        self.roles = roles
        self.using = using
        self.command = command


class Grant(SecurityItem):
    """Privileges of a role on a table, or on the named columns of it."""

    def __init__(self, role: str, *privileges: str, columns: tuple[str, ...] = ()) -> None:
        self.role = role
        self.privileges = privileges
        self.columns = columns


class OwnedBy(SecurityItem):
    """Another owner than `viral_owner`."""

    def __init__(self, role: str) -> None:
        self.role = role


@dataclass(slots=True)
class Security:
    """All that a table says about who may touch it."""

    owner: str = OWNER
    policies: list[Policy] = field(default_factory=list)
    grants: list[Grant] = field(default_factory=list)


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
    name = str(table)
    security = security_of(table)
    yield f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY"
    yield f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY"
    for policy in security.policies:
        yield _create_policy(name, policy)
    for grant in security.grants:
        columns = f" ({', '.join(grant.columns)})" if grant.columns else ""
        rights = ", ".join(privilege + columns for privilege in grant.privileges)
        yield f"GRANT {rights} ON {name} TO {grant.role}"


def _create_policy(table: str, policy: Policy) -> str:
    head = f"CREATE POLICY {policy.name} ON {table}"
    if policy.command != "ALL":
        head += f" FOR {policy.command}"
    head += f" TO {', '.join(policy.roles)}"
    clauses = []
    if policy.command != "INSERT":
        clauses.append(f"USING ({policy.using})")
    if policy.command in {"ALL", "INSERT", "UPDATE"}:
        clauses.append(f"WITH CHECK ({policy.using})")
    return " ".join([head, *clauses])
