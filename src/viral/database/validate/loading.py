"""Load the models; a mistake in their Python becomes a finding with its file and line."""

from __future__ import annotations

import inspect
import re
import sys
import traceback
import warnings
from importlib import import_module
from pathlib import Path

from sqlalchemy.exc import SAWarning, SQLAlchemyError

from viral.database.validate.findings import Finding

_SCHEMA = Path(__file__).parents[2] / "schema"
# What Python and SQLAlchemy raise over a model that is written wrongly.
_MISTAKES = (
    SyntaxError,
    SQLAlchemyError,
    SAWarning,
    ImportError,
    NameError,
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    AssertionError,
)
# SQLAlchemy names the class that it could not map, or the table of a column.
_CLASS = re.compile(r"Mapper\[(\w+)\(|column '(?:\w+\.)?(\w+)\.\w+'")


def load_models() -> list[Finding]:
    """Import the models and let SQLAlchemy connect them; empty when nothing is wrong."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", SAWarning)
            import_module("viral.schema.tables")
            orm = import_module("sqlalchemy.orm")
            orm.configure_mappers()
            _ = import_module("viral.schema.base").Base.metadata.sorted_tables
    except _MISTAKES as mistake:
        return [_finding(mistake)]
    return [
        Finding(
            "module-left-out",
            _shown(path),
            "declares tables that nothing loads",
            "Add it to MODULES in schema/tables.py.",
        )
        for path in sorted(_SCHEMA.glob("*.py"))
        if f"viral.schema.{path.stem}" not in sys.modules
        and "__tablename__" in path.read_text("utf-8")
    ]


def _finding(mistake: BaseException) -> Finding:
    message = mistake.msg if isinstance(mistake, SyntaxError) else str(mistake)
    return Finding(
        "python",
        _place(mistake),
        f"{type(mistake).__name__}: {message.splitlines()[0] if message else 'no message'}",
        "Correct the line; the other rules are checked after that.",
    )


def _place(mistake: BaseException) -> str:
    """Find the line of the models that is wrong, as `file:line`."""
    if isinstance(mistake, SyntaxError) and mistake.filename:
        return f"{_shown(Path(mistake.filename))}:{mistake.lineno}"
    frames = traceback.extract_tb(mistake.__traceback__)
    for frame in reversed(frames):
        if Path(frame.filename).is_relative_to(_SCHEMA):
            return f"{_shown(Path(frame.filename))}:{frame.lineno}"
    return _declaration(str(mistake)) or _shown(_SCHEMA)


def _declaration(message: str) -> str | None:
    """Find the class that a message of SQLAlchemy is about."""
    base = import_module("viral.schema.base").Base
    found = _CLASS.search(message)
    for mapper in base.registry.mappers if found else ():
        if found and {found[1], found[2]} & {mapper.class_.__name__, mapper.local_table.name}:
            file = Path(inspect.getfile(mapper.class_))
            return f"{_shown(file)}:{inspect.getsourcelines(mapper.class_)[1]}"
    return None


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
