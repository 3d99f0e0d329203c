"""Clerk's people: welcomed at their first request, kept up to date by webhooks."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from viral.adapters.clerk.events import (
    ClerkEvent,
    MembershipChanged,
    MembershipDeleted,
    OrganizationChanged,
    OrganizationDeleted,
    PersonChanged,
    PersonDeleted,
)
from viral.adapters.clerk.people import ClerkApi, ClerkOrganizationDetails, ClerkPerson
from viral.adapters.clerk.tokens import ClerkSession
from viral.errors import NotFound, NotSignedIn
from viral.features.limits import Attempts, hidden, limit_attempts
from viral.features.users.clerk import (
    Organization,
    Person,
    drop_membership,
    drop_organization,
    drop_person,
    find_or_make_organization,
    has_been_in,
    is_known,
    keep_membership,
    keep_organization,
    keep_own_tenant,
    keep_person,
    own_tenant_of,
)
from viral.features.webhooks import (
    Delivery,
    finish_delivery,
    is_outdated,
    is_over,
    take_delivery,
    wait_for_others,
)
from viral.runtime import Runtime

PROVIDER = "clerk"
# Asked a minute about one person who is not known here: Clerk counts our questions, too.
QUESTIONS = 30


async def welcome(runtime: Runtime, found: ClerkSession) -> None:
    """Make a person known who comes before the webhook that tells of them; once per person.

    NotSignedIn when Clerk cannot be asked, or does not know a verified e-mail of theirs.
    """
    async with runtime.system.session_without_tenant() as session:
        if not await _is_new(session, found):
            return
    if runtime.vendors.clerk_api is None:
        raise NotSignedIn("You are not signed in.")
    async with runtime.signin.session_without_tenant() as session:
        name = hidden(f"clerk {found.user_id}", runtime.secrets.pepper)
        await limit_attempts(session, [Attempts(f"clerk {name}", QUESTIONS, timedelta(minutes=1))])
    person, organization = await _ask(runtime.vendors.clerk_api, found)
    async with runtime.system.session_without_tenant() as session:
        await wait_for_others(session)
        if not await _is_new(session, found):
            return
        if found.organization is None or organization is None:
            await keep_own_tenant(session, person, secrets=runtime.secrets)
            return
        await keep_person(session, person)
        tenant_id = await find_or_make_organization(session, organization, secrets=runtime.secrets)
        await keep_membership(
            session, tenant_id=tenant_id, person=person.id, role=found.organization.role
        )


async def _is_new(session: AsyncSession, found: ClerkSession) -> bool:
    """Tell whether nobody has let a token's person in, or out.

    A token lives on for a minute after its person was let out; they come back when a webhook says
    so.
    """
    person, organization = found.user_id, found.organization
    if organization is None:
        is_settled = await own_tenant_of(session, person) is not None
        return not is_settled and not await is_over(session, PROVIDER, [person])
    about = (organization.id, person)
    if await has_been_in(session, organization=organization.id, person=person):
        return False
    # As something without a time it gives way to whatever was told of this membership.
    claim = Delivery(PROVIDER, "", "token", " ".join(about))
    return not await is_over(session, PROVIDER, about) and not await is_outdated(session, claim)


async def _ask(api: ClerkApi, found: ClerkSession) -> tuple[Person, Organization | None]:
    try:
        person = await _person(api, found.user_id)
        if found.organization is None:
            return person, None
        return person, _organization(await api.organization(found.organization.id))
    except NotFound as error:
        raise NotSignedIn("You are not signed in.") from error


async def apply_clerk_event(
    runtime: Runtime, *, event_id: str, event_type: str, event: ClerkEvent
) -> str:
    """Bring people and tenants to what an event says: once, and never back to something older."""
    ends = isinstance(event, PersonDeleted | OrganizationDeleted | MembershipDeleted)
    # What ends at an unknown time has ended by now.
    occurred_at = event.occurred_at or (runtime.clock() if ends else None)
    about = _about(event)
    delivery = Delivery(PROVIDER, event_id, event_type, " ".join(about), occurred_at, ends)
    # Asked before the transaction: nothing is locked while Clerk thinks.
    stranger = await _stranger(runtime, event)
    async with runtime.system.session_without_tenant() as session:
        await wait_for_others(session)
        if not await take_delivery(session, delivery):
            return "known"
        outcome = "outdated"
        # Clerk uses no id of a person or an organization a second time.
        is_late = await is_over(session, PROVIDER, about) or await is_outdated(session, delivery)
        if not is_late:
            if stranger is not None:
                await keep_person(session, stranger)
            outcome = await _apply(runtime, session, event)
        await finish_delivery(session, delivery, tenant_id=None)
    return outcome


async def _apply(runtime: Runtime, session: AsyncSession, event: ClerkEvent) -> str:
    match event:
        case PersonChanged(person=person):
            if person.email is None:
                return "ignored"
            await keep_person(session, _known(person))
        case PersonDeleted(clerk_id=clerk_id):
            await drop_person(session, clerk_id)
        case OrganizationChanged(organization=details):
            await keep_organization(session, _organization(details), secrets=runtime.secrets)
        case OrganizationDeleted(clerk_id=clerk_id):
            await drop_organization(session, clerk_id)
        case MembershipChanged():
            # Its organization may be told as it was before: the name of one that is here stays.
            tenant_id = await find_or_make_organization(
                session, _organization(event.organization), secrets=runtime.secrets
            )
            await keep_membership(
                session, tenant_id=tenant_id, person=event.user_id, role=event.role
            )
        case MembershipDeleted():
            await drop_membership(session, organization=event.organization_id, person=event.user_id)
    return "applied"


async def _stranger(runtime: Runtime, event: ClerkEvent) -> Person | None:
    """Ask for the person of a membership, whose own event may come later."""
    if not isinstance(event, MembershipChanged) or runtime.vendors.clerk_api is None:
        return None
    async with runtime.system.session_without_tenant() as session:
        if await is_known(session, event.user_id):
            return None
    try:
        return await _person(runtime.vendors.clerk_api, event.user_id)
    except (NotFound, NotSignedIn):
        return None


async def _person(api: ClerkApi, clerk_id: str) -> Person:
    found = await api.user(clerk_id)
    if found.email is None:
        raise NotSignedIn("Your e-mail is not verified yet.", hint="Verify it and come back.")
    return _known(found)


def _known(person: ClerkPerson) -> Person:
    assert person.email is not None
    return Person(person.id, person.email, person.name, person.image_url)


def _organization(details: ClerkOrganizationDetails) -> Organization:
    return Organization(details.id, details.name, details.slug)


def _about(event: ClerkEvent) -> tuple[str, ...]:
    """Name what an event is about: a membership by its organization and its person."""
    match event:
        case PersonChanged(person=person):
            return (person.id,)
        case OrganizationChanged(organization=details):
            return (details.id,)
        case MembershipChanged():
            return event.organization.id, event.user_id
        case MembershipDeleted():
            return event.organization_id, event.user_id
        case _:
            return (event.clerk_id,)
