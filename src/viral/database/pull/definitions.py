"""What PostgreSQL prints of a constraint or an index, taken apart."""

from __future__ import annotations

import re
from dataclasses import dataclass

NAME = r'(?:"(?:[^"]|"")+"|[^\s(),."]+)'
_NAMES = rf"{NAME}(?:, {NAME})*"
_DEFERRAL = r"(?P<deferrable> DEFERRABLE)?(?P<deferred> INITIALLY DEFERRED)?"
_ACTION = rf"(?:NO ACTION|RESTRICT|CASCADE|SET (?:NULL|DEFAULT)(?: \({_NAMES}\))?)"
_KEY = re.compile(
    rf"(?:PRIMARY KEY|UNIQUE(?P<nulls> NULLS NOT DISTINCT)?) \((?P<columns>{_NAMES})\)"
    rf"(?: INCLUDE \((?P<include>{_NAMES})\))?{_DEFERRAL}"
)
_REFERENCE = re.compile(
    rf"FOREIGN KEY \((?P<columns>{_NAMES})\)"
    rf" REFERENCES (?P<table>{NAME}(?:\.{NAME})?)\((?P<referred>{_NAMES})\)"
    rf"(?P<full> MATCH FULL)?(?: ON UPDATE (?P<onupdate>{_ACTION}))?"
    rf"(?: ON DELETE (?P<ondelete>{_ACTION}))?{_DEFERRAL}"
)
_INDEX = re.compile(
    rf"CREATE (?:UNIQUE )?INDEX {NAME} ON (?:ONLY )?{NAME}(?:\.{NAME})? USING (?P<method>{NAME}) "
)
_EXCLUSION = re.compile(rf"EXCLUDE USING (?P<method>{NAME}) ")
_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Deferral:
    """Whether a constraint may wait for the end of the transaction, and does."""

    is_deferrable: bool
    is_deferred: bool


@dataclass(frozen=True, slots=True)
class Key:
    """A primary key or a unique constraint."""

    columns: list[str]
    include: list[str]
    has_distinct_nulls: bool
    deferral: Deferral


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key; `table` is printed as the search path needs it."""

    columns: list[str]
    table: str
    referred: list[str]
    is_full: bool
    onupdate: str | None
    ondelete: str | None
    deferral: Deferral


@dataclass(frozen=True, slots=True)
class Exclusion:
    """An exclusion constraint: pairs of an expression and its operator."""

    method: str
    elements: list[tuple[str, str]]
    where: str | None
    deferral: Deferral


@dataclass(frozen=True, slots=True)
class IndexDefinition:
    """An index: columns and expressions as they are printed, with their order and classes."""

    method: str
    elements: list[str]
    include: list[str]
    has_distinct_nulls: bool
    options: dict[str, str]
    where: str | None


def parse_key(definition: str) -> Key | None:
    """Read a primary key or a unique constraint; None when it says more than this."""
    if (found := _KEY.fullmatch(definition)) is None:
        return None
    return Key(
        columns=names_in(found["columns"]),
        include=names_in(found["include"] or ""),
        has_distinct_nulls=found["nulls"] is None,
        deferral=_deferral(found),
    )


def parse_reference(definition: str) -> Reference | None:
    """Read a foreign key; None when it says more than this."""
    if (found := _REFERENCE.fullmatch(definition)) is None:
        return None
    return Reference(
        columns=names_in(found["columns"]),
        table=found["table"],
        referred=names_in(found["referred"]),
        is_full=found["full"] is not None,
        onupdate=found["onupdate"],
        ondelete=found["ondelete"],
        deferral=_deferral(found),
    )


def parse_check(definition: str) -> str | None:
    """Read the condition of a check; None when it says more than this."""
    if not definition.startswith("CHECK "):
        return None
    inner, rest = _group(definition, len("CHECK "))
    return None if rest else without_brackets(inner)


def parse_exclusion(definition: str) -> Exclusion | None:
    """Read an exclusion constraint; None when it says more than this."""
    if (found := _EXCLUSION.match(definition)) is None:
        return None
    inner, rest = _group(definition, found.end())
    where = None
    if rest.startswith(" WHERE "):
        where, rest = _group(rest, len(" WHERE "))
    if (deferral := re.fullmatch(_DEFERRAL, rest)) is None:
        return None
    elements = [each.rpartition(" WITH ") for each in split_list(inner)]
    return Exclusion(
        method=found["method"],
        elements=[(expression, operator) for expression, _, operator in elements],
        where=where and without_brackets(where),
        deferral=_deferral(deferral),
    )


def parse_index(definition: str) -> IndexDefinition | None:
    """Read an index; None when it says more than this."""
    if (found := _INDEX.match(definition)) is None:
        return None
    elements, rest = _group(definition, found.end())
    include, options, where = "", "", None
    if rest.startswith(" INCLUDE "):
        include, rest = _group(rest, len(" INCLUDE "))
    has_distinct_nulls = not rest.startswith(" NULLS NOT DISTINCT")
    rest = rest.removeprefix(" NULLS NOT DISTINCT")
    if rest.startswith(" WITH "):
        options, rest = _group(rest, len(" WITH "))
    if rest.startswith(" WHERE "):
        where, rest = rest.removeprefix(" WHERE "), ""
    if rest:
        return None
    return IndexDefinition(
        method=found["method"],
        elements=split_list(elements),
        include=names_in(include),
        has_distinct_nulls=has_distinct_nulls,
        options=dict(_option(each) for each in split_list(options)),
        where=where and without_brackets(where),
    )


def unquoted(name: str) -> str:
    """Read a name as SQL writes it."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def names_in(text: str) -> list[str]:
    """Read a list of names."""
    return [unquoted(name) for name in split_list(text)]


def split_list(text: str) -> list[str]:
    """Cut a list at the commas that stand in no brackets and no quotes."""
    items, depth = [""], 0
    for piece in _TOKEN.findall(text):
        depth += (piece in "([") - (piece in ")]")
        if piece == "," and depth == 0:
            items.append("")
        else:
            items[-1] += piece
    return [item.strip() for item in items if item.strip()]


def without_brackets(expression: str) -> str:
    """Take off brackets that hold the whole expression."""
    while expression.startswith("("):
        inner, rest = _group(expression, 0)
        if rest:
            break
        expression = inner
    return expression


def _group(text: str, start: int) -> tuple[str, str]:
    """Read what stands in the brackets at `start`, and what follows them."""
    depth, position = 0, start
    for token in _TOKEN.finditer(text, start):
        depth += (token[0] == "(") - (token[0] == ")")
        position = token.end()
        if depth == 0:
            break
    return text[start + 1 : position - 1], text[position:]


def _deferral(found: re.Match[str]) -> Deferral:
    return Deferral(found["deferrable"] is not None, found["deferred"] is not None)


def _option(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    plain = re.fullmatch(r"'([\w.]+)'", value)
    return name, plain[1] if plain else value
