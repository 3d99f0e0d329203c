"""Rules of functions that act with their owner's rights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as grammar
from postgast.nodes import (
    AlterFunctionStmt,
    Boolean,
    CreateFunctionStmt,
    DefElem,
    FunctionParameter,
    GrantStmt,
    ObjectWithArgs,
    TypeName,
    VariableSetStmt,
)

from viral.database.lint.revision import Breach, is_same_step
from viral.database.lint.syntax import (
    EVERYBODY,
    constant,
    qualified,
    role_names,
    texts,
    type_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgast.nodes import AstNode

    from viral.database.lint.revision import Revision
    from viral.database.lint.statements import Statement

# A name and the types that it is called with; None where a REVOKE leaves them out.
_Signature = tuple[str, tuple[str, ...] | None]

_ROUTINES = {grammar.OBJECT_FUNCTION, grammar.OBJECT_PROCEDURE, grammar.OBJECT_ROUTINE}
_SAFE_PATHS = ([""], ["pg_catalog"], ["pg_catalog", "pg_temp"])
_RETURNED = {grammar.FUNC_PARAM_OUT, grammar.FUNC_PARAM_TABLE}


def check_search_path(statement: Statement, _: Revision) -> Iterator[Breach]:
    """Find definer functions that look names up where a caller says."""
    settings = [each for each in _options(statement.node) if each.defname == "set"]
    paths = [
        [constant(value) for value in setting.arg.args]
        for setting in settings
        if isinstance(setting.arg, VariableSetStmt) and setting.arg.name == "search_path"
    ]
    is_reset = any(
        isinstance(each.arg, VariableSetStmt) and each.arg.kind == grammar.VAR_RESET_ALL
        for each in settings
    )
    is_loose = is_reset or any(path not in _SAFE_PATHS for path in paths)
    if is_loose or (_is_definer(statement.node) and not paths):
        name, _types = _signature(statement.node)
        yield Breach("definer-search-path", statement, f"{name}() has no fixed search_path.")


def check_execute(statement: Statement, revision: Revision) -> Iterator[Breach]:
    """Find definer functions that their step does not take from everybody."""
    if not _is_definer(statement.node):
        return
    signature = _signature(statement.node)
    following = [each for each in revision.after(statement) if is_same_step(each, statement)]
    if not any(_takes_from_everybody(each.node, signature) for each in following):
        yield Breach("definer-for-everybody", statement, f"Every role may call {signature[0]}().")


def _options(node: AstNode) -> list[DefElem]:
    found: list[AstNode] = []
    if isinstance(node, CreateFunctionStmt):
        found = node.options
    elif isinstance(node, AlterFunctionStmt):
        found = node.actions
    return [each for each in found if isinstance(each, DefElem)]


def _is_definer(node: AstNode) -> bool:
    return any(
        option.defname == "security" and isinstance(option.arg, Boolean) and option.arg.boolval
        for option in _options(node)
    )


def _signature(node: AstNode) -> _Signature:
    if isinstance(node, AlterFunctionStmt):
        assert node.func is not None
        return _named(node.func)
    assert isinstance(node, CreateFunctionStmt)
    taken = tuple(
        type_name(each.arg_type)
        for each in node.parameters
        if isinstance(each, FunctionParameter) and each.mode not in _RETURNED
    )
    return qualified(texts(node.funcname)), taken


def _named(function: ObjectWithArgs) -> _Signature:
    types = tuple(type_name(each) for each in function.objargs if isinstance(each, TypeName))
    return qualified(texts(function.objname)), None if function.args_unspecified else types


def _takes_from_everybody(node: AstNode, signature: _Signature) -> bool:
    if not isinstance(node, GrantStmt) or node.is_grant or node.objtype not in _ROUTINES:
        return False
    if EVERYBODY not in role_names(node.grantees):
        return False
    name, types = signature
    if node.targtype == grammar.ACL_TARGET_ALL_IN_SCHEMA:
        schema = name.rpartition(".")[0] or "public"
        return schema in texts(node.objects)
    named = [_named(each) for each in node.objects if isinstance(each, ObjectWithArgs)]
    return any(each in {(name, types), (name, None)} for each in named)
