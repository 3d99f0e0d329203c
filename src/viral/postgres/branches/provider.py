"""What a branch is, and what keeps branches: this machine or Neon. The words are Neon's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from viral.errors import BadInput, BranchRefused

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    # (what is done, how much of it is done, how much there is), as the progress bar takes it.
    Advance = Callable[[str, int, int | None], None]

LONGEST_NAME_BYTES = 63
# As git takes them: `feature/video-generation`; an id of a branch is no name.
_NAME = re.compile(r"(?!br-)[A-Za-z0-9](?:[A-Za-z0-9._-]|/(?=[A-Za-z0-9]))*")

Kind = Literal["database", "cluster", "neon"]
# making and deleting end by themselves, or are cleaned up by the next command.
State = Literal["making", "ready", "deleting"]


@dataclass(frozen=True, slots=True)
class Branch:
    """One branch; `home` is the folder of its server where that is not the main one."""

    id: str
    name: str
    parent_id: str | None
    kind: Kind
    database: str
    home: Path | None = None
    created_at: datetime | None = None
    # The moment of the parent that it began as; None is the moment it was made.
    parent_at: datetime | None = None
    expires_at: datetime | None = None
    is_default: bool = False
    is_protected: bool = False
    state: State = "ready"
    size_bytes: int | None = None

    def is_expired(self, now: datetime) -> bool:
        """Say whether its time is over."""
        return self.expires_at is not None and self.expires_at <= now


class BranchProvider(Protocol):
    """Keeps branches. Names are unique; every method raises a ViralError that says what to do."""

    async def create(
        self,
        name: str,
        *,
        parent: str | None,
        at: datetime | None,
        schema_only: bool,
        expires_at: datetime | None,
        protected: bool,
        advance: Advance,
    ) -> Branch:
        """Make a branch of `parent` (a name or id; None is the default branch), as it is or was."""
        ...

    async def list(self) -> list[Branch]:
        """List all branches, the default one first, with their sizes where they are known."""
        ...

    async def get(self, name_or_id: str) -> Branch:
        """Find a branch, or raise NotFound."""
        ...

    async def delete(self, branch: Branch) -> None:
        """Delete a branch for good; see `refuse_deletion`."""
        ...

    async def restore(self, branch: Branch, at: datetime, *, advance: Advance) -> Branch:
        """Set a branch back to a moment; return the branch that keeps its former state."""
        ...

    async def connection_string(self, branch: Branch, *, pooled: bool, password: bool) -> str:
        """Give the address for the app, through the pooler or past it."""
        ...

    async def protect(self, branch: Branch, *, is_protected: bool) -> Branch:
        """Protect a branch from deletion and restoring, or no longer."""
        ...


def check_name(name: str) -> str:
    """Return the name of a branch to be made, or raise BadInput."""
    is_path = not any(part in name for part in ("..", "./")) and not name.endswith(".lock")
    if not (_NAME.fullmatch(name) and is_path and len(name.encode()) <= LONGEST_NAME_BYTES):
        raise BadInput(
            f"{name!r} is no name of a branch.",
            hint=f"Use up to {LONGEST_NAME_BYTES} letters, digits, `-`, `_`, `.` and single `/`,"
            " as in feature/video-generation.",
        )
    return name


def refuse_deletion(branch: Branch, branches: list[Branch]) -> None:
    """Raise BranchRefused for the default branch, a protected one, and one with children."""
    if branch.is_default:
        raise BranchRefused(f"{branch.name} is the default branch and cannot be deleted.")
    if branch.is_protected:
        raise BranchRefused(
            f"{branch.name} is protected.", hint=f"Run `viral branch unprotect {branch.name}`."
        )
    if children := [each.name for each in branches if each.parent_id == branch.id]:
        raise BranchRefused(
            f"{branch.name} has branches of its own: {', '.join(children)}.",
            hint="Delete those first.",
        )


def kept_name(name: str, at: datetime) -> str:
    """Name the branch that keeps the state before a restore, within the longest name."""
    suffix = f"_before_{at:%Y%m%dT%H%M%S}"
    return name[: LONGEST_NAME_BYTES - len(suffix)].rstrip("./") + suffix
