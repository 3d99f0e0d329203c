"""Source is laid out as the formatter leaves it."""

from __future__ import annotations

import ast

import pytest

from viral.database.pull.modules import module_source
from viral.database.pull.source import Call, Text, laid_out, quoted, tuple_of, under


@pytest.mark.parametrize(
    "value", ["plain", "it's", 'a "b"', "\\d \n\t\x00", "both ' and \"", "日本"]
)
def test_a_quoted_string_reads_back(value: str) -> None:
    assert value == ast.literal_eval(quoted(value))


def test_what_fits_stands_on_one_line() -> None:
    assert 'x = text("now()")' == laid_out(Call("text(", [Text("now()")]), prefix="x = ")


def test_what_does_not_fit_has_one_argument_a_line() -> None:
    call = Call("f(", [Text("a" * 60), under("name=", Text("b" * 40))])

    assert laid_out(call, indent=4) == "\n".join(
        ["f(", f'        "{"a" * 60}",', f'        name="{"b" * 40}",', "    )"]
    )


def test_a_long_string_is_cut_before_its_spaces_and_reads_back() -> None:
    value = "  " + " ".join(["word"] * 60) + "  "

    lines = laid_out(Text(value, "comment="), indent=8).splitlines()

    assert "comment=(" == lines[0]
    assert max(len(line) for line in lines) <= 100
    assert value == ast.literal_eval("".join(["(", *lines[1:-1], ")"]))


def test_a_tuple_of_one_keeps_its_comma_on_one_line_and_on_several() -> None:
    short, long = tuple_of([Text("a")]), tuple_of([Text("b" * 99)])

    assert '("a",)' == laid_out(short)
    assert f'(\n    "{"b" * 99}",\n)' == laid_out(long)


def test_imports_are_those_that_the_text_reads() -> None:
    body = "class Index(Base):\n    text: Mapped[UUID] = mapped_column(JSONB)\n"

    assert module_source('"""Doc."""', body) == (
        '"""Doc."""\n\n'
        "from uuid import UUID\n\n"
        "from sqlalchemy.dialects.postgresql import JSONB\n"
        "from sqlalchemy.orm import Mapped, mapped_column\n\n"
        "from .base import Base\n\n\n" + body
    )
