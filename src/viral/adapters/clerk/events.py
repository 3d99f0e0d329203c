"""What Clerk's webhooks tell; their signature is Svix's and is checked before.

Source: clerk.com/docs/guides/development/webhooks/overview. Events may come late, repeated and
in any order: whoever applies them compares their times.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from viral.adapters.clerk.people import (
    ClerkId,
    ClerkOrganizationDetails,
    ClerkPerson,
    Milliseconds,
    OrganizationRecord,
    UserRecord,
    role_of,
)
from viral.errors import BadInput

if TYPE_CHECKING:
    from viral.schema.vocabulary import Role


class PersonChanged(msgspec.Struct, frozen=True):
    """A person came or changed."""

    person: ClerkPerson
    occurred_at: datetime | None


class PersonDeleted(msgspec.Struct, frozen=True):
    """A person is gone."""

    clerk_id: str
    occurred_at: datetime | None


class OrganizationChanged(msgspec.Struct, frozen=True):
    """An organization came or changed."""

    organization: ClerkOrganizationDetails
    occurred_at: datetime | None


class OrganizationDeleted(msgspec.Struct, frozen=True):
    """An organization is gone."""

    clerk_id: str
    occurred_at: datetime | None


class MembershipChanged(msgspec.Struct, frozen=True):
    """A person belongs to an organization, in this role."""

    organization: ClerkOrganizationDetails
    user_id: str
    role: Role
    occurred_at: datetime | None


class MembershipDeleted(msgspec.Struct, frozen=True):
    """A person left an organization."""

    organization_id: str
    user_id: str
    occurred_at: datetime | None


ClerkEvent = (
    PersonChanged
    | PersonDeleted
    | OrganizationChanged
    | OrganizationDeleted
    | MembershipChanged
    | MembershipDeleted
)


class _Envelope(msgspec.Struct, frozen=True):
    type: str
    data: msgspec.Raw
    timestamp: Milliseconds | None = None


class _Deleted(msgspec.Struct, frozen=True):
    id: ClerkId


class _Member(msgspec.Struct, frozen=True):
    user_id: ClerkId


class _Membership(msgspec.Struct, frozen=True):
    organization: OrganizationRecord
    public_user_data: _Member
    role: str | None = None
    updated_at: Milliseconds | None = None


def read_event(body: bytes) -> ClerkEvent | None:
    """Read a webhook's body; None for an event that nobody here needs, BadInput for nonsense."""
    try:
        return _read_event(msgspec.json.decode(body, type=_Envelope))
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadInput(
            f"This event of Clerk cannot be read: {error}.",
            hint="Look at the message in Clerk's dashboard, under Webhooks.",
        ) from error


def _read_event(event: _Envelope) -> ClerkEvent | None:
    match event.type:
        case "user.created" | "user.updated":
            user = msgspec.json.decode(event.data, type=UserRecord)
            return PersonChanged(user.person(), _moment(user.updated_at, event.timestamp))
        case "organization.created" | "organization.updated":
            record = msgspec.json.decode(event.data, type=OrganizationRecord)
            return OrganizationChanged(
                record.details(), _moment(record.updated_at, event.timestamp)
            )
        case "organizationMembership.created" | "organizationMembership.updated":
            member = msgspec.json.decode(event.data, type=_Membership)
            return MembershipChanged(
                member.organization.details(),
                member.public_user_data.user_id,
                role_of(member.role),
                _moment(member.updated_at, event.timestamp),
            )
        case _:
            return _read_deletion(event)


def _read_deletion(event: _Envelope) -> ClerkEvent | None:
    # Only the event itself tells when; what it tells of was changed last before that.
    occurred_at = _moment(event.timestamp)
    match event.type:
        case "user.deleted":
            gone = msgspec.json.decode(event.data, type=_Deleted)
            return PersonDeleted(gone.id, occurred_at)
        case "organization.deleted":
            gone = msgspec.json.decode(event.data, type=_Deleted)
            return OrganizationDeleted(gone.id, occurred_at)
        case "organizationMembership.deleted":
            member = msgspec.json.decode(event.data, type=_Membership)
            return MembershipDeleted(
                member.organization.id, member.public_user_data.user_id, occurred_at
            )
        case _:
            return None


def _moment(*candidates_ms: int | None) -> datetime | None:
    """Give the first time that is known."""
    for milliseconds in candidates_ms:
        if milliseconds is not None:
            return datetime.fromtimestamp(milliseconds / 1000, UTC)
    return None
