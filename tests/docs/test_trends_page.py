"""The page about trends says what is true: commands, kinds and figures are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import typer.core
import typer.main

from viral.cli.application import application
from viral.features.trends.kinds import kinds
from viral.schema.vocabulary import CATEGORIES

PAGE = (Path(__file__).parents[2] / "docs" / "trends.md").read_text("utf-8")


def command_of(words: list[str]) -> tuple[typer.core.TyperCommand, list[str]]:
    """Follow words into the command's groups; the command, and what is left."""
    command: object = typer.main.get_command(application)
    while isinstance(command, typer.core.TyperGroup):
        command = command.commands[words[0]]
        words = words[1:]
    assert isinstance(command, typer.core.TyperCommand)
    return command, words


def test_every_command_of_the_page_exists_with_its_options() -> None:
    lines = re.findall(r"^\$ viral (.*)$", PAGE, re.MULTILINE)

    assert len(lines) > 5
    for line in lines:
        command, rest = command_of(line.split())
        known = {option for each in command.params for option in each.opts}
        assert {word for word in rest if word.startswith("--")} <= known, line


def test_the_page_has_every_kind_with_its_interval_and_quota() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \|(.*)$", PAGE, re.MULTILINE))

    assert set(rows) == set(kinds())
    for kind in kinds().values():
        assert f"{kind.interval_minutes} min" in rows[kind.name]
        if kind.calls_a_day:
            assert f"{kind.calls_a_day:,}" in rows[kind.name]
        if kind.full:
            assert f"{kind.full:,}" in PAGE


def test_the_page_measures_every_category() -> None:
    measured = re.findall(r"^\| ([a-z]+) \| [0-9,]+ \| [0-9.]+ %", PAGE, re.MULTILINE)

    assert tuple(measured) == CATEGORIES
