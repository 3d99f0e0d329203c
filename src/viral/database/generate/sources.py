"""The files from which everything is generated: where they are, and what is wrong in them."""

from __future__ import annotations

import traceback
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from viral.errors import BadFile
from viral.settings import checkout

PACKAGE = Path(__file__).resolve().parents[2]
SOURCES = (PACKAGE / "schema", PACKAGE / "web")


def default_folder() -> Path:
    """Return where the generated files of this schema lie."""
    return (checkout() or Path.cwd()) / "viral-schema"


def shown(path: Path) -> str:
    """Return a path as a person names it: from the current folder where it lies inside."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def fault_of(error: Exception) -> BadFile | None:
    """Name the line of the sources at which an error arose; None when it is not theirs."""
    what = error.msg if isinstance(error, SyntaxError) else str(error).partition("\n")[0]
    place = _place_of(error)
    if place is not None:
        path, line = place
        return BadFile(f"{shown(path)}, line {line}: {type(error).__name__}: {what}")
    if isinstance(error, SQLAlchemyError):
        # Some mistakes appear when all tables are put together; the message names them.
        return BadFile(f"The tables do not fit together: {what}")
    return None


def _place_of(error: Exception) -> tuple[Path, int] | None:
    places = [
        (Path(frame.filename).resolve(), frame.lineno or 0)
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((Path(error.filename).resolve(), error.lineno or 0))
    ours = [place for place in places if any(map(place[0].is_relative_to, SOURCES))]
    return ours[-1] if ours else None
