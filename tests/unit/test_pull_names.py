"""Names in Python for what PostgreSQL calls as it likes."""

from __future__ import annotations

import pytest

from viral.database.pull.names import attribute_names, class_names, module_name


@pytest.mark.parametrize(
    ("column", "attribute"),
    [
        ("tenantId", "tenant_id"),
        ("HTTPCode", "http_code"),
        ("has space", "has_space"),
        ("1st", "column_1st"),
        ("class", "class_"),
        ("metadata", "metadata_"),
        ("date", "date_"),
        ("__tablename__", "tablename"),
        ("Übergröße", "ubergroße"),
        ("!!!", "column"),
    ],
)
def test_a_column_has_an_attribute_that_python_takes(column: str, attribute: str) -> None:
    assert {column: attribute} == attribute_names([column])


def test_a_column_that_is_a_python_name_keeps_it_before_its_twins() -> None:
    assert attribute_names(["aB", "a b", "a_b"]) == {"aB": "a_b_2", "a b": "a_b_3", "a_b": "a_b"}


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("videos", "Video"),
        ("self_critiques", "SelfCritique"),
        ("competitorEntries", "CompetitorEntry"),
        ("addresses", "Address"),
        ("boxes", "Box"),
        ("status", "Status"),
        ("analytics", "Analytics"),
        ("2fa codes", "Table2faCode"),
        ("API", "Api"),
    ],
)
def test_a_class_is_called_by_one_row_of_its_table(table: str, name: str) -> None:
    assert {("public", table): name} == class_names([("public", table)], set())


def test_twins_take_the_name_of_their_schema_then_a_number() -> None:
    tables = [("auth", "users"), ("public", "User"), ("public", "user"), ("public", "texts")]

    names = class_names(tables, {"Text"})

    assert list(names.values()) == ["User", "PublicUser", "User2", "PublicText"]


def test_a_file_is_not_called_by_a_word_of_the_language() -> None:
    assert ("class_", "user_role") == (module_name("Class"), module_name("UserRole"))
