"""Clerk's API: who somebody is, and what is said when nobody knows."""

from __future__ import annotations

from typing import Any

import pytest
from fakes.clerk import FakeClerk
from structlog.testing import capture_logs

from viral.adapters.clerk.people import ClerkApi, ClerkOrganizationDetails, ClerkPerson
from viral.adapters.outgoing import Outgoing
from viral.errors import NotFound, VendorRefused, VendorUnreachable


@pytest.fixture
def api(clerk: FakeClerk, outgoing: Outgoing) -> ClerkApi:
    return ClerkApi(f"{clerk.api_url}/", secret_key=clerk.secret_key, outgoing=outgoing)


async def test_a_person_is_read(clerk: FakeClerk, api: ClerkApi) -> None:
    user = clerk.add_user("Ada@Example.com")

    person = await api.user(user["id"])

    assert person == ClerkPerson(
        user["id"], "ada@example.com", "Ada Lovelace", "https://img.clerk.com/ada"
    )


@pytest.mark.parametrize("status", ["unverified", "failed", "expired", "transferable", None])
async def test_an_address_that_is_not_verified_is_nobodys(
    clerk: FakeClerk, api: ClerkApi, status: str | None
) -> None:
    user = clerk.add_user(status=status)

    assert (await api.user(user["id"])).email is None


async def test_an_address_that_is_not_the_primary_one_does_not_count(
    clerk: FakeClerk, api: ClerkApi
) -> None:
    user = clerk.add_user(primary_email_address_id=None)

    assert (await api.user(user["id"])).email is None


@pytest.mark.parametrize(
    ("names", "name"),
    [
        ({"first_name": "Ada", "last_name": None}, "Ada"),
        ({"first_name": "", "last_name": "", "username": "ada"}, "ada"),
        ({"first_name": None, "last_name": None}, None),
    ],
)
async def test_a_person_is_named_by_what_there_is(
    clerk: FakeClerk, api: ClerkApi, names: dict[str, Any], name: str | None
) -> None:
    user = clerk.add_user(**names)

    assert (await api.user(user["id"])).name == name


async def test_an_organization_is_read(clerk: FakeClerk, api: ClerkApi) -> None:
    organization = clerk.add_organization("Acme")

    details = await api.organization(organization["id"])

    assert details == ClerkOrganizationDetails(organization["id"], "Acme", "acme")


async def test_somebody_whom_clerk_does_not_know_is_not_found(api: ClerkApi) -> None:
    with pytest.raises(NotFound, match="users/user_9"):
        await api.user("user_9")


@pytest.mark.parametrize("id_", ["", "..", "../organizations/org_1", "user_1?x=1", "user_1\n"])
async def test_an_id_that_is_a_path_is_not_asked_for(
    clerk: FakeClerk, api: ClerkApi, id_: str
) -> None:
    with pytest.raises(NotFound):
        await api.user(id_)

    assert clerk.calls.total() == 0


async def test_a_refused_key_is_named_but_not_shown(clerk: FakeClerk, outgoing: Outgoing) -> None:
    api = ClerkApi(clerk.api_url, secret_key="sk_live_wrong", outgoing=outgoing)

    with capture_logs() as logs, pytest.raises(VendorRefused) as refused:
        await api.user(clerk.add_user()["id"])

    assert "CLERK_SECRET_KEY" in refused.value.hint
    assert "sk_live_wrong" not in f"{refused.value.message}{refused.value.hint}{logs}"


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, b"", VendorUnreachable),
        (503, b"<html>", VendorUnreachable),
        (429, b"{}", VendorUnreachable),
        (400, b"{}", VendorRefused),
        (302, b"", VendorRefused),
        (200, b"", VendorRefused),
        (200, b"[]", VendorRefused),
        (200, b'{"id": "../x"}', VendorRefused),
    ],
)
async def test_other_answers_are_the_vendors_errors(
    clerk: FakeClerk, api: ClerkApi, status: int, body: bytes, error: type[Exception]
) -> None:
    clerk.instead["/v1/users/user_1"] = (status, body)

    with pytest.raises(error):
        await api.user("user_1")


async def test_a_clerk_that_is_down_is_unreachable(clerk: FakeClerk, api: ClerkApi) -> None:
    with clerk.down(), pytest.raises(VendorUnreachable):
        await api.organization("org_1")
