"""Write the reference of commands, settings and errors from the code: docs/reference.md."""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import typer.core
import typer.main

from viral import errors
from viral.cli.application import application
from viral.settings import Settings

TARGET = Path(__file__).parents[1] / "docs" / "reference.md"


def reference() -> str:
    """Return the whole page."""
    parts = (
        ["# Reference", "", "Written by `make docs`; do not edit.", ""],
        ["## Commands", "", *_commands()],
        ["## Settings", "", "From the environment, `.env` or `.env.local`.", "", *_settings()],
        ["## Errors", "", *_errors()],
    )
    return "\n".join(line for part in parts for line in part).rstrip() + "\n"


def _commands() -> Iterator[str]:
    root = typer.main.get_command(application)
    yield "| command | does |"
    yield "| --- | --- |"
    for name, command in _walk(root, "viral"):
        words = " ".join((command.help or "").split())
        yield f"| `{_usage(name, command)}` | {words.replace('|', '·')} |"
    yield ""


def _walk(command: object, name: str) -> Iterator[tuple[str, typer.core.TyperCommand]]:
    if isinstance(command, typer.core.TyperGroup):
        for child_name, child in command.commands.items():
            yield from _walk(child, f"{name} {child_name}")
    elif isinstance(command, typer.core.TyperCommand):
        yield name, command


def _usage(name: str, command: typer.core.TyperCommand) -> str:
    words = [name]
    for parameter in command.params:
        value = (parameter.name or "").upper()
        if isinstance(parameter, typer.core.TyperArgument):
            words.append(value if parameter.required else f"[{value}]")
        elif parameter.required:
            words.append(f"{parameter.opts[0]} {value}")
        elif parameter.name != "help":
            words.append(f"[{parameter.opts[0]}]")
    return " ".join(words)


def _settings() -> Iterator[str]:
    yield "| variable | default | meaning |"
    yield "| --- | --- | --- |"
    for name, field in Settings.model_fields.items():
        variable = field.validation_alias or f"VIRAL_{name.upper()}"
        default = "see below" if field.default_factory else field.default
        yield f"| `{variable}` | {'' if default is None else default} | {field.description} |"
    yield ""
    yield "`VIRAL_HOME` is `.viral/` in a checkout, else a folder of the user's data."
    yield ""


def _errors() -> Iterator[str]:
    yield "| code | HTTP | exit code | meaning |"
    yield "| --- | --- | --- | --- |"
    for _, each in inspect.getmembers(errors, inspect.isclass):
        if issubclass(each, errors.ViralError):
            meaning = (each.__doc__ or "").splitlines()[0]
            yield f"| `{each.code}` | {each.status} | {each.exit_code} | {meaning} |"


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    if sys.argv[1:] == ["--check"]:
        if not TARGET.exists() or TARGET.read_text("utf-8") != reference():
            sys.exit("docs/reference.md is stale: run `make docs`.")
    else:
        TARGET.write_text(reference(), "utf-8")
