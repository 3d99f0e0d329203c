"""Functions that run with the rights of their owner, called with what belongs to the victim."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from viral.features.verification.relations import TENANT_ROLES
from viral.features.verification.rows import sample
from viral.features.verification.verdicts import (
    Attack,
    Family,
    Target,
    Verdict,
    held,
    leaked,
)
from viral.schema.base import uuid7

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.features.verification.arena import Arena
    from viral.features.verification.probe import Answer
    from viral.features.verification.relations import Routine

# It makes a tenant, and takes no id that exists.
_MAKES = "viral.create_tenant"


async def call_with_victim(arena: Arena, target: Target) -> Verdict:
    """A26: the answer to an id of the victim is the answer to a random one."""
    routine = _routine(arena, target)
    if target.role not in routine.callers and "PUBLIC" not in routine.callers:
        return held("it may not be called")
    if _takes_tenant(routine):
        return leaked("it takes a tenant's id from its caller")
    nobody = await _call(arena, target, routine, uuid7())
    for identity in _ids(arena):
        answer = await _call(arena, target, routine, identity)
        if _shape(answer) != _shape(nobody):
            return leaked("it answers to an id of the victim in another way than to a random one")
    return held(f"{nobody.words}, like a random id")


async def call_by_anybody(arena: Arena, target: Target) -> Verdict:
    """A26: who may call it is said by name, and where it looks for names is fixed."""
    routine = _routine(arena, target)
    if "PUBLIC" in routine.callers:
        return leaked("PUBLIC may call it")
    if not routine.has_fixed_path:
        return leaked("it looks for names where its caller says")
    return held("called by name only, with a fixed search_path")


async def _call(arena: Arena, target: Target, routine: Routine, identity: UUID) -> Answer:
    values = ", ".join(
        f"CAST({sample(each, identity)} AS {each})" for each in routine.argument_types
    )
    return await arena.ask(target, f"SELECT * FROM {routine.name}({values})")


def _shape(answer: Answer) -> tuple[str | None, int, tuple[tuple[object, ...], ...]]:
    """Return what an answer tells; rows of random values are compared by their number."""
    return answer.state, answer.touched, answer.rows if len(answer.rows) == 1 else ()


def _ids(arena: Arena) -> list[UUID]:
    """List ids of the victim: its own, its member's, and one of every row."""
    rows = (row["id"].strip("'") for row in arena.victim.rows.values() if "id" in row)
    return list(dict.fromkeys([arena.victim.tenant_id, *(UUID(each) for each in rows)]))


def _takes_tenant(routine: Routine) -> bool:
    return routine.name != _MAKES and any("tenant" in name for name in routine.argument_names)


def _routine(arena: Arena, target: Target) -> Routine:
    return next(each for each in arena.catalogue.routines if each.signature == target.object)


def _by_tenant_roles(arena: Arena) -> Iterator[Target]:
    for routine in arena.catalogue.routines:
        for role in TENANT_ROLES:
            yield Target(role, routine.signature)


def _by_public(arena: Arena) -> Iterator[Target]:
    for routine in arena.catalogue.routines:
        yield Target("PUBLIC", routine.signature)


FUNCTIONS = Family(
    "Functions with the rights of their owner",
    (
        Attack(
            "A26",
            "call it with ids of the victim",
            "the same answer as for a random id; no tenant's id among its arguments",
            "The function passes row security for whoever names a client.",
            "Let it act on viral.tenant_id(), and take no tenant's id.",
            _by_tenant_roles,
            call_with_victim,
            writes=True,
        ),
        Attack(
            "A26",
            "call it as anybody, or with names of the caller's own",
            "not for PUBLIC; search_path fixed",
            "Every role may use the rights of its owner.",
            "REVOKE ALL ON FUNCTION ... FROM PUBLIC; SET search_path = ''.",
            _by_public,
            call_by_anybody,
        ),
    ),
)
