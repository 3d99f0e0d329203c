"""The history of the schema: the files of its revisions, their order, and what was applied.

A revision is `versions/<date>_<id>_<name>.py` and the folder of scripts of the same name. One
revision follows another; there are no branches. Files are read here, not run: only the steps of a
revision that is to be applied are loaded.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from viral.database.steps import AnyStep, declared_by
from viral.errors import BadScript, HistoryBroken, MigrationFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType

    from viral.database.bookkeeping import Memory, Record

MIGRATIONS = Path(__file__).parents[1] / "migrations"
Direction = Literal["up", "down"]

_RESTORE = "Restore it from version control, or use the release that has it."


@dataclass(frozen=True, slots=True)
class Revision:
    """One change of the schema, as its files say."""

    id: str
    parent: str | None
    path: Path
    checksum: str
    # Why there is no way back, where there is none.
    irreversible: str | None

    @property
    def name(self) -> str:
        """The name of its file."""
        return self.path.stem

    def steps(self, direction: Direction) -> list[AnyStep]:
        """Load the file and return what it declares; raise where there is no way back."""
        if direction == "down" and self.irreversible is not None:
            raise MigrationFailed(
                f"{self.name} cannot be undone: {self.irreversible}.",
                hint="Restore a backup, or write a migration that makes what you need.",
            )
        function = "upgrade" if direction == "up" else "downgrade"
        declare = getattr(_load(self.path), function, None)
        if declare is None:
            raise BadScript(
                f"{self.path.name} has no {function}().",
                hint='Write one, or say why there is no way back: IRREVERSIBLE = "...".',
            )
        return declared_by(declare)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with the history, and what to do."""

    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class History:
    """All revisions; `revisions` are those from the first to the last, as far as they follow."""

    files: tuple[Revision, ...]
    revisions: tuple[Revision, ...]
    problems: tuple[Problem, ...]

    def find(self, revision: str) -> Revision | None:
        """Return a revision by its id."""
        return next((each for each in self.files if each.id == revision), None)

    def up_to(self, revision: str | None) -> tuple[Revision, ...]:
        """Return a revision and all before it."""
        ids = [each.id for each in self.revisions]
        return self.revisions[: ids.index(revision) + 1] if revision in ids else ()


def read_history(folder: Path = MIGRATIONS) -> History:
    """Read the files of all revisions; what is wrong with them is told, not raised."""
    revisions: list[Revision] = []
    problems: list[Problem] = []
    for path in sorted((folder / "versions").glob("[!_.]*.py")):
        found = _read(path)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            revisions.append(found)
    problems += _graph_problems(revisions)
    return History(tuple(revisions), tuple(_in_order(revisions)), tuple(problems))


def compare(history: History, memory: Memory) -> list[Problem]:
    """List what is wrong with the files, and where they are not those that were applied."""
    is_known = memory.current is None or history.find(memory.current)
    return [
        *history.problems,
        *_missing(history, memory),
        *_edited(history, memory.records.values()),
        # The order can only be judged where the files have one.
        *(_reordered(history, memory) if is_known and not history.problems else ()),
    ]


def refuse_broken(problems: list[Problem]) -> None:
    """Raise HistoryBroken for the first problem."""
    if problems:
        first = problems[0]
        more = f" ({len(problems) - 1} more: `viral migrate status`)" if problems[1:] else ""
        raise HistoryBroken(first.message + more, hint=first.hint)


