"""`viral generate`: write what is derived from the schema and the API."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli.output import err, out, print_json
from viral.errors import BadInput
from viral.settings import load_settings

if TYPE_CHECKING:
    from viral.database.generate.typescript import Document


def generate(
    out_folder: Annotated[
        Path | None,
        typer.Option("--out", help="The folder; by default viral-schema/ of the checkout."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Stay, and generate again after every save.")
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; exit with 1 when a file is not current."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write schema.prisma, the ER diagram, OpenAPI and TypeScript types; no database is needed.

    Example: viral generate --watch
    """
    from viral.database.generate.sources import default_folder

    folder = default_folder() if out_folder is None else out_folder.resolve()
    if watch and check:
        raise BadInput("--watch writes and --check does not.", hint="Choose one of them.")
    if watch:
        _watch(folder, as_json=as_json)
    elif check:
        _check(folder, as_json=as_json)
    else:
        _write(folder, as_json=as_json)


def _watch(folder: Path, *, as_json: bool) -> None:
    from viral.database.generate.watch import generate_on_save

    arguments = ["generate", "--out", str(folder), *(["--json"] if as_json else [])]
    generate_on_save(arguments, err.print)


def _check(folder: Path, *, as_json: bool) -> None:
    texts = _texts()
    from viral.database.generate.artefacts import states_in
    from viral.database.generate.sources import shown

    states = states_in(folder, texts)
    if as_json:
        print_json({"folder": folder, "files": states})
    else:
        for name, state in states.items():
            out.print(f"{shown(folder / name)}: {state}")
    if set(states.values()) != {"current"}:
        if not as_json:
            err.print("Write them with `viral generate`.")
        raise typer.Exit(1)


def _write(folder: Path, *, as_json: bool) -> None:
    texts = _texts()
    from viral.database.generate.artefacts import schema_changes, states_in, write_artefact
    from viral.database.generate.sources import shown

    changes = schema_changes(folder, texts)
    done = {}
    for name, state in states_in(folder, texts).items():
        if state != "current":
            write_artefact(folder, name, texts[name])
        done[name] = "unchanged" if state == "current" else "written"
    if as_json:
        print_json({"folder": folder, "files": done, "changes": changes})
        return
    for change in changes:
        out.print(change)
    for name, what in done.items():
        out.print(f"{shown(folder / name)}: {what}")


def _texts() -> dict[str, str]:
    """Generate everything; a mistake in the schema or the API is named with its line."""
    from litestar.exceptions import LitestarException
    from sqlalchemy.exc import SQLAlchemyError

    from viral.database.generate.sources import fault_of

    try:
        from viral.database.generate.artefacts import artefacts

        return artefacts(_api())
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        ImportError,
        LitestarException,
        LookupError,
        NameError,
        SQLAlchemyError,
        SyntaxError,
        TypeError,
        ValueError,
    ) as error:
        fault = fault_of(error)
        if fault is None:
            raise
        raise fault from error


def _api() -> Document:
    """Describe the API as a fresh installation would, without one."""
    from viral.web.application import create_application

    with tempfile.TemporaryDirectory() as home:
        settings = load_settings().model_copy(update={"home": Path(home), "public_url": None})
        return create_application(settings).openapi_schema.to_schema()
