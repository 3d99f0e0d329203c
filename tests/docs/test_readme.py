"""The documents say what is true: commands exist, settings are listed, the reference is fresh."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.core
import typer.main

from viral.cli.application import application
from viral.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
LONGEST_README = 150


def test_the_readme_fits_and_shows_the_two_commands() -> None:
    assert len(README.splitlines()) < LONGEST_README
    assert "$ make up" in README
    assert "$ make test" in README


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_command_that_a_document_names_exists(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    named = re.findall(r"(?:\$ |`)viral ([a-z][a-z -]*)", text)

    unknown = [words for words in named if not exists(words.split())]

    assert [] == unknown


def test_every_verb_of_make_that_a_document_names_exists() -> None:
    text = README + (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    verbs = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

    assert set(re.findall(r"make ([a-z-]+)", text)) <= verbs


def test_every_link_of_the_readme_leads_to_a_file() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", README)

    missing = [target for target in targets if not (ROOT / target).exists()]

    assert targets
    assert [] == missing


def test_the_reference_lists_every_setting_and_is_fresh() -> None:
    reference = (ROOT / "docs" / "reference.md").read_text("utf-8")
    names = [
        str(field.validation_alias or f"VIRAL_{name.upper()}")
        for name, field in Settings.model_fields.items()
    ]

    fresh = subprocess.run(
        [sys.executable, ROOT / "tools" / "reference.py", "--check"],
        capture_output=True,
        check=False,
    )

    assert all(f"`{name}`" in reference for name in names)
    assert 0 == fresh.returncode, fresh.stderr


def exists(words: list[str]) -> bool:
    """Follow the words into the command's groups; what is no command any more is an argument."""
    command: object = typer.main.get_command(application)
    for word in words:
        if not isinstance(command, typer.core.TyperGroup):
            return True
        if word not in command.commands:
            return False
        command = command.commands[word]
    return isinstance(command, typer.core.TyperCommand | typer.core.TyperGroup)


def test_every_fragment_of_the_changelog_is_of_a_known_kind() -> None:
    draft = subprocess.run(
        [Path(sys.executable).with_name("towncrier"), "build", "--draft"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    told = [line for line in draft.stdout.splitlines() if line.startswith("- ")]

    assert len(list((ROOT / "changes").glob("*.md"))) == len(told)
