"""The application beside a Clerk of the tests: its people, its tokens, its webhooks."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from asyncpg import PostgresLogMessage
from clusters import Cluster
from factories import TestTenant
from fakes.clerk import Delivery, FakeClerk, Json
from litestar import Litestar
from pydantic import SecretStr
from sqlalchemy import select, update

from viral.database.engine import Database
from viral.features.users.members import add_member
from viral.schema.tenants import Membership, Tenant, User
from viral.settings import Settings
from web.conftest import ADDRESS, Browser, browsing, serving, settings_for
from web.programs import running

COOKIE = "__session"
WEBHOOK = "/webhooks/clerk"
TENANT = "/api/v1/tenant"
# A moment of Clerk's, in ms; what a test makes happen has happened so many seconds later.
BEGAN_MS = 1_790_000_000_000
# A kind of event, what it holds, and when it happened.
Told = tuple[str, Json, float | None]


@dataclass(frozen=True)
class ClerkSite:
    """An application that lets a Clerk sign its people in."""

    application: Litestar
    clerk: FakeClerk

    def token(self, user: Json, organization: Json | None = None, **claims: Any) -> str:
        """Make a token as Clerk's script does; `rol` is `admin` or `member`."""
        active, role = None, claims.pop("rol", "member")
        if organization is not None:
            active = {"id": organization["id"], "slg": organization["slug"], "rol": role}
        wanted = {"sub": user["id"], "o": active, **claims}
        return self.clerk.session_token(now=datetime.now(UTC), **wanted)

    async def get(self, token: str, path: str = TENANT) -> httpx.Response:
        """Ask as a program that sends a token."""
        async with running(self.application, token) as program:
            return await program.get(path)

    @asynccontextmanager
    async def browsing(self, token: str) -> AsyncIterator[Browser]:
        """Open a browser that holds Clerk's cookie."""
        async with browsing(self.application, ADDRESS) as browser:
            browser.client.cookies.set(COOKIE, token)
            yield browser

    async def deliver(self, kind: str, data: Json, *, at_s: float | None = 2) -> str:
        """Deliver an event that happened so many seconds after the beginning; what became of it."""
        event = self.clerk.event(kind, data, at_ms=None if at_s is None else moment(at_s))
        answer = await self.send(self.clerk.delivery(event, now=datetime.now(UTC)))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["outcome"])

    async def send(self, delivery: Delivery) -> httpx.Response:
        """Send a delivery as it is."""
        async with browsing(self.application) as sender:
            return await sender.client.post(
                WEBHOOK, content=delivery.body, headers=delivery.headers
            )


def moment(at_s: float) -> int:
    """Give a moment as Clerk writes it."""
    return BEGAN_MS + int(at_s * 1000)


@asynccontextmanager
async def clerk_site(
    cluster: Cluster, home: Path, database: str, clerk: FakeClerk, **changes: Any
) -> AsyncIterator[ClerkSite]:
    """Start an application that trusts a Clerk."""
    async with serving(clerk_settings(cluster, home, database, clerk, **changes)) as application:
        yield ClerkSite(application, clerk)


def clerk_settings(
    cluster: Cluster, home: Path, database: str, clerk: FakeClerk, **changes: Any
) -> Settings:
    wanted = {
        "clerk_issuer": clerk.url,
        "clerk_authorized_parties": clerk.origin,
        "clerk_secret_key": SecretStr(clerk.secret_key),
        "clerk_api_url": clerk.api_url,
        "clerk_webhook_secret": SecretStr(clerk.webhook_secret),
        **changes,
    }
    return settings_for(cluster, home, database).model_copy(update=wanted)


def new_people(site: ClerkSite, number: int) -> tuple[Json, Json]:
    """Make a person and an organization that nobody knows here."""
    return (
        site.clerk.add_user(f"ada-{number}@example.com"),
        site.clerk.add_organization(f"Acme {number}"),
    )


def member(
    site: ClerkSite,
    verb: str,
    organization: Json,
    user: Json,
    *,
    at_s: float = 2,
    role: str = "org:member",
) -> Told:
    """Tell of a membership; the time of its end is the event's alone."""
    data = site.clerk.membership(organization, user, role=role)
    changed_ms = moment(1 if verb == "deleted" else at_s)
    return f"organizationMembership.{verb}", data | {"updated_at": changed_ms}, at_s


