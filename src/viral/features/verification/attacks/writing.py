"""Writing into another tenant: new rows, moved rows, changed rows, whole tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.features.verification.arena import on_all_tables, on_tables
from viral.features.verification.rows import insert, make_row
from viral.features.verification.verdicts import (
    Attack,
    Family,
    Verdict,
    held,
    leaked,
    not_applicable,
    rows,
)
from viral.schema.base import uuid7

if TYPE_CHECKING:
    from viral.features.verification.arena import Arena
    from viral.features.verification.probe import Answer
    from viral.features.verification.relations import Relation
    from viral.features.verification.verdicts import Target

_NO_ROW = not_applicable("no row could be put there")
_NO_PARTITION = "23514"
_CHECK = "State WITH CHECK like USING: tenant_only() does both."


async def insert_for_victim(arena: Arena, target: Target) -> Verdict:
    """A15: a row that belongs to the victim. What a key stops has passed the wall before."""
    row = make_row(
        target.table, arena.victim.rows, tenant_id=arena.victim.tenant_id, own_id=uuid7()
    )
    allowed = set(target.table.allowed(target.role, "INSERT"))
    shown = {name: value for name, value in row.items() if not allowed or name in allowed}
    if target.table.owner_column not in shown:
        shown[str(target.table.owner_column)] = f"'{arena.victim.tenant_id}'"
    return _refused(await arena.ask(target, insert(target.table, shown)))


async def move_to_victim(arena: Arena, target: Target) -> Verdict:
    """A16: give one's own row to the victim."""
    owner = target.table.owner_column
    answer = await arena.ask(
        target,
        f"UPDATE {target.object} SET {owner} = '{arena.victim.owner_of(target.table)}'"
        f" WHERE {arena.attacker.is_of(target.table)}",
    )
    if answer.state is None and not answer.touched:
        return not_applicable("the attacker has no row there")
    return _refused(answer)


async def update_by_id(arena: Arena, target: Target) -> Verdict:
    """A17: change a row of the victim."""
    key = arena.victim.is_row(target.table)
    if key is None:
        return _NO_ROW
    column = _writable(target.table, target.role)
    return _untouched(
        await arena.ask(target, f"UPDATE {target.object} SET {column} = {column} WHERE {key}")
    )


async def delete_by_id(arena: Arena, target: Target) -> Verdict:
    """A18: delete a row of the victim."""
    key = arena.victim.is_row(target.table)
    if key is None:
        return _NO_ROW
    return _untouched(await arena.ask(target, f"DELETE FROM {target.object} WHERE {key}"))


async def merge_by_id(arena: Arena, target: Target) -> Verdict:
    """A20: the same through MERGE."""
    key = arena.victim.is_row(target.table)
    if key is None:
        return _NO_ROW
    return _untouched(
        await arena.ask(
            target,
            f"MERGE INTO {target.object} USING (SELECT 1) AS one ON {key} WHEN MATCHED THEN DELETE",
        )
    )


async def change_without_tenant(arena: Arena, target: Target) -> Verdict:
    """A06: DELETE and UPDATE where no tenant is named."""
    column = _writable(target.table, target.role)
    condition = arena.victim.is_row(target.table)
    if condition is None:
        return _NO_ROW
    for statement in (
        f"DELETE FROM {target.object} WHERE {condition}",
        f"UPDATE {target.object} SET {column} = {column} WHERE {condition}",
    ):
        answer = await arena.probe(target).ask(statement)
        if answer.state is None:
            return leaked(f"{rows(answer.touched)} reached, and nothing was refused")
    return held(answer.words)


async def copy_in(arena: Arena, target: Target) -> Verdict:
    """A31: COPY FROM would write rows past the policy."""
    relation = target.table
    state = await arena.probe(target).copy_in(
        relation.schema, relation.plain_name, context=arena.attacker.token
    )
    return held(f"refused with {state}") if state else leaked("COPY FROM was accepted")


async def truncate(arena: Arena, target: Target) -> Verdict:
    """A32: empty the table, with and without what points at it."""
    for ending in ("", " CASCADE"):
        answer = await arena.ask(target, f"TRUNCATE {target.object}{ending}")
        if answer.state != "42501":
            return leaked("the role may, and row security does not see TRUNCATE")
    return held(answer.words)


def _writable(relation: Relation, role: str) -> str:
    """Name a column that the role may change; else one that it may not."""
    allowed = relation.allowed(role, "UPDATE")
    return next(iter(allowed), relation.columns[0].name)


def _refused(answer: Answer) -> Verdict:
    """Judge a write that the policy or the lack of a privilege has to refuse itself."""
    if answer.state is None:
        return leaked(f"{rows(answer.touched)} written")
    if answer.state.startswith("23") and answer.state != _NO_PARTITION:
        return leaked(f"the policy let it through; a key stopped it ({answer.state})")
    return held(answer.words)


def _untouched(answer: Answer) -> Verdict:
    if answer.state is None and answer.touched:
        return leaked(rows(answer.touched, " of the victim"))
    if answer.state is not None and answer.state.startswith("23"):
        return leaked(f"the row was reached; a key stopped it ({answer.state})")
    return held(answer.words)


WRITING = Family(
    "Writing into another tenant",
    (
        Attack(
            "A06",
            "UPDATE and DELETE with no tenant",
            "refused",
            "A statement of a forgotten context changes the rows of all tenants.",
            "Give it the policy tenant_only().",
            on_tables,
            change_without_tenant,
            writes=True,
        ),
        Attack(
            "A15",
            "INSERT a row of the victim",
            "refused by the policy",
            "One client can plant rows in the account of another.",
            _CHECK,
            on_tables,
            insert_for_victim,
            writes=True,
        ),
        Attack(
            "A16",
            "move one's own row to the victim",
            "refused by the policy",
            "One client can push rows into the account of another.",
            _CHECK,
            on_tables,
            move_to_victim,
            writes=True,
        ),
        Attack(
            "A17",
            "UPDATE a row of the victim by its key",
            "0 rows, or refused",
            "One client can change the rows of another.",
            "Enable and force row security on it.",
            on_tables,
            update_by_id,
            writes=True,
        ),
        Attack(
            "A18",
            "DELETE a row of the victim by its key",
            "0 rows, or refused",
            "One client can delete the rows of another.",
            "Enable and force row security on it.",
            on_tables,
            delete_by_id,
            writes=True,
        ),
        Attack(
            "A20",
            "MERGE into a row of the victim",
            "0 rows, or refused",
            "One client can delete the rows of another.",
            "Enable and force row security on it.",
            on_tables,
            merge_by_id,
            writes=True,
        ),
        Attack(
            "A31",
            "COPY ... FROM STDIN",
            "refused",
            "Rows of any tenant are written past the policy.",
            "Enable row security on it: COPY FROM is refused under it.",
            on_tables,
            copy_in,
            writes=True,
        ),
        Attack(
            "A32",
            "TRUNCATE, with and without CASCADE",
            "refused",
            "One statement deletes the rows of all tenants.",
            "REVOKE TRUNCATE on it; no table belongs to a role with a login.",
            on_all_tables,
            truncate,
            writes=True,
        ),
    ),
)
