"""Rules of the SQL functions: who owns them, who may call them, what their file says."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

from viral.database.validate.access import CALLERS
from viral.database.validate.findings import Finding
from viral.schema.functions import FUNCTIONS, Function
from viral.schema.security import APP, OWNERS, READONLY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_FOLDER = "viral.schema.functions"
_FIXED_PATH = re.compile(r"\bSET\s+search_path\s*(=|\bTO\b)\s*(''|pg_catalog\b)", re.IGNORECASE)
_DEFINER = re.compile(r"\bSECURITY\s+DEFINER\b", re.IGNORECASE)
_COMMENT = re.compile(r"--.*")
_IMMUTABLE = re.compile(r"\bIMMUTABLE\b", re.IGNORECASE)
_LANGUAGE = re.compile(r"\bLANGUAGE\s+(sql|plpgsql)\b", re.IGNORECASE)
_TENANT_ARGUMENT = re.compile(r"\btenant(_id)?\s+uuid\b", re.IGNORECASE)


def function_rules(functions: Iterable[Function]) -> Iterator[Finding]:
    """Check each declared function, and that no file is left over."""
    known = list(functions)
    for function in known:
        yield from _declaration(function)
        yield from _file(function)
    names = {function.name for function in known}
    for path in sorted(files(_FOLDER).iterdir(), key=str):
        name, _, ending = path.name.partition(".")
        if ending == "sql" and name not in names:
            yield Finding(
                "function-undeclared",
                path.name,
                "is a file that no Function names",
                "Declare it in FUNCTIONS, or remove the file.",
            )


def _declaration(function: Function) -> Iterator[Finding]:
    if function.owner not in OWNERS:
        yield Finding(
            "function-owner",
            function.signature,
            f"would run as {function.owner}",
            f"Only {' and '.join(OWNERS)} own things.",
        )
    if set(function.callers) - CALLERS or not (function.callers or _is_part(function)):
        yield Finding(
            "function-callers",
            function.signature,
            f"may be called by {', '.join(function.callers) or 'nobody'}",
            "Name the roles that call it, and never PUBLIC; or call it in another function.",
        )


def _is_part(function: Function) -> bool:
    """Tell whether another function calls this one."""
    call = f"viral.{function.name}("
    return any(call in each.body for each in FUNCTIONS if each.name != function.name)


def _file(function: Function) -> Iterator[Finding]:
    try:
        body = function.body
    except FileNotFoundError:
        yield Finding(
            "function-file",
            function.signature,
            f"has no file {function.name}.sql",
            "Write it beside the declaration.",
        )
        return
    if not body.startswith("--"):
        yield Finding(
            "function-without-comment",
            function.signature,
            "does not say what it does",
            "Begin the file with a comment line.",
        )
    yield from _definition(function, _COMMENT.sub("", body).lstrip())


def _definition(function: Function, code: str) -> Iterator[Finding]:
    head, _, _ = code.partition("$$")
    if not re.match(rf"CREATE FUNCTION viral\.{function.name}\s*\(", head):
        yield Finding(
            "function-name",
            function.signature,
            f"is not what {function.name}.sql creates",
            f"Begin the file with CREATE FUNCTION viral.{function.name}(.",
        )
    as_owner = (_DEFINER, "function-not-definer", "runs as its caller", "Add SECURITY DEFINER.")
    reads_nothing = (
        _IMMUTABLE,
        "function-not-definer",
        "runs as its caller, and may read tables",
        "Make it IMMUTABLE, or add SECURITY DEFINER.",
    )
    for pattern, rule, message, hint in (
        as_owner if function.is_definer else reads_nothing,
        (
            _FIXED_PATH,
            "function-search-path",
            "finds names by the caller's search_path",
            "Add SET search_path = ''.",
        ),
        (_LANGUAGE, "function-language", "is in another language", "Use LANGUAGE sql or plpgsql."),
    ):
        if not pattern.search(head):
            yield Finding(rule, function.signature, message, hint)
    arguments, _, _ = head.partition("RETURNS")
    is_asked = function.is_definer and {APP, READONLY} & set(function.callers)
    if is_asked and _TENANT_ARGUMENT.search(arguments):
        yield Finding(
            "function-takes-tenant",
            function.signature,
            "lets its caller choose a tenant",
            "Act on viral.tenant_id() instead.",
        )
