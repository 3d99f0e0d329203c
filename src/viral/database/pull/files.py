"""`viral db pull`: read a database, write its package, and take nobody's files away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from viral.database.catalog import read_catalog
from viral.database.faults import connecting
from viral.database.pull.package import MARK, write_package
from viral.errors import AlreadyExists, BadFile

if TYPE_CHECKING:
    from pathlib import Path

    from viral.database.catalog import Catalog
    from viral.database.urls import ServerUrl


@dataclass(frozen=True, slots=True)
class Pulled:
    """What was written: paths within the folder, names of tables, and what to know."""

    files: list[str]
    tables: list[str]
    notes: list[str]


async def pull(url: ServerUrl, folder: Path, *, force: bool = False) -> Pulled:
    """Write the schema of a database into a folder as a package of models; nothing is changed."""
    _refuse(folder, force=force)
    package = write_package(await _read(url), database=url.database)
    _write(folder, package.files)
    return Pulled(sorted(package.files), package.tables, package.notes)


async def _read(url: ServerUrl) -> Catalog:
    engine = create_async_engine(
        url.sqlalchemy, connect_args=url.connect_args, poolclass=NullPool
    ).execution_options(postgresql_readonly=True)
    try:
        with connecting(url):
            async with engine.connect() as connection:
                return await read_catalog(connection)
    finally:
        await engine.dispose()


def _refuse(folder: Path, *, force: bool) -> None:
    if not folder.resolve().name.isidentifier():
        raise BadFile(
            f"A package cannot be called {folder.resolve().name!r}.",
            hint="Name the folder with --out: letters, digits and _.",
        )
    if folder.exists() and not folder.is_dir():
        raise BadFile(f"{folder} is a file.", hint="Name a folder with --out.")
    if not force and folder.exists() and any(folder.iterdir()):
        raise AlreadyExists(
            f"The folder {folder} is not empty.",
            hint="Name another with --out, or write over an earlier pull with --force.",
        )


def _write(folder: Path, files: dict[str, str]) -> None:
    try:
        _remove_earlier_models(folder)
        for path, text in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, "utf-8")
    except OSError as error:
        raise BadFile(
            f"{folder} cannot be written: {error.strerror}.", hint="Name another folder with --out."
        ) from error


def _remove_earlier_models(folder: Path) -> None:
    """Remove models of tables that may be gone; only where an earlier pull wrote them."""
    package = folder / "__init__.py"
    if package.is_file() and MARK in package.read_text("utf-8"):
        for path in (folder / "models").glob("*.py"):
            path.unlink()
