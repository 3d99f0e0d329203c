"""Keys as a way across: children of another tenant's parent, unique keys that answer questions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.features.verification.arena import on_tables
from viral.features.verification.rows import insert, make_row
from viral.features.verification.verdicts import (
    Attack,
    Family,
    Target,
    Verdict,
    held,
    leaked,
    not_applicable,
)
from viral.schema.base import uuid7
from viral.schema.security import APP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.features.verification.arena import Arena
    from viral.features.verification.relations import Key, Reference, Relation
    from viral.features.verification.rows import Row

_UNIQUE = "23505"
_FOREIGN = "23503"
_NOW = "SET CONSTRAINTS ALL IMMEDIATE"
# They belong to nobody, or are the tenant itself: a key to them needs no second column.
_ALONE = {"public.tenants", "public.users"}


async def adopt_parent(arena: Arena, target: Target) -> Verdict:
    """A21: a child of the attacker that points at a parent of the victim."""
    relation, reference = target.table, _reference(target)
    if not _holds_tenant(arena, relation, reference):
        return leaked("the key does not hold the tenant: it may point at any tenant's row")
    parent = arena.victim.rows.get(reference.target)
    if parent is None:
        return held("the key holds the tenant on both sides")
    row = _own_row(arena, relation) | _pointing(relation, reference, parent)
    strange = {name: f"'{uuid7()}'" for name in _pointing(relation, reference, parent)}
    answer = await arena.ask(target, insert(relation, row), _NOW)
    if answer.state is None:
        return leaked("the child was stored")
    same = await arena.ask(target, insert(relation, row | strange), _NOW)
    if answer.state != same.state:
        return leaked(f"{answer.state} for the victim's id, {same.state} for a random one")
    return held(f"refused with {answer.state}, like a random id")


async def change_parent(arena: Arena, target: Target) -> Verdict:
    """A22: point one's own child at a parent of the victim."""
    relation, reference = target.table, _reference(target)
    parent = arena.victim.rows.get(reference.target)
    mine = arena.attacker.is_row(relation)
    if parent is None or mine is None:
        return not_applicable("no row could be put there")
    changes = _pointing(relation, reference, parent)
    if not changes:
        return held("the key is the tenant alone")
    assignments = ", ".join(f"{name} = {value}" for name, value in changes.items())
    answer = await arena.ask(target, f"UPDATE {relation.name} SET {assignments} WHERE {mine}", _NOW)
    if answer.state is None:
        return leaked("the child points at the victim's parent")
    return held(answer.words)


async def ask_key(arena: Arena, target: Target) -> Verdict:
    """A23: store a value that the victim holds under a unique key, and see whether it is taken."""
    relation, key = target.table, _key(target)
    taken = {name: arena.victim.rows.get(relation.name, {}).get(name) for name in key.columns}
    if None in taken.values():
        return not_applicable("the victim holds no value under it")
    if all(relation.column(name).type == "uuid" for name in key.columns):
        return not_applicable("an id carries 74 random bits: nobody can ask for it")
    row = _own_row(arena, relation)
    values = {name: str(value) for name, value in taken.items()}
    answer = await arena.ask(target, insert(relation, row | values))
    if answer.state == _UNIQUE:
        return leaked("the answer tells that another tenant holds the value")
    mine = arena.attacker.is_row(relation)
    assignments = ", ".join(f"{name} = {value}" for name, value in values.items())
    if mine is not None:
        change = f"UPDATE {relation.name} SET {assignments} WHERE {mine}"
        answer = await arena.ask(target, change)
    if answer.state == _UNIQUE:
        return leaked("the answer tells that another tenant holds the value")
    return held(answer.words)


