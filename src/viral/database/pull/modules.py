"""Python files: a text, and above it the imports that it needs."""

from __future__ import annotations

import ast
from itertools import groupby
from typing import TYPE_CHECKING

from viral.database.pull.source import WIDTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MODULES = {
    "datetime": "date datetime time timedelta",
    "decimal": "Decimal",
    "pathlib": "Path",
    "uuid": "UUID",
    "sqlalchemy": "BigInteger Boolean CHAR CheckConstraint Column Computed Date DateTime Double"
    " Enum ForeignKeyConstraint Identity Index Integer Interval JSON LargeBinary MetaData Numeric"
    " PrimaryKeyConstraint REAL SmallInteger String Table Text Time UniqueConstraint Uuid text",
    "sqlalchemy.dialects.postgresql": "ARRAY CIDR CITEXT DATERANGE ExcludeConstraint INET INT4RANGE"
    " INT8RANGE JSONB MACADDR MONEY NUMRANGE OID Range TIME TIMESTAMP TSRANGE TSTZRANGE TSVECTOR",
    "sqlalchemy.orm": "DeclarativeBase Mapped mapped_column",
    "sqlalchemy.types": "UserDefinedType",
    "typing": "ClassVar",
    "viral.database.statements": "split_statements",
    "viral.schema.security": "Grant OWNER OwnedBy Policy RowSecurity",
    "viral.schema.tables": "Schema",
    ".base": "Base Native",
}
_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}
_STANDARD = {"datetime", "decimal", "pathlib", "typing", "uuid"}
# No class and no constant of a pulled package may hide one of these.
TAKEN = frozenset(_HOME) | {"SCHEMA"}


def module_source(
    docstring: str,
    body: str,
    *,
    local: Mapping[str, str] | None = None,
    exported: Iterable[str] = (),
) -> str:
    """Put the docstring and the imports above a text; `local` says where other names live."""
    homes = {**_HOME, **(local or {})}
    nodes = list(ast.walk(ast.parse(body)))
    read = set(exported) | {
        node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    made = {node.name for node in nodes if isinstance(node, ast.ClassDef)}
    found = sorted((homes[name], name) for name in (read - made) & homes.keys())
    modules = sorted({module for module, _ in found}, key=lambda module: (_rank(module), module))
    blocks = [
        "\n".join(
            _import(module, [name for home, name in found if home == module]) for module in group
        )
        for _, group in groupby(modules, key=_rank)
    ]
    gap = "\n" if body.startswith(("class ", "def ")) else ""
    return "\n\n".join([docstring, *blocks, gap + body])


def _import(module: str, names: list[str]) -> str:
    ordered = sorted(names, key=lambda name: (_kind(name), name.lower(), name))
    line = f"from {module} import {', '.join(ordered)}"
    if len(line) <= WIDTH:
        return line
    lines = "".join(f"    {name},\n" for name in ordered)
    return f"from {module} import (\n{lines})"


def _rank(module: str) -> int:
    """Order imports by how far away they are: standard, others, the product, the package."""
    if module in _STANDARD:
        return 0
    if module.startswith("."):
        return 3
    return 2 if module.startswith("viral.") else 1


def _kind(name: str) -> int:
    if name.isupper() and len(name) > 1:
        return 0
    return 1 if name[0].isupper() else 2
