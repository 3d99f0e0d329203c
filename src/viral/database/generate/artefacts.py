"""The files that are written from the schema and the API, and whether they are current."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

from viral.database.generate.diagram import svg_diagram
from viral.database.generate.entities import schema_groups
from viral.database.generate.mermaid import changes_between, mermaid_diagram, outline_of
from viral.database.generate.prisma import prisma_schema
from viral.database.generate.typescript import Document, api_types, database_types
from viral.errors import BadFile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

State = Literal["current", "stale", "missing"]

OUTLINE = "schema.mmd"


def artefacts(api: Document) -> dict[str, str]:
    """Return the content of every file by its name; `api` is the OpenAPI document."""
    groups = schema_groups()
    return {
        "schema.prisma": prisma_schema(),
        OUTLINE: mermaid_diagram(groups),
        "schema.svg": svg_diagram(groups),
        "openapi.json": json.dumps(api, indent=2, ensure_ascii=False) + "\n",
        "database.ts": database_types(groups),
        "api.ts": api_types(api),
    }


def states_in(folder: Path, texts: Mapping[str, str]) -> dict[str, State]:
    """Compare the files of a folder with what they should hold."""
    return {name: _state(_read(folder / name), text) for name, text in texts.items()}


def schema_changes(folder: Path, texts: Mapping[str, str]) -> list[str]:
    """Say which tables and columns differ from those that the folder shows."""
    before = _read(folder / OUTLINE)
    if before is None:
        return []
    return list(changes_between(outline_of(before), outline_of(texts[OUTLINE])))


def write_artefact(folder: Path, name: str, text: str) -> None:
    """Write a file whole, or leave it as it was."""
    draft = folder / f".{name}.draft"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, "utf-8")
        draft.replace(folder / name)
    except OSError as error:
        raise BadFile(f"{folder / name} cannot be written: {error.strerror}.") from error


def _state(found: str | None, text: str) -> State:
    if found is None:
        return "missing"
    return "current" if found == text else "stale"


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        # Whatever it is, it is not what belongs there.
        return ""
