"""The page about generation names commands, options and figures of the code that exist."""

from __future__ import annotations

import re
from pathlib import Path

import typer.core
import typer.main

from viral.cli.application import application
from viral.features.experiments.arms import FEWEST_ARMS, MOST_ARMS
from viral.features.experiments.sequential import FEWEST_POSTS
from viral.features.experiments.trials import USUAL_ALPHA, USUAL_POSTS
from viral.features.generations.brief import MEMORY
from viral.features.generations.phrasing import RUN_WORDS
from viral.features.generations.picks import CANDIDATES_A_PICK, LEAST_CANDIDATES
from viral.learner.picking import DRAWS, EXPLORATION, FLOOR

PAGE = (Path(__file__).parents[2] / "docs" / "generation.md").read_text("utf-8")
WORDS = {2: "two", 3: "three", 5: "five", 8: "eight", 10: "ten"}
TEXT = re.sub(r"\s+", " ", PAGE)


def options_of(path: str) -> set[str]:
    """Give the options of a command by its words."""
    command: object = typer.main.get_command(application)
    for word in path.split():
        assert isinstance(command, typer.core.TyperGroup)
        command = command.commands[word]
    assert isinstance(command, typer.core.TyperCommand)
    return {option for each in command.params for option in each.opts}


def test_every_command_of_the_page_exists_with_its_options() -> None:
    named = re.findall(r"(?:`|\$ )viral ([a-z]+ [a-z]+)([^`\n]*)", PAGE)

    assert len(named) > 8
    for path, rest in named:
        assert set(re.findall(r"--[a-z-]+", rest)) <= options_of(path), path


def test_the_figures_are_those_of_the_code() -> None:
    for said in (
        f"{WORDS[CANDIDATES_A_PICK]} candidates for each concept",
        f"asked for, {WORDS[LEAST_CANDIDATES]} at least",
        f"A sample of {EXPLORATION} standard deviations",
        f"One slot in {WORDS[FLOOR]} goes",
        f"the share of {DRAWS} rounds",
        f"no run of {WORDS[RUN_WORDS]} words twice within a tenant's latest {MEMORY} concepts",
        f"compares {WORDS[FEWEST_ARMS]} to {WORDS[MOST_ARMS]} types",
        f"at {WORDS[FEWEST_POSTS]} posts an arm or more",
        f"`--most-posts` ({USUAL_POSTS})",
        f"`alpha` {USUAL_ALPHA}",
    ):
        assert said in TEXT
