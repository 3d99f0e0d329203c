"""More rows of the victim, marked; and what its rows and the attacker's rights are, to compare."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from viral.features.jobs.types import REFLEXION
from viral.features.verification.parties import MADE, ways_of
from viral.features.verification.rows import insert, make_row
from viral.schema.base import uuid7
from viral.schema.security import APP, SYSTEM

if TYPE_CHECKING:
    from viral.features.verification.arena import Arena
    from viral.features.verification.relations import Relation
    from viral.features.verification.rows import Row

# The use of the API is noted after its answer, by whoever asks.
_NOTED_LATER = {"public.api_usage"}


def new_mark() -> str:
    """Make a text that stands nowhere else."""
    return f"verify-mark-{secrets.token_hex(8)}"


async def plant(arena: Arena, mark: str) -> int:
    """Give the victim one more row in every table that takes it, marked; how many took one."""
    planted = 0
    for relation in arena.catalogue.tables_of_tenants():
        if relation.name not in MADE and await _plant_one(arena, relation, mark):
            planted += 1
    return planted


async def rows_of_victim(arena: Arena) -> object:
    """Return a digest of all that the victim sees of its own."""
    parts = []
    for relation in arena.catalogue.tables_of_tenants():
        columns = ", ".join(relation.allowed(APP, "SELECT"))
        if columns and relation.name in arena.victim.seen - _NOTED_LATER:
            parts.append(
                f"SELECT '{relation.name}' || ROW({columns})::text AS line FROM {relation.name}"
                f" WHERE {arena.victim.is_of(relation)}"
            )
    sql = f"SELECT md5(string_agg(line, '' ORDER BY line)) FROM ({' UNION ALL '.join(parts)}) AS a"
    return (await arena.probes[APP].ask(sql, context=arena.victim.token)).value


async def rights_of_attacker(arena: Arena) -> object:
    """Return what the attacker bought and may do."""
    answer = await arena.probes[SYSTEM].ask(
        "SELECT t.subscription_tier, t.subscription_status, t.monthly_quota, m.role, u.is_operator"
        " FROM public.tenants AS t JOIN public.memberships AS m ON m.tenant_id = t.id"
        " JOIN public.users AS u ON u.id = m.user_id"
        f" WHERE t.id = '{arena.attacker.tenant_id}' AND u.id = '{arena.attacker.user_id}'"
    )
    return answer.rows


async def take_rights_back(arena: Arena) -> None:
    """Undo what an attack that came through gave to the attacker's person, who stays."""
    await arena.probes[SYSTEM].keep(
        "UPDATE public.users SET is_operator = false"
        f" WHERE id = '{arena.attacker.user_id}' AND is_operator"
    )


async def hold_learning_back(arena: Arena) -> None:
    """Let a job of the attacker wait for ever: who asks for learning gets it, and no worker does.

    Made-up results must not be learnt from.
    """
    await arena.probes[APP].keep(
        "INSERT INTO public.job_queue (id, tenant_id, job_type, dedupe_key, scheduled_for)"
        f" VALUES ('{uuid7()}', '{arena.attacker.tenant_id}', '{REFLEXION.name}',"
        f" '{REFLEXION.name}',"
        " '9999-01-01 00:00:00+00')",
        context=arena.attacker.token,
    )


async def _plant_one(arena: Arena, relation: Relation, mark: str) -> bool:
    victim = arena.victim
    row = make_row(relation, victim.rows, tenant_id=victim.tenant_id, own_id=uuid7())
    for each in (_marked(relation, row, mark), row):
        for probe, as_role, context in ways_of(victim, arena.probes):
            answer = await probe.keep(*as_role, insert(relation, each), context=context)
            if answer.state is None:
                return True
    return False


def _marked(relation: Relation, row: Row, mark: str) -> Row:
    """Write the mark wherever a text may stand."""
    texts = {
        column.name: f"'{mark}'"
        for column in relation.columns
        if column.type == "text"
        and not column.words
        and not column.is_generated
        and not any(column.name in each.columns for each in relation.references)
    }
    return row | texts
