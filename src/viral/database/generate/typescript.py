"""TypeScript for clients: the rows of the tables, and what the API takes and answers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from types import NoneType
from typing import TYPE_CHECKING, get_args, get_origin, get_type_hints
from uuid import UUID

from sqlalchemy import inspect

from viral.database.generate.entities import allowed_texts
from viral.schema.encrypted import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from viral.database.generate.entities import Entity, Group

Document = Mapping[str, object]

HEAD = "// Written by `viral generate`; do not edit."
# As the API writes JSON: what JSON has no type for is text.
SCALARS: dict[type, tuple[str, str, str]] = {
    UUID: ("Uuid", "string", "A UUID in its usual form."),
    datetime: ("Timestamp", "string", "A moment in ISO 8601, with its offset."),
    date: ("DateText", "string", "A day as YYYY-MM-DD."),
    Decimal: ("DecimalText", "string", "An exact decimal number."),
    bytes: ("Base64", "string", "Bytes in base64."),
}
PLAIN: dict[object, str] = {
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    object: "unknown",
    Secret: "Base64",  # the row holds its ciphertext
    NoneType: "null",
    **{each: name for each, (name, _, _) in SCALARS.items()},
}
JSON_KINDS = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
}
METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
_IDENTIFIER = re.compile(r"[A-Za-z_$][\w$]*")


def database_types(groups: Sequence[Group]) -> str:
    """Write an interface per table, and a map from the tables' names to them."""
    lines = [HEAD, "// Rows of the tables, as JSON carries them.", ""]
    for name, meant, words in SCALARS.values():
        lines += [f"/** {words} */", f"export type {name} = {meant};", ""]
    for group in groups:
        lines += [f"// {group.name}: {group.meaning}", ""]
        for entity in group.entities:
            lines += [*_table_interface(entity), ""]
    entities = [entity for group in groups for entity in group.entities]
    lines += ["/** Every table by its name. */", "export interface Tables {"]
    lines += [f"  {_key(each.name)}: {each.model.__name__};" for each in entities]
    return "\n".join([*lines, "}", ""])


def api_types(document: Document) -> str:
    """Write the types of an OpenAPI document, and a map of its operations."""
    lines = [HEAD, "// What the API takes and answers, of its OpenAPI document.", ""]
    components = _mapping(document, "components")
    for name, schema in _mapping(components, "schemas").items():
        lines += [*_component(name, _checked(schema)), ""]
    lines += ["/** Every operation by its method and path. */", "export interface Operations {"]
    for path, item in _mapping(document, "paths").items():
        for method in METHODS:
            if operation := _mapping(_checked(item), method):
                lines += _operation(f"{method.upper()} {path}", operation)
    return "\n".join([*lines, "}", ""])


def _table_interface(entity: Entity) -> Iterator[str]:
    mapper = inspect(entity.model)
    hints = get_type_hints(entity.model)
    texts = allowed_texts(entity.table)
    yield from _documentation(entity.meaning, "")
    yield f"export interface {entity.model.__name__} {{"
    for column in entity.table.columns:
        if column.comment:
            yield from _documentation(column.comment, "  ")
        (hint,) = get_args(hints[mapper.get_property_by_column(column).key])
        kinds = [_written(each) for each in _alternatives(hint)]
        if column.name in texts:
            kinds[kinds.index("string") : kinds.index("string") + 1] = map(
                json.dumps, texts[column.name]
            )
        yield f"  {_key(column.name)}: {' | '.join(kinds)};"
    yield "}"


def _alternatives(hint: object) -> tuple[object, ...]:
    """Take `A | None` apart; everything else is one."""
    arguments = get_args(hint)
    return arguments if NoneType in arguments else (hint,)


def _written(hint: object) -> str:
    """Write a Python type in TypeScript."""
    if get_origin(hint) is dict:
        return f"Record<string, {_written(get_args(hint)[1])}>"
    if get_origin(hint) is list:
        return f"{_written(get_args(hint)[0])}[]"
    return PLAIN[hint]


def _component(name: str, schema: Document) -> Iterator[str]:
    yield from _documentation(str(schema.get("description", "")), "")
    if "properties" not in schema:
        yield f"export type {name} = {_type(schema)};"
        return
    yield f"export interface {name} {{"
    yield from _properties(schema, "  ")
    yield "}"


def _properties(schema: Document, indent: str) -> Iterator[str]:
    required = _list(schema, "required")
    for name, property_ in _mapping(schema, "properties").items():
        optional = "" if name in required else "?"
        yield f"{indent}{_key(name)}{optional}: {_type(_checked(property_))};"


def _operation(name: str, operation: Document) -> Iterator[str]:
    yield from _documentation(str(operation.get("description", "")), "  ")
    yield f"  {json.dumps(name)}: {{"
    for place in ("path", "query"):
        fields = [
            f"{_key(str(each['name']))}{'' if each.get('required') else '?'}: "
            f"{_type(_mapping(each, 'schema'))}"
            for each in map(_checked, _list(operation, "parameters"))
            if each["in"] == place
        ]
        if fields:
            yield f"    {place}: {{ {'; '.join(fields)} }};"
    if body := _content(_mapping(operation, "requestBody")):
        yield f"    body: {body};"
    for status, answer in _mapping(operation, "responses").items():
        if status.startswith("2"):
            yield f"    status: {status};"
            yield f"    answer: {_content(_checked(answer)) or 'null'};"
    yield "  };"


def _content(message: Document) -> str:
    kinds = [
        _type(_mapping(_checked(each), "schema")) for each in _mapping(message, "content").values()
    ]
    return _union(kinds)


def _type(schema: Document) -> str:
    """Write a JSON schema as a type; what it leaves open is unknown."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return _union(json.dumps(each) for each in _list(schema, "enum"))
    for choice in ("oneOf", "anyOf"):
        if choice in schema:
            return _union(_type(_checked(each)) for each in _list(schema, choice))
    kind = schema.get("type")
    if isinstance(kind, list):
        return _union(_type({**schema, "type": each}) for each in kind)
    return _type_of_kind(str(kind), schema)


def _type_of_kind(kind: str, schema: Document) -> str:
    match kind:
        case "string" if schema.get("format") == "binary":
            return "Blob"
        case "array":
            item = _type(_mapping(schema, "items"))
            return f"({item})[]" if " | " in item else f"{item}[]"
        case "object" if "properties" in schema:
            return f"{{ {' '.join(_properties(schema, ''))} }}"
        case "object":
            return f"Record<string, {_type(_mapping(schema, 'additionalProperties'))}>"
    return JSON_KINDS.get(kind, "unknown")


def _union(kinds: Iterable[str]) -> str:
    return " | ".join(dict.fromkeys(kinds))


def _documentation(words: str, indent: str) -> Iterator[str]:
    lines = words.replace("*/", "* /").splitlines()
    if len(lines) == 1:
        yield f"{indent}/** {lines[0]} */"
    elif lines:
        yield f"{indent}/**"
        yield from (f"{indent} * {line}".rstrip() for line in lines)
        yield f"{indent} */"


def _key(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else json.dumps(name)


def _mapping(document: Document, key: str) -> Document:
    return _checked(document.get(key, {}))


def _checked(value: object) -> Document:
    assert isinstance(value, Mapping)
    return value


def _list(document: Document, key: str) -> Sequence[object]:
    value = document.get(key, [])
    assert isinstance(value, Sequence)
    return value
