"""Rules of privileges: who may what is written down role by role, and roles stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as grammar
from postgast.nodes import (
    AccessPriv,
    AlterDefaultPrivilegesStmt,
    AlterOwnerStmt,
    AlterRoleSetStmt,
    AlterRoleStmt,
    AlterTableStmt,
    CreateRoleStmt,
    DropOwnedStmt,
    DropRoleStmt,
    GrantRoleStmt,
    GrantStmt,
    ReassignOwnedStmt,
    RoleSpec,
)

from viral.database.lint.revision import Breach
from viral.database.lint.syntax import EVERYBODY, commands, role_name, role_names
from viral.schema.security import AUTH, OWNER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.database.lint.revision import Revision
    from viral.database.lint.statements import Statement

OWNERS = frozenset({OWNER, AUTH})
# Wider than one object: what comes later, or everything below.
_WIDE: dict[int, str] = {
    grammar.OBJECT_SCHEMA: "a schema",
    grammar.OBJECT_DATABASE: "a database",
    grammar.OBJECT_TABLESPACE: "a tablespace",
    grammar.OBJECT_LANGUAGE: "a language",
    grammar.OBJECT_PARAMETER_ACL: "a setting",
    grammar.OBJECT_FOREIGN_SERVER: "a foreign server",
    grammar.OBJECT_FDW: "a foreign data wrapper",
}


def check_grant(statement: Statement, _: Revision) -> Iterator[Breach]:
    """Find grants of more than named privileges on one object to one role."""
    node = statement.node
    if not isinstance(node, GrantStmt) or not node.is_grant:
        return
    if EVERYBODY in role_names(node.grantees):
        yield Breach("grant-to-everybody", statement, "PUBLIC is every role there will ever be.")
    named = [each.priv_name for each in node.privileges if isinstance(each, AccessPriv)]
    if not named or "" in named:
        yield Breach("grant-all", statement, "ALL grows with each version of PostgreSQL.")
    if node.grant_option:
        yield Breach("grant-option", statement, "The grantee could pass the privilege on.")
    if node.targtype == grammar.ACL_TARGET_ALL_IN_SCHEMA:
        yield Breach("grant-too-wide", statement, "The grant is on everything in a schema.")
    elif wide := _WIDE.get(node.objtype):
        yield Breach("grant-too-wide", statement, f"The grant is on {wide}.")


def check_default_privileges(statement: Statement, _: Revision) -> Iterator[Breach]:
    """Find grants on what does not exist yet."""
    if isinstance(statement.node, AlterDefaultPrivilegesStmt):
        yield Breach(
            "default-privileges", statement, "Tables that nobody has thought of would be open."
        )


def check_owner(statement: Statement, _: Revision) -> Iterator[Breach]:
    """Find what would belong to another role than the two owners."""
    node = statement.node
    for role in _new_owners(statement):
        if role not in OWNERS:
            yield Breach(
                "strange-owner", statement, f"The owner would be {role or 'whoever runs it'}."
            )
    if isinstance(node, ReassignOwnedStmt | DropOwnedStmt):
        yield Breach("strange-owner", statement, "It changes whatever a role happens to own.")


def check_roles(statement: Statement, _: Revision) -> Iterator[Breach]:
    """Find changes of roles and memberships: they are the bootstrap's."""
    node = statement.node
    if isinstance(node, GrantRoleStmt):
        roles = [each.priv_name for each in node.granted_roles if isinstance(each, AccessPriv)]
        verb = "gives" if node.is_grant else "takes"
        yield Breach("role-change", statement, f"It {verb} membership in {', '.join(roles)}.")
    elif isinstance(node, CreateRoleStmt | AlterRoleStmt | AlterRoleSetStmt | DropRoleStmt):
        yield Breach("role-change", statement, "It makes, changes or drops a role.")


def _new_owners(statement: Statement) -> list[str]:
    node = statement.node
    owners: list[RoleSpec | None] = []
    if isinstance(node, AlterOwnerStmt):
        owners = [node.newowner]
    elif isinstance(node, AlterTableStmt):
        changes = [c for c in commands(node) if c.subtype == grammar.AT_ChangeOwner]
        owners = [command.newowner for command in changes]
    return [role_name(owner) for owner in owners if owner is not None]
