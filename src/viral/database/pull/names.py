"""Names that Python takes for what PostgreSQL calls as it likes."""

from __future__ import annotations

import keyword
import re
import unicodedata
from itertools import chain, count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# What a class body or its annotations mean by these words must stay what it is.
_RESERVED = {
    *("metadata", "registry", "type_annotation_map", "mapped_column", "text"),
    *("date", "datetime", "time", "timedelta"),
    *("bool", "bytes", "float", "int", "list", "object", "str"),
}
_ALWAYS_PLURAL = {"analytics", "metadata", "news", "series", "species"}
_ES = ("sses", "shes", "ches", "xes", "zes")


def attribute_names(columns: Iterable[str]) -> dict[str, str]:
    """Name the attribute of each column of a table; who is a Python name already keeps it."""
    wishes = {column: _attribute(column) for column in columns}
    names = {column: name for column, name in wishes.items() if column == name}
    for column, name in wishes.items():
        if column not in names:
            names[column] = _first_free([name], names.values(), "_")
    return names


def class_names(tables: Iterable[tuple[str, str]], taken: set[str]) -> dict[tuple[str, str], str]:
    """Name the class of each table, known by its schema and name; twins take their schema's."""
    names: dict[tuple[str, str], str] = {}
    for schema, table in tables:
        name = _identifier(_camel(_singular(_snake(table))), "Table")
        candidates = [name, _identifier(_camel(_snake(schema)), "Schema") + name]
        names[schema, table] = _first_free(candidates, {*taken, *names.values()}, "")
    return names


def constant_names(types: Iterable[tuple[str, str]], taken: set[str]) -> dict[tuple[str, str], str]:
    """Name the constant of each type, known by its schema and name."""
    names: dict[tuple[str, str], str] = {}
    for schema, name in types:
        candidates = [
            _identifier(_snake(each).upper(), "TYPE") for each in (name, f"{schema}_{name}")
        ]
        names[schema, name] = _first_free(candidates, {*taken, *names.values()}, "_")
    return names


def module_name(class_name: str) -> str:
    """Name the file of a class; a word of the language gets a line below it."""
    name = _snake(class_name)
    return f"{name}_" if keyword.iskeyword(name) else name


def sentence(table: str) -> str:
    """Make a docstring of a table's name."""
    words = _snake(table).replace("_", " ").strip()
    return f"{words[:1].upper()}{words[1:]}." if words else "A table."


def _attribute(column: str) -> str:
    name = _identifier(_snake(column), "column")
    return f"{name}_" if keyword.iskeyword(name) or name in _RESERVED else name


def _first_free(candidates: list[str], taken: Iterable[str], separator: str) -> str:
    # Files are named after classes, and some systems do not tell capital letters from small ones.
    lowered = {name.lower() for name in taken}
    numbered = (f"{candidates[0].rstrip('_')}{separator}{number}" for number in count(2))
    return next(name for name in chain(candidates, numbered) if name.lower() not in lowered)


def _identifier(name: str, prefix: str) -> str:
    if name[:1].isalpha():
        return name
    separator = "" if prefix[:1].isupper() and not prefix.isupper() else "_"
    name = f"{prefix.upper() if name.isupper() else prefix}{separator}{name}"
    return name.rstrip("_")


def _snake(name: str) -> str:
    """Put words in small letters, joined by a line: "tenantId", "HTTPCode", "has space"."""
    plain = unicodedata.normalize("NFKD", name)
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    plain = unicodedata.normalize("NFKC", plain)
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", plain)
    letters = (letter if f"a{letter}".isidentifier() else "_" for letter in plain.lower())
    return re.sub(r"_+", "_", "".join(letters)).strip("_")


def _camel(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))


def _singular(name: str) -> str:
    head, line, word = name.rpartition("_")
    if word in _ALWAYS_PLURAL:
        return name
    if word.endswith("ies") and len(word) > len("ties"):
        word = f"{word[:-3]}y"
    elif word.endswith(_ES):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    return head + line + word
