"""Which branches there are on this machine: one private file, changed by one process at a time.

Not a table: which server to start depends on the branch that is checked out, and the list has to
survive a restore of the server in place.
"""

from __future__ import annotations

import json
import secrets
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, cast

from viral.database.secrets import explained, locked, read_private, write_private
from viral.errors import AlreadyExists, BadSetting, BranchRefused, NotFound
from viral.postgres.bootstrap import DATABASE
from viral.postgres.branches.provider import Branch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from viral.postgres.branches.provider import Kind, State

FILE_NAME = "branches.json"
MAIN_ID = "br-main"
MAIN = Branch(
    id=MAIN_ID,
    name="main",
    parent_id=None,
    kind="database",
    database=DATABASE,
    is_default=True,
    is_protected=True,
)
_LONGEST_DATABASE = 63


@dataclass(frozen=True, slots=True)
class Held:
    """A database whose sessions are held off; `home` as in Branch."""

    database: str
    home: Path | None = None


@dataclass(slots=True)
class Contents:
    """What the file holds; `main` is not in it but always there."""

    current_id: str = MAIN_ID
    branches: list[Branch] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)

    @property
    def all(self) -> list[Branch]:
        return [MAIN, *self.branches]

    def find(self, name_or_id: str) -> Branch | None:
        return next((each for each in self.all if name_or_id in {each.name, each.id}), None)

    def add(self, branch: Branch) -> None:
        """Add a branch, or raise AlreadyExists."""
        if self.find(branch.name) is not None:
            raise AlreadyExists(
                f"There is a branch {branch.name} already.",
                hint=f"Choose another name, or run `viral branch delete {branch.name}`.",
            )
        self.branches.append(branch)

    def put(self, branch: Branch) -> None:
        """Replace what is known of a branch, found by its id."""
        self.branches = [branch if each.id == branch.id else each for each in self.branches]

    def replace_by(self, branch: Branch, restored: Branch, *, former: str) -> Branch:
        """Let a branch be what was restored for it; return what keeps its former state.

        Its children stay with that state, which they came from.
        """
        kept = replace(branch, id=_new_id(), name=former, expires_at=None)
        self.remove(restored)
        self.branches = [
            replace(each, parent_id=kept.id) if each.parent_id == branch.id else each
            for each in self.branches
        ]
        self.put(
            replace(
                branch,
                kind=restored.kind,
                database=restored.database,
                home=restored.home,
                created_at=restored.created_at,
                parent_at=restored.parent_at,
            )
        )
        self.add(kept)
        return kept

    def remove(self, branch: Branch) -> None:
        """Forget a branch."""
        self.branches = [each for each in self.branches if each.id != branch.id]


