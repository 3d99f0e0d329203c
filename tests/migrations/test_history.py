"""Files of migrations that are not those that were applied: found, named, and nothing is run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrations.histories import add_revision, edit, folder_of, head, revisions
from viral.database import migrate
from viral.database.history import read_history
from viral.database.urls import ServerUrl
from viral.errors import BadScript, HistoryBroken, MigrationFailed

UP = "CREATE TABLE paint (id integer);"
DOWN = "DROP TABLE paint;"


@pytest.fixture
async def paint(history: Path, url: ServerUrl) -> Path:
    """A revision that is applied, and one behind it that is not."""
    file = add_revision(history, "paint", up=UP, down=DOWN)
    await migrate.deploy(url, history=history)
    add_revision(history, "next", up="CREATE TABLE brush (id integer);")
    return file


def _edit_up(paint: Path) -> None:
    edit(folder_of(paint) / "up.sql", "integer", "bigint")


def _edit_down(paint: Path) -> None:
    edit(folder_of(paint) / "down.sql", "TABLE", "TABLE IF EXISTS")


def _edit_file(paint: Path) -> None:
    edit(paint, "A revision", "Another revision")


def _delete(paint: Path) -> None:
    paint.unlink()
    shutil.rmtree(folder_of(paint))


def _delete_script(paint: Path) -> None:
    (folder_of(paint) / "up.sql").unlink()


def _spoil(paint: Path) -> None:
    edit(paint, "def upgrade", "def (upgrade")


def _insert_before(paint: Path) -> None:
    add_revision(paint.parents[1], "early", parent=head())
    edit(paint, f"'{head()}'", "'early'")


def _duplicate(paint: Path) -> None:
    add_revision(paint.parents[1], "twin")
    edit(paint.with_name("2026_12_01_twin_test.py"), "= 'twin'", "= 'paint'")


def _branch(paint: Path) -> None:
    add_revision(paint.parents[1], "branch", parent="paint")


def _second_beginning(paint: Path) -> None:
    edit(add_revision(paint.parents[1], "other"), "down_revision = 'next'", "down_revision = None")


def _lose_predecessor(paint: Path) -> None:
    edit(paint.with_name("2026_12_01_next_test.py"), "'paint'", "'lost'")


def _turn_in_a_circle(paint: Path) -> None:
    edit(next(paint.parent.glob("*_0001_init.py")), "None", '"paint"')


def _merge(paint: Path) -> None:
    edit(paint.with_name("2026_12_01_next_test.py"), "'paint'", f"('paint', '{head()}')")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_edit_up, "paint_test was edited after it was applied"),
        (_edit_down, "paint_test was edited after it was applied"),
        (_edit_file, "paint_test was edited after it was applied"),
        (_delete_script, "paint_test was edited after it was applied"),
        (_delete, "paint_test was applied here, and its file is missing"),
        (_spoil, r"paint_test.py cannot be read: .*line 1\d"),
        (_insert_before, "early_test stands before paint, which was applied without it"),
        (_duplicate, "Several files are revision paint: .*paint_test.py and .*twin_test.py"),
        (_branch, "Several revisions follow paint: .*branch_test.py and .*next_test.py"),
        (_second_beginning, "Several revisions are the first: .*init.py and .*other_test.py"),
        (_lose_predecessor, "No file is lost, which .*next_test.py follows"),
        (_turn_in_a_circle, "No revision is the first"),
        (_merge, "next_test.py does not say which revision it is and which it follows"),
    ],
)
async def test_a_history_that_is_not_the_applied_one_is_refused(
    url: ServerUrl, history: Path, paint: Path, change: Callable[[Path], None], message: str
) -> None:
    change(paint)
    with pytest.raises(HistoryBroken) as caught:
        await migrate.deploy(url, history=history)
    status = await migrate.status(url, history=history)

    expected = pytest.RaisesExc(HistoryBroken, match=message)
    assert any(expected.matches(HistoryBroken(each)) for each in status.broken), status.broken
    assert caught.value.message.partition(" (")[0] in status.broken[0]
    assert caught.value.hint
    assert "reset" not in caught.value.message + caught.value.hint
    assert ("paint", [*revisions(), "paint"]) == (
        status.current,
        sorted(record.revision for record in status.records),
    )


@pytest.mark.usefixtures("paint")
async def test_what_was_applied_out_of_order_is_named(
    url: ServerUrl, history: Path, admin: AsyncConnection
) -> None:
    await admin.execute(
        text("UPDATE viral.alembic_version SET version_num = :head"), {"head": head()}
    )
    await admin.commit()

    with pytest.raises(
        HistoryBroken, match=f"paint_test was applied, but the database is at {head()}"
    ):
        await migrate.deploy(url, history=history)


async def test_a_half_applied_revision_must_stay_as_it_was(url: ServerUrl, history: Path) -> None:
    up = "-- step: paint\nCREATE TABLE paint (id integer);\n-- step: brush\nSELECT 1 / 0;\n"
    file = add_revision(history, "paint", up=up)
    with pytest.raises(MigrationFailed):
        await migrate.deploy(url, history=history)

    edit(folder_of(file) / "up.sql", "1 / 0", "1")
    with pytest.raises(HistoryBroken, match=r"edited while it was half done \(1 of 2") as caught:
        await migrate.deploy(url, history=history)

    assert "resolve paint --rolled-back" in caught.value.hint


async def test_a_revision_of_which_nothing_is_done_may_be_corrected(
    url: ServerUrl, history: Path
) -> None:
    file = add_revision(history, "paint", up="CREATE TABEL paint (id integer);")
    with pytest.raises(MigrationFailed, match="The database is as it was"):
        await migrate.deploy(url, history=history)

    edit(folder_of(file) / "up.sql", "TABEL", "TABLE")
    applied = await migrate.deploy(url, history=history)

    assert ["paint"] == applied
    assert [] == (await migrate.status(url, history=history)).broken


async def test_the_ends_of_lines_are_no_change(url: ServerUrl, history: Path, paint: Path) -> None:
    paint.write_bytes(paint.read_bytes().replace(b"\n", b"\r\n"))
    (folder_of(paint) / "__pycache__").mkdir()
    (folder_of(paint) / "__pycache__" / "step.pyc").touch()

    assert [] == (await migrate.status(url, history=history)).broken


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def upgrade", "def up", r"has no upgrade\(\)"),
        ("import Path", "import Route", "cannot be loaded: cannot import name 'Route'"),
        ("up.sql", "upp.sql", r"upp\.sql cannot be read"),
    ],
)
def test_a_file_that_declares_no_steps_is_named(
    history: Path, old: str, new: str, message: str
) -> None:
    edit(add_revision(history, "paint"), old, new)

    with pytest.raises(BadScript, match=message):
        read_history(history).revisions[-1].steps("up")
