"""Reading another tenant's rows: tables, partitions and views, by every way SELECT has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.features.verification.arena import on_relations, on_tables
from viral.features.verification.relations import ATTACKERS
from viral.features.verification.verdicts import (
    Attack,
    Family,
    Target,
    Verdict,
    held,
    leaked,
    not_applicable,
    rows,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.features.verification.arena import Arena

_DIVISION_BY_ZERO = "22012"
_ROW_SECURITY = "Enable and force row security on it, and give it the policy tenant_only()."


async def select_by_tenant(arena: Arena, target: Target) -> Verdict:
    """A01: ask for the victim's rows by their owner."""
    condition = arena.victim.is_of(target.table)
    answer = await arena.ask(target, f"SELECT 1 FROM {target.object} WHERE {condition}")
    if answer.state:
        return held(answer.words)
    if answer.touched:
        return leaked(rows(answer.touched, " of the victim"))
    if target.object not in arena.victim.seen:
        return not_applicable("the victim sees no row of its own there")
    return held("0 rows")


async def select_by_id(arena: Arena, target: Target) -> Verdict:
    """A02: ask for a row of the victim by its key."""
    key = arena.victim.is_row(target.table)
    if key is None:
        return not_applicable("no row could be put there")
    return await _sees(arena, target, f"SELECT 1 FROM {target.object} WHERE {key}")


async def select_all(arena: Arena, target: Target) -> Verdict:
    """A01: ask for every row that is not the attacker's own."""
    mine = arena.attacker.is_of(target.table)
    return await _sees(arena, target, f"SELECT 1 FROM {target.object} WHERE NOT ({mine}) LIMIT 100")


async def switch_off(arena: Arena, target: Target) -> Verdict:
    """A13: switch row security off for the session, then read."""
    answer = await arena.ask(
        target, "SET LOCAL row_security = off", f"SELECT 1 FROM {target.object} LIMIT 1"
    )
    return held(answer.words) if answer.state else leaked("the statement was let through")


async def divide(arena: Arena, target: Target) -> Verdict:
    """A28: an error that only a row of the victim raises."""
    condition = arena.victim.is_of(target.table)
    answer = await arena.ask(
        target,
        f"SELECT count(1 / (CASE WHEN {condition} THEN 0 ELSE 1 END)) FROM {target.object}",
    )
    if answer.state == _DIVISION_BY_ZERO:
        return leaked("the error tells that the row is there")
    return held(answer.words)


async def copy_out(arena: Arena, target: Target) -> Verdict:
    """A30: COPY the whole table, and look for the victim in it."""
    owner = target.table.owner_column
    found = await arena.probe(target).copy_out(
        f"SELECT {owner} FROM {target.object}", context=arena.attacker.token
    )
    if isinstance(found, str):
        return held(f"refused with {found}")
    mine = str(arena.attacker.owner_of(target.table)).encode()
    others = sum(line != mine for line in found.splitlines())
    return leaked(rows(others, " of others")) if others else held("only the attacker's rows")


async def read_statistics(arena: Arena, target: Target) -> Verdict:
    """A34: most common values and histograms of the table."""
    relation = target.table
    answer = await arena.ask(
        target,
        "SELECT 1 FROM pg_catalog.pg_stats"
        f" WHERE schemaname = '{relation.schema}' AND tablename = '{relation.plain_name}'",
    )
    return leaked(f"{answer.touched} columns") if answer.touched else held("no values")


async def through_view(arena: Arena, target: Target) -> Verdict:
    """A24: a view reads as its owner unless it says otherwise."""
    answer = await arena.ask(target, f"SELECT 1 FROM {target.object} LIMIT 1")
    if answer.state == "42501":
        return held(answer.words)
    if not target.table.is_invokers:
        return leaked("it reads with the rights of its owner")
    return held("it reads with the rights of who asks")


async def read_stored(arena: Arena, target: Target) -> Verdict:
    """A25: what is stored or elsewhere has no row security."""
    answer = await arena.ask(target, f"SELECT 1 FROM {target.object} LIMIT 1")
    return held(answer.words) if answer.state == "42501" else leaked("it can be read")


async def _sees(arena: Arena, target: Target, statement: str) -> Verdict:
    answer = await arena.ask(target, statement)
    return leaked(rows(answer.touched, " of others")) if answer.touched else held(answer.words)


def _views(arena: Arena) -> Iterator[Target]:
    yield from _of_kind(arena, "v")


def _stored(arena: Arena) -> Iterator[Target]:
    yield from _of_kind(arena, "mf")


def _of_kind(arena: Arena, kinds: str) -> Iterator[Target]:
    for relation in arena.catalogue.relations:
        if relation.kind in kinds:
            for role in ATTACKERS:
                yield Target(role, relation.name, relation)


READING = Family(
    "Reading another tenant's rows",
    (
        Attack(
            "A01",
            "SELECT with the victim's tenant id",
            "0 rows, or refused",
            "Whoever works for one client reads the rows of another.",
            _ROW_SECURITY,
            on_relations,
            select_by_tenant,
        ),
        Attack(
            "A01",
            "SELECT of all that is not one's own",
            "0 rows, or refused",
            "Whoever works for one client reads the rows of others.",
            _ROW_SECURITY,
            on_relations,
            select_all,
        ),
        Attack(
            "A02",
            "SELECT by the key of a row of the victim",
            "0 rows, or refused",
            "Who learns or guesses an id reads the row.",
            _ROW_SECURITY,
            on_tables,
            select_by_id,
        ),
        Attack(
            "A13",
            "SET row_security = off, then SELECT",
            "refused",
            "One statement takes the wall away for the session.",
            f"{_ROW_SECURITY} Take BYPASSRLS and SUPERUSER from the role.",
            on_tables,
            switch_off,
        ),
        Attack(
            "A24",
            "read through a view",
            "refused, or read with the rights of who asks (security_invoker)",
            "The view shows the rows of all tenants that its owner sees.",
            "ALTER VIEW ... SET (security_invoker = true).",
            _views,
            through_view,
        ),
        Attack(
            "A25",
            "read a materialized view or a foreign table",
            "refused",
            "It holds rows of all tenants and row security cannot stand on it.",
            "Revoke SELECT on it from every role of tenants.",
            _stored,
            read_stored,
        ),
        Attack(
            "A28",
            "an error that only a row of the victim raises",
            "no error",
            "The attacker asks yes-or-no questions about rows that it cannot see.",
            _ROW_SECURITY,
            on_tables,
            divide,
        ),
        Attack(
            "A30",
            "COPY ... TO STDOUT",
            "only one's own rows, or refused",
            "One statement carries a whole table away.",
            _ROW_SECURITY,
            on_tables,
            copy_out,
        ),
        Attack(
            "A34",
            "statistics of the planner",
            "no values",
            "pg_stats shows the most common values of all tenants.",
            _ROW_SECURITY,
            on_tables,
            read_statistics,
        ),
    ),
)
