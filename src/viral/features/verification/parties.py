"""The attacker and the victim: two tenants for the length of a run, with a row in every table."""

from __future__ import annotations

import secrets as random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import select

from viral.database.tenancy import context_token, token_hash
from viral.errors import ServerError
from viral.features.tenants import create_tenant, find_tenant
from viral.features.users.members import add_member
from viral.features.verification.rows import Row, insert, make_row
from viral.schema.base import uuid7
from viral.schema.security import APP, AUTH, OWNER, SYSTEM
from viral.schema.tenants import Membership, User

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from uuid import UUID

    from viral.database.engine import Database
    from viral.database.secrets import Secrets
    from viral.features.verification.probe import Probe
    from viral.features.verification.relations import Catalogue, Relation

# Whatever a killed run left behind is known by this; the next run removes it.
SLUG = "viral-verify-"
_LEFT = f"SELECT id FROM public.tenants WHERE slug ~ '^{SLUG}[0-9a-f]{{8}}-(attacker|victim)$'"
# People cannot be deleted, so the same two serve every run. `.invalid` takes no mail (RFC 2606).
_EMAIL = "{part}@verify.invalid"
# They come with the tenant, or hold nothing but its context.
MADE = {"public.tenants", "public.users", "public.memberships", "viral.tenant_contexts"}


@dataclass(frozen=True, slots=True)
class Party:
    """One of the two: its id and capability, its rows by table, and where it sees them."""

    slug: str
    tenant_id: UUID
    user_id: UUID
    token: str = field(repr=False)
    rows: dict[str, Row] = field(default_factory=dict, repr=False)
    seen: set[str] = field(default_factory=set)
    is_made: bool = True

    def owner_of(self, relation: Relation) -> UUID:
        """Return what the owner column of a relation holds in this party's rows."""
        if relation.name == "public.users":
            return self.user_id
        return self.tenant_id

    def is_of(self, relation: Relation) -> str:
        """Write the condition that finds this party's rows."""
        return f"{relation.owner_column} = '{self.owner_of(relation)}'"

    def is_row(self, relation: Relation) -> str | None:
        """Write the condition that finds this party's row by its key."""
        row = self.rows.get(relation.name, {})
        key = relation.primary_key
        if not key or any(name not in row for name in key):
            return None
        return " AND ".join(f"{name} = {row[name]}" for name in key)


async def make_party(system: Database, secrets: Secrets, *, run: str, part: str) -> Party:
    """Make a tenant with its one member, by the product's own functions."""
    slug = f"{SLUG}{run}-{part}"
    email = _EMAIL.format(part=part)
    async with system.session_without_tenant() as session:
        tenant_id = await create_tenant(session, slug=slug, secrets=secrets)
        user = await session.scalar(select(User).where(User.email == email))
        if user is None:
            user = User(email=email, name=f"Verification: {part}")
            session.add(user)
            await session.flush()
        member = await add_member(session, tenant_id=tenant_id, user_id=user.id, role="MEMBER")
        party = Party(slug, tenant_id, user.id, context_token(secrets.context_key, tenant_id))
        party.rows["public.tenants"] = {"id": _quoted(tenant_id), "slug": f"'{slug}'"}
        party.rows["public.users"] = {"id": _quoted(user.id), "email": f"'{email}'"}
        party.rows["viral.tenant_contexts"] = {
            "token_sha256": f"'\\x{token_hash(party.token).hex()}'",
            "tenant_id": _quoted(tenant_id),
        }
        party.rows["public.memberships"] = {
            "tenant_id": _quoted(tenant_id),
            "id": _quoted(member.id),
            "user_id": _quoted(user.id),
        }
    return party


async def fill(party: Party, catalogue: Catalogue, probes: Mapping[str, Probe]) -> None:
    """Put a row of the party into every table that takes one, parents first."""
    waiting = [each for each in catalogue.tables_of_tenants() if each.name not in MADE]
    owned = {each.name for each in waiting} | MADE
    while waiting:
        ready = [each for each in waiting if _parents(each) & owned <= party.rows.keys() | MADE]
        for relation in ready or waiting:
            await _fill_one(party, relation, probes)
        owned -= {each.name for each in ready or waiting}
        owned |= party.rows.keys()
        waiting = [each for each in waiting if ready and each not in ready]


