"""The schema's files have one form; putting them into it loses nothing and changes no table."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from viral.database.format.files import (
    SCHEMA,
    checkout_of,
    format_schema,
    format_sql,
)
from viral.database.format.order import order_classes
from viral.errors import BadFile, BadInput

PRINT = (
    "from viral.schema.tables import SCHEMA; import json; print(json.dumps([*SCHEMA.statements()]))"
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the schema's files in a checkout of its own."""
    shutil.copytree(SCHEMA, tmp_path / "src" / "viral" / "schema")
    shutil.copy(checkout_of() / "pyproject.toml", tmp_path)
    return tmp_path


def table_file(checkout: Path) -> Path:
    return checkout / "src" / "viral" / "schema" / "content.py"


def ordered(body: str) -> str:
    return order_classes(f"class Post(Base):\n{body}").removeprefix("class Post(Base):\n")


def test_the_schema_of_the_product_is_in_form() -> None:
    outcome = format_schema(checkout_of(), write=False)

    assert ([], []) == (outcome.changed, outcome.problems)
    assert outcome.count > 20


def test_a_class_has_its_parts_in_order() -> None:
    jumbled = '''\
    """One publication."""
    video: Mapped[Video] = relationship(lazy="raise")
    def is_posted(self) -> bool:
        return self.posted_at is not None
    __table_args__ = (tenant_only(),)
    title: Mapped[str]
    posted_at: Mapped[datetime | None]
    LONGEST = 200
    __tablename__ = "posts"
'''

    assert (
        ordered(jumbled)
        == '''\
    """One publication."""

    LONGEST = 200
    __tablename__ = "posts"

    title: Mapped[str]
    posted_at: Mapped[datetime | None]

    video: Mapped[Video] = relationship(lazy="raise")

    __table_args__ = (
tenant_only(),
)

    def is_posted(self) -> bool:
        return self.posted_at is not None
'''
    )


def test_a_comment_moves_with_the_line_below_it() -> None:
    jumbled = """\
    # Loaded by the page of a post.
    video: Mapped[Video] = relationship(lazy="raise")  # one

    # What people read.
    # It may be long.
    title: Mapped[str]  # plain text
    __tablename__ = "posts"
    # Nothing comes after.
"""

    assert (
        ordered(jumbled)
        == """\
    __tablename__ = "posts"

    # What people read.
    # It may be long.
    title: Mapped[str]  # plain text

    # Loaded by the page of a post.
    video: Mapped[Video] = relationship(lazy="raise")  # one
    # Nothing comes after.
"""
    )


def test_arguments_are_sorted_by_kind_and_role_and_keep_their_comments() -> None:
    jumbled = dedent("""\
    class Post(Base):
        __tablename__ = "posts"
        __table_args__ = (
            *(Grant(role, "SELECT", columns=("a", "b")) for role in (APP, READONLY)),
            Grant(SYSTEM, "SELECT"), Grant(AUTH, "SELECT"),
            system_too(),  # the learner
            Policy("own", READONLY, using="é, ("),
            tenant_only(),
            # Nobody else has it.
            CheckConstraint("a > 0", name="a"),
            Index(
                None,
                "b",  # first
            ),
            Special(),
            OwnedBy(AUTH), Index(None, "a"), UniqueConstraint("a"),
            ForeignKeyConstraint(["a"], ["x.a"]),
            # The last word.
        )
    """)

    assert order_classes(jumbled) == dedent("""\
    class Post(Base):
        __tablename__ = "posts"

        __table_args__ = (
    ForeignKeyConstraint(["a"], ["x.a"]),
    UniqueConstraint("a"),
    Index(
                None,
                "b",  # first
            ),
    Index(None, "a"),
    # Nobody else has it.
    CheckConstraint("a > 0", name="a"),
    Special(),
    OwnedBy(AUTH),
    tenant_only(),
    Policy("own", READONLY, using="é, ("),
    system_too(),  # the learner
    *(Grant(role, "SELECT", columns=("a", "b")) for role in (APP, READONLY)),
    Grant(AUTH, "SELECT"),
    Grant(SYSTEM, "SELECT"),
    # The last word.
    )
    """)


def test_options_stay_last() -> None:
    jumbled = """\
    __tablename__ = "posts"

    __table_args__ = (Grant(APP, "SELECT"), tenant_only(), {"schema": "virál"})
"""

    assert 'tenant_only(),\nGrant(APP, "SELECT"),\n{"schema": "virál"},\n)' in ordered(jumbled)


def test_a_line_is_not_moved_above_what_it_uses() -> None:
    dependent = """\
    __tablename__ = "posts"
    first: Mapped[str]
    FULL = first + " "
"""

    assert ordered(dependent) == dependent