def _read(path: Path) -> Revision | Problem:
    try:
        values = _constants(path.read_text("utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        return Problem(f"{path.name} cannot be read: {error}.", _RESTORE)
    revision, parent = values.get("revision"), values.get("down_revision")
    if not isinstance(revision, str) or not isinstance(parent, str | None):
        return Problem(
            f"{path.name} does not say which revision it is and which it follows.",
            "Write `revision` and `down_revision` as plain text, one predecessor at most.",
        )
    reason = values.get("IRREVERSIBLE")
    return Revision(
        id=revision,
        parent=parent,
        path=path,
        checksum=_checksum(path),
        irreversible=None if reason is None else str(reason).rstrip("."),
    )


def _constants(source: str) -> dict[str, object]:
    """Read the plain values that a module gives names to, without running it."""
    values: dict[str, object] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, value = node.targets[0].id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            name, value = node.target.id, node.value
        else:
            continue
        if isinstance(value, ast.Constant):
            values[name] = value.value
        elif name == "down_revision":
            values[name] = NotImplemented
    return values


def _checksum(path: Path) -> str:
    """Digest the file and its folder; the ends of lines differ between checkouts."""
    digest = hashlib.sha256()
    folder = path.with_suffix("")
    for file in (path, *sorted(folder.rglob("*"))):
        parts = file.relative_to(path.parent).parts
        if file.is_file() and not any(part.startswith((".", "__pycache__")) for part in parts):
            content = file.read_bytes().replace(b"\r\n", b"\n")
            digest.update(f"{'/'.join(parts)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _load(path: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"revision_{path.stem}", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except (ImportError, NameError, AttributeError) as error:
        raise BadScript(f"{path.name} cannot be loaded: {error}.") from error
    return module


def _graph_problems(revisions: list[Revision]) -> Iterator[Problem]:
    by_id: dict[str, list[Revision]] = defaultdict(list)
    followers: dict[str | None, list[Revision]] = defaultdict(list)
    for revision in revisions:
        by_id[revision.id].append(revision)
        followers[revision.parent].append(revision)
    for same in by_id.values():
        if len(same) > 1:
            yield Problem(
                f"Several files are revision {same[0].id}: {_names(same)}.",
                "Give the one that was not applied anywhere an id of its own.",
            )
    for parent, following in followers.items():
        if parent is not None and parent not in by_id:
            yield Problem(f"No file is {parent}, which {_names(following)} follows.", _RESTORE)
        if len({each.id for each in following}) > 1:
            yield Problem(
                f"Several revisions {f'follow {parent}' if parent else 'are the first'}:"
                f" {_names(following)}.",
                "Let one follow the other: in the one that was not applied anywhere, set"
                " down_revision to the other's revision.",
            )
    if revisions and None not in followers:
        yield Problem(
            "No revision is the first.", "Restore the files as they were from version control."
        )


def _in_order(revisions: Iterable[Revision]) -> Iterator[Revision]:
    following: dict[str | None, Revision] = {}
    for revision in revisions:
        following.setdefault(revision.parent, revision)
    follower = following.get(None)
    while follower is not None:
        yield follower
        # A circle ends where everybody was named.
        follower = following.pop(follower.id, None)


def _missing(history: History, memory: Memory) -> Iterator[Problem]:
    if len(memory.heads) > 1:
        yield Problem(
            f"The database claims to be at several revisions: {', '.join(memory.heads)}.",
            "Somebody wrote into viral.alembic_version: leave the one that is right.",
        )
    for revision in dict.fromkeys((*memory.records, *memory.heads)):
        if history.find(revision) is None:
            record = memory.records.get(revision)
            name = record.name if record else revision
            yield Problem(f"{name} was applied here, and its file is missing.", _RESTORE)


def _edited(history: History, records: Iterable[Record]) -> Iterator[Problem]:
    for record in records:
        revision = history.find(record.revision)
        if revision is None or revision.checksum == record.checksum:
            continue
        if record.state == "applied":
            yield Problem(
                f"{revision.name} was edited after it was applied.",
                "Put it back as it was (git log shows it), and write the change as a migration of"
                " its own: `viral migrate dev --name NAME`.",
            )
        elif record.steps_done:
            yield Problem(
                f"{revision.name} was edited while it was half done ({record.steps_done} of"
                f" {record.steps_total} steps).",
                "Put it back as it was and deploy. If it cannot succeed so: take back by hand what"
                f" its first {record.steps_done} steps did, then `viral migrate resolve"
                f" {revision.id} --rolled-back`.",
            )


def _reordered(history: History, memory: Memory) -> Iterator[Problem]:
    past = {each.id: each for each in history.up_to(memory.current)}
    if not memory.records:
        return
    for revision in past.values():
        if revision.id not in memory.records:
            yield Problem(
                f"{revision.name} stands before {memory.current}, which was applied without it.",
                "Let it follow the last revision: change its down_revision.",
            )
    for record in memory.records.values():
        if record.state == "applied" and record.revision not in past:
            yield Problem(
                f"{record.name} was applied, but the database is at {memory.current or 'nothing'},"
                " which does not follow it.",
                "Restore the order of the files from version control. If that is not it, somebody"
                " wrote into viral.alembic_version.",
            )


def _names(revisions: Iterable[Revision]) -> str:
    return " and ".join(sorted(each.path.name for each in revisions))