async def settle(site: ClerkSite, organization: Json, user: Json) -> None:
    """Let a person into an organization, as a member."""
    assert await tell(site, member(site, "created", organization, user)) == "applied"


async def tell(site: ClerkSite, told: Told) -> str:
    kind, data, at_s = told
    return await site.deliver(kind, data, at_s=at_s)


async def deliver_all(site: ClerkSite, told: Sequence[Told], order: Sequence[int]) -> None:
    for place in order:
        await tell(site, told[place])


async def state_of(
    system: Database, organization: Json, *, must_be: bool = True
) -> tuple[str, list[tuple[str, str]]]:
    """Give the name of an organization's tenant, and the e-mails and roles of who is in."""
    async with system.session_without_tenant() as session:
        is_its = Tenant.clerk_organization_id == organization["id"]
        name = await session.scalar(select(Tenant.name).where(is_its))
        assert name is not None or not must_be
        rows = await session.execute(
            select(User.email, Membership.role)
            .join(Membership, Membership.user_id == User.id)
            .join(Tenant, Tenant.id == Membership.tenant_id)
            .where(is_its, Membership.ended_at.is_(None))
            .order_by(User.email)
        )
        return name or "", [(row.email, row.role) for row in rows]


async def person_in(system: Database, organization: Json, user: Json) -> TestTenant:
    """Find a person's membership in an organization's tenant."""
    async with system.session_without_tenant() as session:
        row = (
            await session.execute(
                select(Tenant.id, Tenant.slug, User.id.label("user_id"))
                .join(Membership, Membership.tenant_id == Tenant.id)
                .join(User, User.id == Membership.user_id)
                .where(
                    Tenant.clerk_organization_id == organization["id"],
                    User.clerk_id == user["id"],
                )
            )
        ).one()
        return TestTenant(row.id, row.slug, row.user_id)


async def also_in(system: Database, person: TestTenant, place: TestTenant) -> TestTenant:
    """Let a person into another tenant as well, without Clerk."""
    async with system.session_without_tenant() as session:
        await add_member(session, tenant_id=place.id, user_id=person.user_id, role="MEMBER")
    return TestTenant(place.id, place.slug, person.user_id)


async def plan_of_entering(cluster: Cluster, database: str, person: str) -> dict[str, object]:
    """Carry viral.enter_by_clerk out and give the plan of its look-up, as it was carried out."""
    connection = await cluster.connect_as_admin(database)
    told: list[str] = []

    def listen(_connection: object, message: PostgresLogMessage) -> None:
        told.append(message.message or "")

    try:
        await connection.execute("VACUUM (ANALYZE) users")
        connection.add_log_listener(listen)
        await connection.execute(
            "LOAD 'auto_explain';"
            "SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on;"
            "SET auto_explain.log_analyze = on; SET auto_explain.log_format = json;"
            "SET auto_explain.log_level = notice"
        )
        await connection.execute(
            "SELECT * FROM viral.enter_by_clerk($1, NULL, gen_random_uuid(), $2,"
            " now() + interval '1 minute', 'somewhere', ARRAY[1000, 1000, 1000])",
            person,
            base64.b64encode(b"a credential of the test"),
        )
    finally:
        await connection.close()
    wanted = [each for each in told if "u.clerk_id = person" in each]
    assert len(wanted) == 1, told
    plan: dict[str, object] = json.loads(wanted[0][wanted[0].index("{") :])["Plan"]
    return plan


async def memberships(site: ClerkSite, token: str) -> list[dict[str, str]]:
    listed: list[dict[str, str]] = (await site.get(token, "/api/v1/memberships")).json()
    return listed


async def set_user(system: Database, user_id: UUID, **values: object) -> None:
    async with system.session_without_tenant() as session:
        await session.execute(update(User).where(User.id == user_id).values(**values))


async def user_of(system: Database, user_id: UUID) -> User:
    async with system.session_without_tenant() as session:
        return (await session.scalars(select(User).where(User.id == user_id))).one()