async def look(party: Party, catalogue: Catalogue, app: Probe) -> None:
    """Note in which tables the party sees its own rows: there, seeing none means something."""
    for relation in catalogue.relations:
        if relation.owner_column is None or relation.kind == "f":
            continue
        answer = await app.ask(
            f"SELECT 1 FROM {relation.name} WHERE {party.is_of(relation)} LIMIT 1",
            context=party.token,
        )
        if answer.touched:
            party.seen.add(relation.name)


async def remove_parties(migrator: Probe, catalogue: Catalogue) -> None:
    """Remove the tenants of this run, and of runs that were killed."""
    as_auth = f"SET LOCAL ROLE {AUTH}"
    found = await migrator.ask(as_auth, _LEFT)
    ids = ", ".join(_quoted(row[0]) for row in found.rows)
    if not ids:
        return
    for relation in catalogue.tables_of_tenants():
        # Most rows go with their tenant; a table made by hand may not know it.
        if not _goes_with_tenant(relation):
            delete = f"DELETE FROM {relation.name} WHERE {relation.owner_column} IN ({ids})"
            await migrator.keep(f"SET LOCAL ROLE {OWNER}", delete)
    answer = await migrator.keep(as_auth, f"DELETE FROM public.tenants WHERE id IN ({ids})")
    if answer.state is not None:
        raise ServerError(
            f"The tenants made for a verification could not be removed ({answer.state}).",
            hint="Run `viral tenant verify` again: it removes them first.",
        )


async def find_party(system: Database, secrets: Secrets, slug: str) -> Party:
    """Take a tenant that exists for a party, with one of its members."""
    async with system.session_without_tenant() as session:
        tenant = await find_tenant(session, slug)
        members = select(Membership.user_id).where(Membership.tenant_id == tenant.id).limit(1)
        member = await session.scalar(members)
    token = context_token(secrets.context_key, tenant.id)
    return Party(slug, tenant.id, member or tenant.id, token, is_made=False)


async def learn_keys(app: Probe, catalogue: Catalogue, party: Party) -> None:
    """Learn the key of one row a table of a tenant that exists; nothing is written."""
    for relation in catalogue.tables_of_tenants():
        if not relation.primary_key:
            continue
        names = ", ".join(f"quote_nullable({name}::text)" for name in relation.primary_key)
        answer = await app.ask(
            f"SELECT {names} FROM {relation.name} WHERE {party.is_of(relation)} LIMIT 1",
            context=party.token,
        )
        for row in answer.rows:
            values = (str(value) for value in row)
            party.rows[relation.name] = dict(zip(relation.primary_key, values, strict=True))


def new_run() -> str:
    """Name a run."""
    return random.token_hex(4)


async def _fill_one(party: Party, relation: Relation, probes: Mapping[str, Probe]) -> None:
    row = make_row(relation, party.rows, tenant_id=party.tenant_id, own_id=uuid7())
    for probe, as_role, context in ways_of(party, probes):
        answer = await probe.keep(*as_role, insert(relation, row), context=context)
        if answer.state is None:
            party.rows[relation.name] = row
            return


def ways_of(
    party: Party, probes: Mapping[str, Probe]
) -> Iterator[tuple[Probe, tuple[str, ...], str | None]]:
    """List who may put a row of a party into a table: probe, SET ROLE, context; the least first."""
    yield probes[APP], (), party.token
    yield probes[SYSTEM], (), None
    for role in (AUTH, OWNER):
        yield probes["viral_migrator"], (f"SET LOCAL ROLE {role}",), None


def _parents(relation: Relation) -> set[str]:
    return {
        reference.target for reference in relation.references if reference.target != relation.name
    }


def _goes_with_tenant(relation: Relation) -> bool:
    return relation.name in MADE or any(
        reference.target == "public.tenants" for reference in relation.references
    )


def _quoted(value: object) -> str:
    return f"'{value}'"
