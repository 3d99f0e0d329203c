"""The models as a person would edit them: a copy of their package with other source text."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import viral.schema
from viral.schema.tables import Schema

_MODELS = Path(viral.schema.__file__).parent
_FILE = re.compile(r"^(?=[\w/]+\.(?:py|sql)$)", re.MULTILINE)
_ORM = "from sqlalchemy.orm import Mapped, mapped_column"
_IMPORTS = f"""import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from viral.schema import security as may
{_ORM}"""
_numbers = count(1)


@dataclass(frozen=True)
class Case:
    """An edit of the models, and what is said of it.

    `lost` is what a deploy refuses to lose, and `is_hopeless` that rows hinder it all the same.
    `needs` are the rules that a person has to answer, `irreversible` and `refused` words of why.
    `first` is edited, migrated and deployed before.
    """

    name: str
    edit: str
    first: str = ""
    renames: Sequence[str] = ()
    lost: str = ""
    is_hopeless: bool = False
    needs: Sequence[str] = ()
    irreversible: str = ""
    refused: str = ""


def together(*cases: Case) -> Case:
    """Make one case of edits that leave each other alone; its name has all of theirs."""
    return Case(
        name=" + ".join(case.name for case in cases),
        edit="\n".join(case.edit.strip("\n") for case in cases),
        renames=[rename for case in cases for rename in case.renames],
        lost="; ".join(case.lost for case in cases if case.lost),
        is_hopeless=any(case.is_hopeless for case in cases),
        needs=[rule for case in cases for rule in case.needs],
    )


def edited_schema(folder: Path, edit: str) -> Schema:
    """Copy the models, edit them as a diff says, and load what they are after that.

    The diff names files on lines of their own, and divides what stands apart by lines of "@@".
    Edited files have all of SQLAlchemy at hand as `sa` and `pg`, and `security.py` as `may`.
    """
    name = f"edited_models_{next(_numbers)}"
    package = folder / name
    shutil.copytree(_MODELS, package, ignore=shutil.ignore_patterns("__pycache__"))
    for part in _FILE.split(edit.strip("\n"))[1:]:
        file, _, hunks = part.partition("\n")
        _change(package / file, hunks.strip("\n"))
    for source in package.rglob("*.py"):
        source.write_text(source.read_text().replace("viral.schema", name))
    return _load(package)


def _change(file: Path, hunks: str) -> None:
    text = file.read_text() if file.exists() else ""
    for hunk in hunks.split("\n@@\n"):
        lines = hunk.splitlines()
        old = "\n".join(line[1:] for line in lines if not line.startswith("+"))
        new = "\n".join(line[1:] for line in lines if not line.startswith("-"))
        assert text.count(old) == 1 or not text, f"{file.name} holds {text.count(old)} times: {old}"
        text = text.replace(old, new) if text else new
    file.write_text(text.replace(_ORM, _IMPORTS))


def _load(package: Path) -> Schema:
    specification = importlib.util.spec_from_file_location(
        package.name, package / "__init__.py", submodule_search_locations=[str(package)]
    )
    assert specification is not None
    # The modules of the copy name each other.
    sys.modules[package.name] = importlib.util.module_from_spec(specification)
    schema: Schema = importlib.import_module(f"{package.name}.tables").SCHEMA
    return schema
