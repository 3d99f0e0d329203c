"""All files of a pulled package, by their path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from viral.database.pull.entries import builder_of, tables_of, without_bookkeeping
from viral.database.pull.keys import primary_key_of
from viral.database.pull.models import Model, docstring, model_source
from viral.database.pull.modules import TAKEN, module_source
from viral.database.pull.names import class_names, module_name
from viral.database.pull.references import postponed
from viral.database.pull.scripts import write_scripts
from viral.database.pull.source import Call, Text, laid_out
from viral.database.pull.types import Types

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.database.catalog import Catalog
    from viral.database.pull.entries import TableEntries

# How an earlier pull is known.
MARK = "as `viral db pull` found it."
_BASE = '''\
class Base(DeclarativeBase):
    """The root of all tables."""

    metadata = MetaData()
    type_annotation_map: ClassVar[dict[object, object]] = {
        str: Text(),
        datetime: DateTime(timezone=True),
    }
'''
_NATIVE = '''\


class Native(UserDefinedType[object]):
    """A type that SQLAlchemy has no name for, as PostgreSQL prints it."""

    cache_ok = True

    def __init__(self, sql: str) -> None:
        self.sql = sql

    def get_col_spec(self, **_: object) -> str:
        return self.sql
'''
_SCHEMA = """\
def _script(name: str) -> list[str]:
    script = (Path(__file__).parent / name).read_text("utf-8")
    return [statement.sql for statement in split_statements(script)]


SCHEMA = Schema(
    METADATA,
    before=_script("before.sql"),
    after=_script("after.sql"),
    owner={owner},
)
"""
_BEFORE = "What the tables need: schemas, extensions, types, sequences, functions."
_AFTER = "What stands on the tables and what their classes cannot say."


@dataclass(frozen=True, slots=True)
class Package:
    """A schema as files: their texts by path, the tables in them, and what is not in them."""

    files: dict[str, str]
    tables: list[str]
    notes: list[str]


def write_package(catalog: Catalog, *, database: str) -> Package:
    """Write a catalogue as a package of models."""
    rest, bookkeeping = without_bookkeeping(catalog)
    tables = tables_of(rest)
    later = postponed(tables, rest)
    types = Types(rest, set(TAKEN))
    models = _models(tables, types, later)
    scripts = write_scripts(rest, tables, later)
    sources = {f"models/{module}.py": _source(model, types) for module, model in models.items()}
    uses_native = any("Native(" in source for source in sources.values())
    files = {
        "__init__.py": _schema_source(database, builder_of(tables)),
        "before.sql": _script(_BEFORE, scripts.before),
        "after.sql": _script(_AFTER, scripts.after),
        "models/__init__.py": _models_source(models),
        "models/base.py": _base_source(types, uses_native=uses_native),
        **sources,
    }
    notes = [f"{name} is bookkeeping and left out" for name in bookkeeping]
    notes += _notes(tables)
    notes += [f"{title} is not pulled: make it by hand" for title in scripts.left_out]
    return Package(files, [entries.table.name for entries in tables], notes)


def _models(tables: list[TableEntries], types: Types, later: set[str]) -> dict[str, Model]:
    names = class_names([entries.key for entries in tables], set(TAKEN))
    models: dict[str, Model] = {}
    for entries in tables:
        name = names[entries.key]
        module = module_name(name)
        if not primary_key_of(entries):
            name = f"{module.upper()}_TABLE"
        models[module] = Model(entries, name, types, builder_of(tables), later)
    return models


def _source(model: Model, types: Types) -> str:
    local = {name: ".base" for name, _ in types.constants()}
    schema, table = model.entries.key
    where = "" if schema == "public" else f" of the schema {schema}"
    return module_source(docstring(f"The table {table}{where}"), model_source(model), local=local)


def _models_source(models: dict[str, Model]) -> str:
    names = sorted(
        [*(model.name for model in models.values()), "METADATA"],
        key=lambda name: (not name.isupper(), name),
    )
    local = {model.name: f".{module}" for module, model in models.items()}
    body = "METADATA = Base.metadata\n" + laid_out(
        Call("[", [Text(name) for name in names], "]"), prefix="__all__ = "
    )
    return module_source(docstring("All tables, loaded"), f"{body}\n", local=local, exported=local)


def _base_source(types: Types, *, uses_native: bool) -> str:
    constants = [laid_out(node, prefix=f"{name} = ") for name, node in types.constants()]
    head = "\n".join(constants) + "\n\n\n" if constants else ""
    return module_source(
        docstring("What all tables share"), head + _BASE + (_NATIVE if uses_native else "")
    )


def _schema_source(database: str, builder: str | None) -> str:
    body = _SCHEMA.format(owner="OWNER" if builder else None)
    return module_source(
        docstring(f"The schema of the database {database}, {MARK}"),
        body,
        local={"METADATA": ".models"},
    )


def _script(title: str, statements: list[str]) -> str:
    return "\n\n".join([f"-- {title}", *(f"{statement};" for statement in statements)]) + "\n"


def _notes(tables: list[TableEntries]) -> Iterator[str]:
    for entries in tables:
        if not primary_key_of(entries):
            yield f"{entries.table.name} has no primary key: it is a Table, not a class"
        if "partition by" in entries.table.parts:
            yield f"{entries.table.name} is pulled without its partitions"
