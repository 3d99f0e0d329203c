"""The page about reflexion says what is true: commands, grammar and figures are the code's."""

from __future__ import annotations

import re
from pathlib import Path

import typer.core
import typer.main

from viral.cli.application import application
from viral.features.reflexion import critiques, guard, hypotheses, trials
from viral.learner.contrast import LEAST_FIRINGS, LEAST_TENANTS, LEAST_Z
from viral.learner.guard import LEAST_RESULTS
from viral.learner.guard import LEAST_Z as SURE_Z
from viral.learner.predicates import GRAMMAR

PAGE = (Path(__file__).parents[2] / "docs" / "reflexion.md").read_text("utf-8")
WORDS = {5: "five"}


def test_every_command_of_the_page_exists_and_none_of_reflexion_is_missing() -> None:
    root = typer.main.get_command(application)
    assert isinstance(root, typer.core.TyperGroup)
    group = root.commands["reflexion"]
    assert isinstance(group, typer.core.TyperGroup)
    lines = [line.split() for line in re.findall(r"^\$ viral reflexion (.*)$", PAGE, re.MULTILINE)]

    for verb, *rest in lines:
        known = {option for each in group.commands[verb].params for option in each.opts}
        assert {word for word in rest if word.startswith("--")} <= known, rest

    # A back-test needs no database; the README shows it.
    assert {line[0] for line in lines} == set(group.commands) - {"evaluate"}


def test_the_page_has_every_form_of_the_grammar() -> None:
    forms = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)

    assert forms == [line.split("  ")[0] for line in GRAMMAR.splitlines()]


def test_the_page_has_the_codes_figures() -> None:
    text = re.sub(r"\s+", " ", PAGE)

    for said in (
        f"the {critiques.MOST_A_RUN} largest of a run, {critiques.MOST_A_DAY} a tenant and day",
        (
            f"{LEAST_FIRINGS['tenant']} videos of the tenant, or {LEAST_FIRINGS['shared']} of"
            f" {WORDS[LEAST_TENANTS['shared']]} tenants"
        ),
        f"z above {LEAST_Z}: then it is confirmed",
        f"or {trials.MOST_FIRINGS} videos without proof",
        f"At most {hypotheses.MOST_OPEN} are on trial",
        f"after {trials.LEAST_WATCHED} videos that miss by more with it",
        f"{guard.FIRST_SHARED} results with a lead beyond chance | more than {LEAST_RESULTS}",
        f"after {guard.LEAST_WATCH} results that are worse beyond chance, or {LEAST_RESULTS} that",
        (
            f"{guard.FIRST_OWN} results of its own, and a lead beyond chance over all tenants' |"
            f" {guard.NEXT_OWN} |"
        ),
        f"Beyond chance is {SURE_Z} standard errors",
    ):
        assert said in text
