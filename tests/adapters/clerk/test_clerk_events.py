"""Clerk's events: read into what they mean, whatever else they hold."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from fakes.clerk import FakeClerk

from viral.adapters.clerk.events import (
    ClerkEvent,
    MembershipChanged,
    MembershipDeleted,
    OrganizationChanged,
    OrganizationDeleted,
    PersonChanged,
    PersonDeleted,
    read_event,
)
from viral.adapters.clerk.people import ClerkOrganizationDetails, ClerkPerson
from viral.errors import BadInput


def read(event: dict[str, Any]) -> ClerkEvent | None:
    return read_event(json.dumps(event).encode())


def moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


@pytest.mark.parametrize("verb", ["created", "updated"])
def test_a_persons_event_is_read(clerk: FakeClerk, verb: str) -> None:
    user = clerk.add_user("Ada@Example.com", updated_at=1_790_000_001_234)

    event = read(clerk.event(f"user.{verb}", user))

    person = ClerkPerson(user["id"], "ada@example.com", "Ada Lovelace", "https://img.clerk.com/ada")
    assert event == PersonChanged(person, moment(1_790_000_001_234))


@pytest.mark.parametrize("verb", ["created", "updated"])
def test_an_organizations_event_is_read(clerk: FakeClerk, verb: str) -> None:
    organization = clerk.add_organization("Acme", updated_at=None)

    event = read(clerk.event(f"organization.{verb}", organization))

    details = ClerkOrganizationDetails(organization["id"], "Acme", "acme")
    assert event == OrganizationChanged(details, moment(1_790_000_002_000))


@pytest.mark.parametrize(
    ("role", "ours"),
    [("org:admin", "ADMIN"), ("admin", "ADMIN"), ("org:member", "MEMBER"), ("org:boss", "MEMBER")],
)
@pytest.mark.parametrize("verb", ["created", "updated"])
def test_a_memberships_event_is_read(clerk: FakeClerk, verb: str, role: str, ours: str) -> None:
    organization, user = clerk.add_organization("Acme"), clerk.add_user()
    membership = clerk.membership(organization, user, role=role)

    event = read(clerk.event(f"organizationMembership.{verb}", membership))

    assert isinstance(event, MembershipChanged)
    assert event.organization == ClerkOrganizationDetails(organization["id"], "Acme", "acme")
    assert (event.user_id, event.role) == (user["id"], ours)
    assert event.occurred_at == moment(1_790_000_001_000)


def test_deletions_are_read_with_the_time_of_the_event(clerk: FakeClerk) -> None:
    organization, user = clerk.add_organization(), clerk.add_user()
    membership = clerk.membership(organization, user)
    gone = {"deleted": True, "object": "user"}

    at = moment(1_790_000_002_000)
    assert read(clerk.event("user.deleted", gone | {"id": "user_1"})) == PersonDeleted("user_1", at)
    assert read(clerk.event("organization.deleted", gone | {"id": "org_1"})) == (
        OrganizationDeleted("org_1", at)
    )
    assert read(clerk.event("organizationMembership.deleted", membership)) == (
        MembershipDeleted(organization["id"], user["id"], at)
    )


def test_an_event_without_a_time_has_none(clerk: FakeClerk) -> None:
    event = read(clerk.event("user.deleted", {"id": "user_1"}, at_ms=None))

    assert event == PersonDeleted("user_1", None)


@pytest.mark.parametrize("kind", ["session.created", "organizationInvitation.created", "x", ""])
def test_an_event_that_nobody_needs_is_none(clerk: FakeClerk, kind: str) -> None:
    assert read(clerk.event(kind, {"anything": [1]})) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"type": "user.created"}',
        b'{"type": "user.created", "data": {"id": "../users"}}',
        b'{"type": "user.deleted", "data": {"id": ""}}',
        b'{"type": "user.deleted", "data": {"id": "user_1"}, "timestamp": 1e300}',
        b'{"type": "organization.created", "data": {"id": "org_1"}}',
        b'{"type": "user.created", "data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_an_event_that_cannot_be_read_is_bad_input(body: bytes) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        read_event(body)