class Registry:
    """The branches of one VIRAL_HOME."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._path = home / FILE_NAME

    def read(self) -> Contents:
        """Read the file as it is at this moment; without one there is only `main`."""
        with explained(self._path):
            try:
                text = read_private(self._path)
            except FileNotFoundError:
                return Contents()
        try:
            return _contents(json.loads(text), self._home)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BadSetting(
                f"{self._path} is damaged.",
                hint="Restore it from a backup; without it only the branch main is known.",
            ) from error

    @contextmanager
    def change(self) -> Iterator[Contents]:
        """Change the contents within the block; they are on the disk when it ends without error."""
        with explained(self._path):
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
            with locked(self._path.with_name(f"{FILE_NAME}.lock")):
                contents = self.read()
                yield contents
                document = json.dumps(_document(contents, self._home), indent=2)
                write_private(self._path, document + "\n")

    def get(self, name_or_id: str) -> Branch:
        """Find a branch, or raise NotFound."""
        if (found := self.read().find(name_or_id)) is None:
            raise no_branch(name_or_id)
        return found

    def current(self) -> Branch:
        """Return the branch that is checked out; raise BranchRefused if it cannot be used."""
        contents = self.read()
        branch = contents.find(contents.current_id)
        fix = "Go back with `viral branch checkout main`."
        if branch is None:
            raise BranchRefused("The branch that is checked out was deleted.", hint=fix)
        if branch.state != "ready":
            raise BranchRefused(f"The branch {branch.name} is not whole.", hint=fix)
        if branch.home is not None and not branch.home.is_dir():
            raise BranchRefused(
                f"The server of the branch {branch.name} is gone: {branch.home} is missing.",
                hint=fix,
            )
        return branch

    def check_out(self, branch: Branch) -> None:
        """Make the commands of this installation use a branch."""
        with self.change() as contents:
            contents.current_id = branch.id

    def home_of(self, branch: Branch) -> Path:
        """Return the folder for the server of a branch that gets one of its own."""
        return self._home / "branches" / branch.id


def no_branch(name_or_id: str) -> NotFound:
    """Say that a branch is not there, or no longer."""
    return NotFound(
        f"There is no branch {name_or_id!r}.", hint="See them with `viral branch list`."
    )


def new_branch(name: str, *, parent_id: str, kind: Kind) -> Branch:
    """Describe a branch that is about to be made, with an id and a database of its own."""
    identity = _new_id()
    return Branch(
        id=identity,
        name=name,
        parent_id=parent_id,
        kind=kind,
        database=database_name(name, identity) if kind == "database" else DATABASE,
        state="making",
    )


def _new_id() -> str:
    return f"br-{secrets.token_hex(6)}"


def database_name(name: str, identity: str) -> str:
    """Derive a readable name of a database that no other branch has."""
    word = "".join(each if each.isascii() and each.isalnum() else "_" for each in name.lower())
    tail = sha256(identity.encode()).hexdigest()[:6]
    return f"{DATABASE}_{word}"[: _LONGEST_DATABASE - 7] + f"_{tail}"


def _contents(document: Mapping[str, object], home: Path) -> Contents:
    branches = cast("list[dict[str, object]]", document["branches"])
    held = cast("list[dict[str, str | None]]", document["held"])
    return Contents(
        current_id=str(document["current"]),
        branches=[_branch(each, home) for each in branches],
        held=[Held(str(each["database"]), _path(each["home"], home)) for each in held],
    )


def _document(contents: Contents, home: Path) -> dict[str, object]:
    return {
        "current": contents.current_id,
        "branches": [_fields(each, home) for each in contents.branches],
        "held": [
            {"database": each.database, "home": _relative(each.home, home)}
            for each in contents.held
        ],
    }


def _branch(fields: Mapping[str, object], home: Path) -> Branch:
    return Branch(
        id=str(fields["id"]),
        name=str(fields["name"]),
        parent_id=str(fields["parent_id"]),
        kind=cast("Kind", fields["kind"]),
        database=str(fields["database"]),
        home=_path(fields["home"], home),
        created_at=_moment(fields["created_at"]),
        parent_at=_moment(fields["parent_at"]),
        expires_at=_moment(fields["expires_at"]),
        is_protected=bool(fields["is_protected"]),
        state=cast("State", fields["state"]),
    )


def _fields(branch: Branch, home: Path) -> dict[str, object]:
    return {
        "id": branch.id,
        "name": branch.name,
        "parent_id": branch.parent_id,
        "kind": branch.kind,
        "database": branch.database,
        "home": _relative(branch.home, home),
        "created_at": branch.created_at and branch.created_at.isoformat(),
        "parent_at": branch.parent_at and branch.parent_at.isoformat(),
        "expires_at": branch.expires_at and branch.expires_at.isoformat(),
        "is_protected": branch.is_protected,
        "state": branch.state,
    }


def _moment(value: object) -> datetime | None:
    return None if value is None else datetime.fromisoformat(str(value))


def _path(value: object, home: Path) -> Path | None:
    # A folder below VIRAL_HOME moves with it; joining leaves an absolute one as it is.
    return None if value is None else home / str(value)


def _relative(folder: Path | None, home: Path) -> str | None:
    if folder is None:
        return None
    return str(folder.relative_to(home) if folder.is_relative_to(home) else folder)
