"""A text of SQL is cut where PostgreSQL's lexer would cut it."""

from __future__ import annotations

import pytest

from viral.database.statements import split_statements
from viral.errors import BadInput


def cut(text: str) -> list[str]:
    return [statement.sql for statement in split_statements(text)]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT ';'",
        "SELECT 'it''s; one'",
        r"SELECT E'a\';b'",
        'SELECT 1 AS "a;""b"',
        "SELECT $$;$$",
        "SELECT $body$ $$;$$ $body$",
        "SELECT 1 /* a; /* b; */ c; */ + 1",
        "SELECT 1 -- a;",
        "SELECT a$b$, c$b$",
        "CREATE RULE r AS ON INSERT TO t DO ALSO (DELETE FROM a; DELETE FROM b)",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END",
        "CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC SELECT 1; SELECT 2; END",
    ],
)
def test_a_semicolon_inside_a_statement_does_not_end_it(statement: str) -> None:
    assert [statement, "SELECT 2"] == cut(f"{statement}\n; SELECT 2")


def test_a_column_called_begin_holds_nothing_together() -> None:
    assert ["CREATE TABLE t (begin int)", "SELECT 1"] == cut("CREATE TABLE t (begin int); SELECT 1")


@pytest.mark.parametrize("text", ["", "  \n", ";;", "-- nothing", "/* nothing", "\t;\r\n"])
def test_a_text_without_a_statement_is_empty(text: str) -> None:
    assert [] == cut(text)


@pytest.mark.parametrize(
    "text", ["commit", "/* a */ Commit;", "-- a\rCOMMIT", "\v\fCOMMIT", "/* /* */ */COMMIT"]
)
def test_the_verb_is_the_first_word_that_the_server_sees(text: str) -> None:
    (statement,) = split_statements(text)

    assert "COMMIT" == statement.verb


def test_a_space_that_only_unicode_knows_is_part_of_a_word() -> None:
    (statement,) = split_statements("SELECT\u00a01")

    assert "SELECT\u00a01" == statement.verb


def test_a_statement_knows_where_it_begins() -> None:
    text = "SELECT 1;\n -- two\n SELECT 2"

    starts = [statement.start for statement in split_statements(text)]

    assert [0, text.index("SELECT 2")] == starts


def test_a_command_of_psql_is_told_from_sql() -> None:
    with pytest.raises(BadInput, match="psql") as refused:
        split_statements("SELECT 1;\n\\d videos")

    assert "information_schema" in refused.value.hint