@pytest.mark.parametrize(
    "body",
    [
        "    x = 1\n    title: Mapped[str]\n",
        '    __tablename__ = "posts"\n\n    __table_args__ = ({"schema": "viral"})\n',
        '    __tablename__ = "posts"\n\n    __table_args__ = ()\n',
        '    __tablename__ = "posts"\n\n    __table_args__ = CheckConstraint("a"), tenant_only()\n',
    ],
)
def test_what_is_not_a_table_or_not_a_tuple_is_left(body: str) -> None:
    assert ordered(body) == body


def test_files_out_of_form_are_named_and_rewritten_once(checkout: Path) -> None:
    file = table_file(checkout)
    text = file.read_text()
    file.write_text(
        text.replace('    __tablename__ = "trends"\n\n', "").replace(
            "    observed_at: Mapped[datetime] = mapped_column(server_default=func.now())\n",
            "    observed_at: Mapped[datetime]=mapped_column( server_default = func.now())\n"
            "    __tablename__ = 'trends'\n",
        )
    )
    before = file.read_text()

    checked = format_schema(checkout, write=False)
    kept = file.read_text()
    rewritten = format_schema(checkout, write=True)
    again = format_schema(checkout, write=True)

    assert [file] == checked.changed == rewritten.changed
    assert before == kept
    assert text == file.read_text()
    assert [] == again.changed


def test_the_tables_are_the_same_before_and_after(checkout: Path) -> None:
    for file in sorted((checkout / "src" / "viral" / "schema").glob("*.py")):
        file.write_text(_jumbled(file.read_text()))
    before = statements(checkout)

    outcome = format_schema(checkout, write=True)

    assert len(outcome.changed) >= 6
    assert before == statements(checkout)


def _jumbled(source: str) -> str:
    """Turn the elements of every `__table_args__` around, but for the options at the end."""
    lines: list[str] = []
    inside: list[list[str]] | None = None
    for line in source.split("\n"):
        if line == "    __table_args__ = (":
            inside = []
        elif inside is not None and line == "    )":
            options = [
                each for each in inside if any(part.startswith("        {") for part in each)
            ]
            rest = [each for each in inside if each not in options]
            lines += [part for element in [*rest[::-1], *options] for part in element]
            inside = None
        elif inside is not None:
            starts = line.startswith("        ") and line[8] not in " )}"
            follows_comment = bool(inside) and inside[-1][-1].strip().startswith("#")
            if starts and not follows_comment:
                inside.append([])
            inside[-1].append(line)
            continue
        lines.append(line)
    return "\n".join(lines)


def statements(checkout: Path) -> list[list[str]]:
    """Build the schema's SQL from the copied files; the order of a table's parts is free."""
    program = f"import viral; viral.__path__.insert(0, {str(checkout / 'src/viral')!r}); {PRINT}"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    built: list[str] = json.loads(ended.stdout)
    return sorted(sorted(line.strip(" ,") for line in each.split("\n")) for each in built)


def test_windows_line_ends_and_a_byte_order_mark_go(checkout: Path) -> None:
    file = table_file(checkout)
    text = file.read_text()
    file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())

    format_schema(checkout, write=True)

    assert text.encode() == file.read_bytes()


def test_a_file_with_a_mistake_is_named_with_its_line_and_the_others_are_put_into_form(
    checkout: Path,
) -> None:
    schema = checkout / "src" / "viral" / "schema"
    (schema / "content.py").write_text("one = 1\ntwo = (\n")
    (schema / "results.py").write_bytes(b"\xff\xfe")
    (schema / "tenants.py").write_text("one=1\n")

    outcome = format_schema(checkout, write=True)

    assert [("content.py", 2), ("results.py", None)] == [
        (problem.file.name, problem.line) for problem in outcome.problems
    ]
    assert "one = 1\ntwo = (\n" == (schema / "content.py").read_text()
    assert "one = 1\n" == (schema / "tenants.py").read_text()


def test_settings_that_the_formatter_refuses_are_told(checkout: Path) -> None:
    (checkout / "pyproject.toml").write_text("[tool.ruff]\nline-length = 0\n")

    with pytest.raises(BadFile, match="line-length"):
        format_schema(checkout, write=True)


def test_the_mode_of_a_file_is_kept(checkout: Path) -> None:
    file = table_file(checkout)
    file.write_text(file.read_text() + "\n\n\n")
    file.chmod(0o640)

    format_schema(checkout, write=True)

    assert 0o640 == file.stat().st_mode & 0o777
    assert [] == list(file.parent.glob(".*"))


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("SELECT 1", "SELECT 1\n"),
        ("\n\nSELECT 1;  \n\n\n", "SELECT 1;\n"),
        ("SELECT\n\t1,\n \t2\n", "SELECT\n  1,\n  2\n"),
        ("\tSELECT 'a\tb'\n\nFROM\tx\n", "  SELECT 'a\tb'\n\nFROM  x\n"),
    ],
)
def test_sql_has_no_trailing_blanks_and_one_line_feed_at_the_end(text: str, form: str) -> None:
    assert form == format_sql(text)


def test_an_installed_package_is_not_rewritten(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not a checkout"):
        checkout_of(tmp_path / "lib" / "python3" / "viral" / "schema")
