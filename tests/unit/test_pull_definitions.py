"""What PostgreSQL prints of constraints and indexes is read whole, or not at all."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from viral.database.catalog import Entry
from viral.database.pull.definitions import (
    parse_check,
    parse_exclusion,
    parse_index,
    parse_key,
    parse_reference,
    split_list,
    without_brackets,
)
from viral.database.pull.keys import text_call
from viral.database.pull.source import Text, laid_out
from viral.database.pull.types import Types


def test_a_list_is_cut_outside_of_quotes_and_brackets_only() -> None:
    expected = ['"a, b"', "lower('x, ''y')", "f(a, (b))", "ARRAY[1, 2]"]

    assert expected == split_list(", ".join(expected))


def test_brackets_go_only_when_they_hold_everything() -> None:
    assert "a = ')'" == without_brackets("((a = ')'))")
    assert "(a) OR (b)" == without_brackets("(a) OR (b)")


def test_a_foreign_key_is_read_with_its_actions() -> None:
    found = parse_reference(
        'FOREIGN KEY ("a b", c) REFERENCES "O".t(x, y) MATCH FULL ON UPDATE CASCADE'
        " ON DELETE SET NULL (c) DEFERRABLE INITIALLY DEFERRED"
    )

    assert found is not None
    assert (["a b", "c"], '"O".t', ["x", "y"]) == (found.columns, found.table, found.referred)
    assert (True, "CASCADE", "SET NULL (c)") == (found.is_full, found.onupdate, found.ondelete)
    assert (True, True) == (found.deferral.is_deferrable, found.deferral.is_deferred)


def test_an_exclusion_is_read_with_its_operators() -> None:
    found = parse_exclusion(
        "EXCLUDE USING gist (room WITH =, tstzrange(a, b) WITH &&) WHERE ((room > 0)) DEFERRABLE"
    )

    assert found is not None
    assert [("room", "="), ("tstzrange(a, b)", "&&")] == found.elements
    assert ("room > 0", True) == (found.where, found.deferral.is_deferrable)


def test_an_index_is_read_with_all_it_says() -> None:
    found = parse_index(
        'CREATE UNIQUE INDEX "an index" ON ONLY s."a table" USING btree (a DESC, lower(b))'
        " INCLUDE (c, d) NULLS NOT DISTINCT WITH (fillfactor='70', x='a b') WHERE (a > 0)"
    )

    assert found is not None
    assert ["a DESC", "lower(b)"] == found.elements
    assert (["c", "d"], False) == (found.include, found.has_distinct_nulls)
    assert ({"fillfactor": "70", "x": "'a b'"}, "a > 0") == (found.options, found.where)


@pytest.mark.parametrize(
    "definition",
    [
        "UNIQUE (a, during WITHOUT OVERLAPS)",
        "FOREIGN KEY (a, PERIOD b) REFERENCES t(a, PERIOD b)",
        "FOREIGN KEY (a) REFERENCES t(a) NOT ENFORCED",
        "CHECK ((a > 0)) NO INHERIT",
        "EXCLUDE USING gist (a WITH =) INCLUDE (b)",
    ],
)
def test_what_says_more_is_not_read(definition: str) -> None:
    readers = (parse_key, parse_reference, parse_check, parse_exclusion)

    assert [None] * len(readers) == [read(definition) for read in readers]


@pytest.mark.parametrize(
    "sql",
    [
        "a ~ ':x'",
        "now()::text",
        r"a ~ '\:x'",
        r"a ~ '\\:'",
        "':a:b'",
        "x[1:2]",
        "'12:30'",
        "'%(a)s'",
    ],
)
def test_sql_comes_out_of_sqlalchemy_as_it_went_in(sql: str) -> None:
    (argument,) = text_call(sql).items
    assert isinstance(argument, Text)

    compiled = text(argument.value).compile()

    assert (sql, {}) == (str(compiled), compiled.params)


@pytest.mark.parametrize(
    ("sql", "python", "source"),
    [
        ("timestamp(3) without time zone", "datetime", "TIMESTAMP(precision=3)"),
        ("numeric(10,4)", "Decimal", "Numeric(10, 4)"),
        ("character varying(40)[]", "list[str]", "ARRAY(String(40))"),
        ('"UserRole"', "str", "USER_ROLE"),
        ("other.score[]", "list[int]", 'ARRAY(Native("other.score"))'),
        ("tsquery", "object", 'Native("tsquery")'),
    ],
)
def test_a_type_is_said_in_python_and_in_sqlalchemy(sql: str, python: str, source: str) -> None:
    role = Entry(
        "type",
        'public."UserRole"',
        {"kind": "enum", "labels": ["ADMIN"]},
        {"schema": "public", "bare": "UserRole"},
    )
    score = Entry(
        "type",
        "other.score",
        {"kind": "domain", "base": "integer"},
        {"schema": "other", "bare": "score"},
    )
    types = Types({role.title: role, score.title: score}, set())

    found = types.of(Entry("column", "t.c", {"type": sql}))

    assert (python, source) == (found.python, laid_out(found.node))