async def conflict_with_id(arena: Arena, target: Target) -> Verdict:
    """A19: INSERT ... ON CONFLICT with an id of the victim answers like one with a random id."""
    relation = target.table
    key, theirs = relation.primary_key, arena.victim.rows.get(relation.name, {})
    if relation.owner_column not in key or relation.owner_column == "id":
        return not_applicable("its ids carry 74 random bits: nobody can ask for one")
    if "id" not in key or "id" not in theirs:
        return not_applicable("it has no id of its own")
    row = _own_row(arena, relation)
    do_nothing = "ON CONFLICT DO NOTHING"
    at_victim = await arena.ask(
        target, f"{insert(relation, row | {'id': theirs['id']})} {do_nothing}"
    )
    at_random = await arena.ask(target, f"{insert(relation, row)} {do_nothing}")
    if (at_victim.state, at_victim.touched) != (at_random.state, at_random.touched):
        return leaked("the id of the victim is answered in another way than a random one")
    return held(f"{at_victim.words}, like a random id")


def _references(arena: Arena) -> Iterator[Target]:
    """Aim at every foreign key between tables of tenants; the statement is the key's name."""
    owned = {relation.name for relation in arena.catalogue.tables_of_tenants()}
    for relation in arena.catalogue.tables_of_tenants():
        for reference in relation.references:
            if reference.target in owned - _ALONE:
                yield Target(APP, relation.name, relation, reference.name)


def _shared_keys(arena: Arena) -> Iterator[Target]:
    """Aim at every unique key that is over all tenants; the statement is its name."""
    for relation in arena.catalogue.tables_of_tenants():
        for key in relation.keys:
            if key.columns and relation.owner_column not in key.columns:
                yield Target(APP, relation.name, relation, key.name)


def _reference(target: Target) -> Reference:
    return next(each for each in target.table.references if each.name == target.statement)


def _key(target: Target) -> Key:
    return next(each for each in target.table.keys if each.name == target.statement)


def _holds_tenant(arena: Arena, relation: Relation, reference: Reference) -> bool:
    parent = arena.catalogue.find(reference.target)
    return any(
        name == relation.owner_column and target == parent.owner_column
        for name, target in zip(reference.columns, reference.target_columns, strict=True)
    )


def _pointing(relation: Relation, reference: Reference, parent: Row) -> Row:
    """Return the columns of a key that say which row of a tenant is meant."""
    return {
        name: parent[target]
        for name, target in zip(reference.columns, reference.target_columns, strict=True)
        if name != relation.owner_column and target in parent
    }


def _own_row(arena: Arena, relation: Relation) -> Row:
    return make_row(
        relation, arena.attacker.rows, tenant_id=arena.attacker.tenant_id, own_id=uuid7()
    )


KEYS = Family(
    "Reaching across by keys",
    (
        Attack(
            "A19",
            "INSERT ... ON CONFLICT with an id of the victim",
            "the same answer as for a random id",
            "The answer tells which ids another client holds.",
            "Let the primary key begin with tenant_id.",
            on_tables,
            conflict_with_id,
            writes=True,
        ),
        Attack(
            "A21",
            "a child that points at a parent of the victim",
            f"refused with {_FOREIGN}, as for a random id",
            "A row of one client hangs on a row of another: a join shows it, a deletion takes it.",
            "FOREIGN KEY (tenant_id, parent_id) REFERENCES parent (tenant_id, id).",
            _references,
            adopt_parent,
            writes=True,
        ),
        Attack(
            "A22",
            "move one's own child to a parent of the victim",
            f"refused with {_FOREIGN}",
            "A row of one client hangs on a row of another: a join shows it, a deletion takes it.",
            "FOREIGN KEY (tenant_id, parent_id) REFERENCES parent (tenant_id, id).",
            _references,
            change_parent,
            writes=True,
        ),
        Attack(
            "A23",
            "a unique key as an oracle",
            "the same answer as for a random value",
            "By trying values, one client learns which ones another client holds.",
            "Let the unique index begin with tenant_id.",
            _shared_keys,
            ask_key,
            writes=True,
        ),
    ),
)
