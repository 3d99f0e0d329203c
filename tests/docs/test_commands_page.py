"""The page that puts three tools side by side names commands and exit codes that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import typer.core
import typer.main

from viral import errors
from viral.cli.application import INTERRUPTED, application
from viral.errors import ViralError

PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text("utf-8")
# Groups and commands of the schema's toolchain: the page lists each.
TOOLCHAIN = {"migrate", "db", "generate", "validate", "format"}


def commands() -> dict[str, set[str]]:
    """Return every command of the application with its options."""

    def walk(command: object, path: str) -> Iterator[tuple[str, set[str]]]:
        if isinstance(command, typer.core.TyperGroup):
            for name, child in command.commands.items():
                yield from walk(child, f"{path} {name}".strip())
        elif isinstance(command, typer.core.TyperCommand):
            yield (
                path,
                {option for each in command.params for option in each.opts}
                | {option for each in command.params for option in each.secondary_opts},
            )

    return dict(walk(typer.main.get_command(application), ""))


def named() -> list[tuple[str, list[str]]]:
    """Return what the page names: the words of a command, and the options behind them."""
    found = re.findall(r"(?:`|\$ |\()viral ([a-z][a-z -]*)([^`)\n]*)", PAGE)
    return [
        (re.split(r" -", words)[0].strip(), re.findall(r"--[a-z-]+", words + rest))
        for words, rest in found
    ]


def test_every_command_and_option_of_the_page_exists() -> None:
    known = commands()

    missing = [
        (path, options)
        for path, options in named()
        if path not in known or not set(options) <= known[path]
    ]

    assert len(named()) > 20
    assert [] == missing


def test_the_page_lists_every_command_of_the_toolchain() -> None:
    toolchain = {path for path in commands() if path.split()[0] in TOOLCHAIN}

    assert set() == toolchain - {path for path, _ in named()}


def test_the_page_lists_every_exit_code() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    raised = {
        each.exit_code
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, ViralError)
    }

    assert {0, INTERRUPTED} | raised == listed
