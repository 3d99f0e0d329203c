"""What an attack is, what it was tried on, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from viral.features.verification.arena import Arena
    from viral.features.verification.relations import Relation

Result = Literal["held", "leaked", "not applicable"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one attempt ended; `detail` never holds a value of a row."""

    result: Result
    detail: str


@dataclass(frozen=True, slots=True)
class Target:
    """What an attack is tried on: an object, as a role; `statement` where it is one of several."""

    role: str
    object: str
    relation: Relation | None = None
    statement: str = ""

    @property
    def table(self) -> Relation:
        """The relation of an attack that is tried on relations alone."""
        assert self.relation is not None
        return self.relation


@dataclass(frozen=True, slots=True)
class Attack:
    """One line of the list of attacks: what is tried, what must hold, what a leak means."""

    id: str
    title: str
    must_hold: str
    meaning: str
    fix: str
    targets: Callable[[Arena], Iterable[Target]]
    attempt: Callable[[Arena, Target], Awaitable[Verdict]]
    writes: bool = False


@dataclass(frozen=True, slots=True)
class Family:
    """Attacks of one kind."""

    name: str
    attacks: tuple[Attack, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """One attempt of an attack on one target."""

    family: str
    attack: Attack
    target: Target
    verdict: Verdict


def held(detail: str) -> Verdict:
    """Say that the wall stood."""
    return Verdict("held", detail)


def leaked(detail: str) -> Verdict:
    """Say what came through."""
    return Verdict("leaked", detail)


def rows(count: int, whose: str = "") -> str:
    """Say how many rows there were."""
    return f"{count:,} row{'' if count == 1 else 's'}{whose}"


def not_applicable(reason: str) -> Verdict:
    """Say why there was nothing to attack."""
    return Verdict("not applicable", reason)
