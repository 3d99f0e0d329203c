"""The tenant's context: without one, with a forged one, with one that was left behind."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from viral.errors import PowerfulRole, ViralError
from viral.features.verification.arena import on_relations
from viral.features.verification.relations import ATTACKERS, TENANT_ROLES
from viral.features.verification.verdicts import (
    Attack,
    Family,
    Target,
    Verdict,
    held,
    leaked,
    not_applicable,
)
from viral.schema.security import APP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.verification.arena import Arena

_TENANTS = "SELECT id FROM public.tenants"
_CONTEXTS = "viral.tenant_contexts"
_RUNS = 7

# What an attacker could write where a token belongs, from what it may know of the victim.
_FORGERIES: dict[str, Callable[[Arena], str]] = {
    "the tenant's id": lambda arena: str(arena.victim.tenant_id),
    "the tenant's slug": lambda arena: arena.victim.slug,
    "the hash of the tenant's id": lambda arena: _sha256(str(arena.victim.tenant_id)),
    "the stored hash of its token": lambda arena: _sha256(arena.victim.token),
    "its token, in upper case": lambda arena: arena.victim.token.upper(),
    "its token, one digit changed": lambda arena: _altered(arena.victim.token),
    "its token, cut off": lambda arena: arena.victim.token[:-1],
    "its token, with a space": lambda arena: f"{arena.victim.token} ",
    "a random token": lambda _arena: secrets.token_hex(32),
    "one quote": lambda _arena: "''",
    "all tenants": lambda _arena: "%",
}
_TAKING = (
    f"SELECT * FROM {_CONTEXTS}",
    f"SELECT count(*) FROM {_CONTEXTS}",
    f"UPDATE {_CONTEXTS} SET key_id = key_id RETURNING token_sha256",
    f"DELETE FROM {_CONTEXTS} RETURNING token_sha256",
    (
        f"INSERT INTO {_CONTEXTS} SELECT '\\x00', gen_random_uuid(), 1"
        " ON CONFLICT DO NOTHING RETURNING token_sha256"
    ),
    (
        f"MERGE INTO {_CONTEXTS} AS c USING (SELECT 1) AS one ON true"
        " WHEN MATCHED THEN UPDATE SET key_id = c.key_id"
    ),
    f"EXPLAIN ANALYZE SELECT * FROM {_CONTEXTS}",
    f"COPY {_CONTEXTS} TO STDOUT",
)


async def read_without_tenant(arena: Arena, target: Target) -> Verdict:
    """A03: a connection on which no tenant was named."""
    answer = await arena.probe(target).ask(f"SELECT 1 FROM {target.object} LIMIT 1")
    if answer.state is not None:
        return held(answer.words)
    if answer.touched:
        return leaked("rows are shown to a connection without a tenant")
    if target.object not in arena.victim.seen:
        return not_applicable("there is no row")
    return leaked("the answer is empty, where an error has to tell that the tenant is missing")


async def forge(arena: Arena, target: Target) -> Verdict:
    """A07 and A08: put something else where the victim's token belongs."""
    written = _FORGERIES[target.statement](arena).replace("'", "''")
    probe = arena.probe(target)
    for setting in (
        f"SET LOCAL app.tenant = '{written}'",
        f"SELECT set_config('app.tenant', '{written}', true)",
        f"SET app.tenant = '{written}'",
    ):
        answer = await probe.ask(setting, _TENANTS, context=arena.attacker.token)
        if answer.state is None and answer.touched:
            return leaked("it is taken for a tenant's context")
    return held(answer.words)


async def take_token(arena: Arena, target: Target) -> Verdict:
    """A09: read or write what the database keeps of the tokens."""
    answer = await arena.ask(target, target.statement)
    return held(answer.words) if answer.state == "42501" else leaked("it was let through")


async def watch_others(arena: Arena, target: Target) -> Verdict:
    """A09 and A35: look for the victim's token while the product works for the victim."""
    product = arena.product()
    try:
        async with product.tenant_session(arena.victim.tenant_id) as session:
            await session.execute(text(_TENANTS))
            answer = await arena.ask(
                target,
                "SELECT query FROM pg_catalog.pg_stat_activity WHERE pid <> pg_backend_pid()",
            )
    except PowerfulRole as error:
        return not_applicable(error.message)
    finally:
        await product.close()
    if any(arena.victim.token in str(query) for (query,) in answer.rows):
        return leaked("the token is shown")
    return held("it is not shown")


