"""Another data folder takes the place of the server's: killed anywhere, one of the two is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from servers import Homes, server_in

from viral.errors import ServerError
from viral.postgres.data_folder import UPGRADED, exchange, settle_exchange
from viral.postgres.installation import (
    FILE_NAME,
    Installation,
    keep_port,
    load_or_create_installation,
)
from viral.postgres.upgrade import _sweep

pytest_plugins = ["servers"]


class Killed(BaseException):
    """The end of a process, as far as its code can see it."""


@pytest.fixture
def installation(homes: Homes) -> Installation:
    """Give what looks like a stopped server with data, and a restored copy beside it."""
    installation = load_or_create_installation(homes.new())
    for folder, content in ((installation.data_dir, "former"), (coming_of(installation), "copy")):
        folder.mkdir(parents=True)
        (folder / "is").write_text(content)
    return installation


def coming_of(installation: Installation) -> Path:
    return installation.state / "restored"


def contents(installation: Installation) -> list[str]:
    return sorted(path.read_text() for path in installation.state.glob("*/is"))


@pytest.mark.parametrize(
    ("renames", "left"),
    [(1, ["former"]), (2, ["copy", "former"]), (3, ["copy", "former"])],
)
def test_killed_after_any_rename_a_start_finds_the_former_or_the_copy(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, renames: int, left: list[str]
) -> None:
    done, rename = 0, Path.rename

    def killed_after(path: Path, name: Path) -> Path:
        nonlocal done
        done += 1
        moved = rename(path, name)
        if done == renames:
            raise Killed
        return moved

    kept = installation.state / "kept"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed_after)
        with pytest.raises(Killed):
            exchange(installation, coming_of(installation), kept=kept)

    settle_exchange(installation)
    assert contents(installation) == left
    assert (installation.data_dir / "is").read_text() == left[0]


def test_what_a_killed_exchange_left_is_in_nobodys_way(installation: Installation) -> None:
    left = installation.state / UPGRADED
    left.mkdir()
    (left / "is").write_text("left")

    exchange(installation, coming_of(installation), kept=installation.state / "kept")

    assert contents(installation) == ["copy", "former"]


def test_an_upgrade_sweeps_no_folder_that_is_about_to_take_its_place(
    installation: Installation,
) -> None:
    coming_of(installation).rename(installation.state / UPGRADED)
    installation.data_dir.rename(installation.state / "kept")

    _sweep(installation)

    assert (installation.data_dir / "is").read_text() == "copy"


def test_a_data_folder_that_was_lost_is_replaced_and_nothing_kept(
    installation: Installation,
) -> None:
    (installation.data_dir / "is").unlink()
    installation.data_dir.rmdir()

    exchange(installation, coming_of(installation), kept=installation.state / "kept")

    assert (installation.data_dir / "is").read_text() == "copy"
    assert not (installation.state / "kept").exists()


async def test_no_empty_database_takes_the_place_of_data_that_are_gone(homes: Homes) -> None:
    home = homes.new()
    server = server_in(home)
    installation = keep_port(load_or_create_installation(home), 1)

    with pytest.raises(ServerError, match="is gone: it was there") as refused:
        await server.start()

    assert "viral backup restore --in-place" in refused.value.hint
    assert str(home / FILE_NAME) in refused.value.hint
    assert not installation.data_dir.exists()
