"""Rules of row security: forced on every table, bound to the tenant, never off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as grammar
from postgast.nodes import (
    A_Expr,
    AlterPolicyStmt,
    AlterTableStmt,
    BoolExpr,
    CreatePolicyStmt,
    CreateStmt,
    CreateTableAsStmt,
    DropStmt,
    FuncCall,
    List,
    RefreshMatViewStmt,
    ViewStmt,
)

from viral.database.lint.revision import (
    Breach,
    created_table,
    is_same_step,
    touched_tables,
)
from viral.database.lint.syntax import (
    EVERYBODY,
    commands,
    constant,
    options,
    role_names,
    table_name,
    texts,
    within,
)
from viral.schema.security import APP, READONLY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgast.nodes import AstNode

    from viral.database.lint.revision import Revision
    from viral.database.lint.statements import Statement

_NEEDED: dict[int, str] = {
    grammar.AT_EnableRowSecurity: "ENABLE ROW LEVEL SECURITY",
    grammar.AT_ForceRowSecurity: "FORCE ROW LEVEL SECURITY",
}
_TENANTS_ROLES = {APP, READONLY}
_OFF: dict[int, str] = {
    grammar.AT_DisableRowSecurity: "DISABLE",
    grammar.AT_NoForceRowSecurity: "NO FORCE",
}


def check_created_table(statement: Statement, revision: Revision) -> Iterator[Breach]:
    """Find tables that are made without row security, its FORCE, or a policy."""
    table = created_table(statement.node)
    if table is None:
        return
    later = [each.node for each in revision.after(statement) if table in touched_tables(each.node)]
    if any(isinstance(node, DropStmt) and _drops(node, grammar.OBJECT_TABLE) for node in later):
        return
    done = {
        command.subtype
        for node in later
        if isinstance(node, AlterTableStmt)
        for command in commands(node)
    }
    missing = [words for subtype, words in _NEEDED.items() if subtype not in done]
    # A partition is reached through its parent, whose policies decide; nobody is granted anything.
    is_partition = isinstance(statement.node, CreateStmt) and statement.node.partbound is not None
    if not is_partition and not any(isinstance(node, CreatePolicyStmt) for node in later):
        missing.append("a policy")
    if missing:
        yield Breach(
            "row-security-missing", statement, f"{table} is made without {_list(missing)}."
        )


def check_row_security_off(statement: Statement, _: Revision) -> Iterator[Breach]:
    """Find row security that is switched off or no longer forced."""
    node = statement.node
    if isinstance(node, AlterTableStmt):
        for command in commands(node):
            if words := _OFF.get(command.subtype):
                table = table_name(node.relation)
                yield Breach("row-security-off", statement, f"{table}: {words} ROW LEVEL SECURITY.")


def check_dropped_policy(statement: Statement, revision: Revision) -> Iterator[Breach]:
    """Find policies that go without another on their table in the same step."""
    node = statement.node
    if not (isinstance(node, DropStmt) and _drops(node, grammar.OBJECT_POLICY)):
        return
    following = [each for each in revision.after(statement) if is_same_step(each, statement)]
    for table in touched_tables(node):
        is_replaced = any(
            table in touched_tables(each.node)
            and (
                isinstance(each.node, CreatePolicyStmt)
                or (isinstance(each.node, DropStmt) and _drops(each.node, grammar.OBJECT_TABLE))
            )
            for each in following
        )
        if not is_replaced:
            yield Breach(
                "policy-dropped", statement, f"{table} loses a policy and its step makes no other."
            )


def check_policy_roles(statement: Statement, _: Revision) -> Iterator[Breach]:
    """Find policies that name no role."""
    node = statement.node
    if isinstance(node, CreatePolicyStmt | AlterPolicyStmt) and EVERYBODY in role_names(node.roles):
        yield Breach(
            "policy-for-everybody", statement, f"Policy {node.policy_name} is for every role."
        )


def check_policy_condition(statement: Statement, revision: Revision) -> Iterator[Breach]:
    """Find policies that show tenants' rows without asking whose they are."""
    node = statement.node
    if not isinstance(node, CreatePolicyStmt | AlterPolicyStmt):
        return
    if isinstance(node, CreatePolicyStmt) and not node.permissive:
        return
    roles = set(role_names(node.roles))
    # ALTER POLICY may leave the roles as they are: then they can be any.
    is_for_tenants = bool(roles & {*_TENANTS_ROLES, EVERYBODY}) or not roles
    if not is_for_tenants or not revision.is_private(table_name(node.table)):
        return
    conditions = [each for each in (node.qual, node.with_check) if each is not None]
    is_created = isinstance(node, CreatePolicyStmt)
    if not all(_asks_for_tenant(each) for each in conditions) or (is_created and not conditions):
        yield Breach(
            "policy-without-tenant",
            statement,
            f"Policy {node.policy_name} shows rows of {table_name(node.table)} to other tenants.",
        )


def check_views(statement: Statement, _: Revision) -> Iterator[Breach]:
    """Find views that read as their owner or keep rows of their own."""
    node = statement.node
    if isinstance(node, ViewStmt) and not _is_invoker(node.options):
        yield Breach(
            "view-of-owner", statement, f"View {table_name(node.view)} reads as its owner."
        )
    if isinstance(node, AlterTableStmt) and node.objtype == grammar.OBJECT_VIEW:
        for command in commands(node):
            changed = command.def_.items if isinstance(command.def_, List) else []
            if "security_invoker" in options(changed) and (
                command.subtype == grammar.AT_ResetRelOptions or not _is_invoker(changed)
            ):
                name = table_name(node.relation)
                yield Breach("view-of-owner", statement, f"View {name} would read as its owner.")
    if isinstance(node, RefreshMatViewStmt) or (
        isinstance(node, CreateTableAsStmt) and node.objtype == grammar.OBJECT_MATVIEW
    ):
        yield Breach(
            "materialized-view", statement, "A materialized view keeps rows outside row security."
        )


def _drops(node: DropStmt, kind: int) -> bool:
    return node.remove_type == kind


def _list(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _is_invoker(nodes: list[AstNode]) -> bool:
    given = options(nodes)
    if "security_invoker" not in given:
        return False
    value = given["security_invoker"]
    return value is None or (constant(value) or "").lower() in {"true", "on", "yes", "1"}


def _asks_for_tenant(condition: AstNode) -> bool:
    """Say whether a condition can hold for rows of the current tenant alone."""
    if isinstance(condition, BoolExpr):
        parts = [_asks_for_tenant(each) for each in condition.args]
        if condition.boolop == grammar.AND_EXPR:
            return any(parts)
        return condition.boolop == grammar.OR_EXPR and all(parts)
    if isinstance(condition, A_Expr) and texts(condition.name) != ["="]:
        return False
    return any(
        texts(call.funcname) == ["viral", "tenant_id"] for call in within(condition, FuncCall)
    )
