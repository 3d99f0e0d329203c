"""Every line of the checklist of security has a test that says so, or a reason why it has none."""

from __future__ import annotations

from security.checklist import EXCEPTIONS, LINES, TESTS, lines_of, named_tests

TESTED = named_tests(TESTS)


def test_every_line_has_a_test_or_a_reason() -> None:
    assert set() == set(LINES) - set(TESTED) - set(EXCEPTIONS)


def test_a_line_with_a_test_needs_no_reason() -> None:
    assert set() == set(EXCEPTIONS) & set(TESTED)


def test_no_test_names_a_line_that_is_not_there() -> None:
    assert set() == set(TESTED) - set(LINES)


def test_the_lines_are_those_of_the_list() -> None:
    numbers = {"A": 50, "B": 25, "C": 20}

    assert [f"{part}{n:02}" for part, last in numbers.items() for n in range(1, last + 1)] == [
        *LINES
    ]


def test_every_reason_is_a_sentence() -> None:
    assert all(reason.endswith(".") and len(reason) > 40 for reason in EXCEPTIONS.values())


def test_a_name_may_hold_several_lines() -> None:
    assert ["A04", "A05"] == lines_of("test_a04_a05_the_next_owner")
    assert [] == lines_of("test_a_tenant_reads")
    assert [] == lines_of("test_b1_and_c")