async def reuse_connection(arena: Arena, target: Target) -> Verdict:
    """A04, A05 and A43: what the product leaves on a pooled connection for its next owner."""
    product = arena.product()
    before, after = _LEAVING[target.statement]
    try:
        try:
            async with product.tenant_session(arena.victim.tenant_id) as session:
                await before(session)
        except DBAPIError:
            # The failed statement is what this attack is about.
            pass
        async with product.session_without_tenant() as session:
            found = (await session.execute(text(after))).all()
    except PowerfulRole as error:
        return not_applicable(error.message)
    except (ViralError, DBAPIError) as error:
        return held(f"refused with {getattr(error, 'code', 'an error')}")
    finally:
        await product.close()
    return leaked("the next owner of the connection sees the victim") if found else held("0 rows")


async def reuse_plan(arena: Arena, target: Target) -> Verdict:
    """A42: a statement planned for the victim, run for the attacker on the same connection."""
    probe = arena.probe(target)
    sql = "SELECT id FROM public.tenants"
    await probe.keep(f"PREPARE verification AS {sql}", context=arena.victim.token)
    for _ in range(_RUNS):
        await probe.ask("EXECUTE verification", context=arena.victim.token)
    answer = await probe.ask("EXECUTE verification", context=arena.attacker.token)
    await probe.keep("DEALLOCATE verification")
    if any(row[0] != arena.attacker.tenant_id for row in answer.rows):
        return leaked("the plan keeps the first tenant")
    return held(answer.words)


async def _read(session: AsyncSession) -> None:
    await session.execute(text(_TENANTS))


async def _fail(session: AsyncSession) -> None:
    await session.execute(text("SELECT 1 / 0"))


async def _keep_setting(session: AsyncSession) -> None:
    await session.execute(
        text("SELECT set_config('app.tenant', current_setting('app.tenant'), false)")
    )


async def _hold_cursor(session: AsyncSession) -> None:
    await session.execute(text(f"DECLARE kept CURSOR WITH HOLD FOR {_TENANTS}"))


_LEAVING = {
    "after a transaction that was committed": (_read, _TENANTS),
    "after an error": (_fail, _TENANTS),
    "after a setting for the session": (_keep_setting, _TENANTS),
    "after a cursor that is held": (_hold_cursor, "FETCH ALL FROM kept"),
}


def _sha256(words: str) -> str:
    return hashlib.sha256(words.encode()).hexdigest()


def _altered(token: str) -> str:
    return token[:-1] + ("0" if token[-1] != "0" else "1")


def _forgeries(arena: Arena) -> Iterator[Target]:
    for name in _FORGERIES:
        # Of a tenant that exists, nothing that is nearly its token stands in a statement.
        if name.startswith("its token") and not arena.victim.is_made:
            continue
        for role in TENANT_ROLES:
            yield Target(role, "app.tenant", statement=name)


def _takings(_arena: Arena) -> Iterator[Target]:
    for statement in _TAKING:
        for role in ATTACKERS:
            yield Target(role, _CONTEXTS, statement=statement)


def _pool(_arena: Arena) -> Iterator[Target]:
    for name in _LEAVING:
        yield Target(APP, "the product's pool", statement=name)


def _as_tenant_roles(_arena: Arena) -> Iterator[Target]:
    for role in TENANT_ROLES:
        yield Target(role, "public.tenants")


CONTEXT = Family(
    "The tenant's context",
    (
        Attack(
            "A03",
            "SELECT where no tenant is named",
            "an error (VT001), or refused",
            "A forgotten tenant shows the rows of all, or an empty answer that looks right.",
            "Compare with (SELECT viral.tenant_id()), which raises where there is no context;"
            " take app.tenant from the settings of roles and databases.",
            on_relations,
            read_without_tenant,
        ),
        Attack(
            "A04",
            "the next owner of a pooled connection (A04, A05, A43)",
            "an error (VT001), or nothing",
            "One request sees the rows of the client that the connection served before.",
            "Set the context for the transaction alone (SET LOCAL), and reset at BEGIN.",
            _pool,
            reuse_connection,
        ),
        Attack(
            "A08",
            "a forged context (A07, A08, A10)",
            "an error (VT002)",
            "Whoever can put one value into a statement chooses the client.",
            "Let viral.tenant_id() look the context up by its hash alone: `viral db push`.",
            _forgeries,
            forge,
        ),
        Attack(
            "A09",
            "every way to the stored tokens",
            "refused",
            "Who reads or writes them can act as any client.",
            "REVOKE ALL ON viral.tenant_contexts from the role.",
            _takings,
            take_token,
        ),
        Attack(
            "A35",
            "the victim's token in the statements of other sessions",
            "not shown",
            "Who sees it acts as the client from then on.",
            "ALTER ROLE viral_app SET track_activities = off.",
            _as_tenant_roles,
            watch_others,
        ),
        Attack(
            "A42",
            "a prepared statement planned for the victim",
            "only the attacker's rows",
            "A plan of one client answers another.",
            "viral.tenant_id() has to be STABLE, not IMMUTABLE.",
            _as_tenant_roles,
            reuse_plan,
        ),
    ),
)
