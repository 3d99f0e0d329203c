"""People and organizations as Clerk knows them.

Source: Clerk's Backend API, `GET /users/{user_id}` and `GET /organizations/{organization_id}`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec

from viral.errors import NotFound, VendorRefused, VendorUnreachable

if TYPE_CHECKING:
    from viral.adapters.outgoing import Outgoing
    from viral.schema.vocabulary import Role

OK = 200
UNAUTHORIZED = 401
FORBIDDEN = 403
NOT_FOUND = 404
TOO_MANY_REQUESTS = 429
SERVER_ERROR = 500

# Clerk's ids are letters and digits after a prefix; no path or query can be made of them.
ID_PATTERN = r"^[A-Za-z0-9_-]{1,100}\Z"
ClerkId = Annotated[str, msgspec.Meta(pattern=ID_PATTERN)]
# Since 1970, up to the last moment that datetime knows: the end of the year 9999.
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999)]

Record = TypeVar("Record")


class ClerkPerson(msgspec.Struct, frozen=True):
    """A person; the e-mail is the primary one in lower case, and None until it is verified."""

    id: str
    email: str | None
    name: str | None
    image_url: str | None


class ClerkOrganizationDetails(msgspec.Struct, frozen=True):
    """An organization, apart from anybody's role in it."""

    id: str
    name: str
    slug: str | None


class _Verification(msgspec.Struct, frozen=True):
    status: str | None = None


class _EmailAddress(msgspec.Struct, frozen=True):
    id: str
    email_address: str
    verification: _Verification | None = None


class UserRecord(msgspec.Struct, frozen=True):
    """A person as the API and the webhooks write them."""

    id: ClerkId
    email_addresses: list[_EmailAddress] = []
    primary_email_address_id: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    username: str | None = None
    image_url: str | None = None
    updated_at: Milliseconds | None = None

    def person(self) -> ClerkPerson:
        """Keep what the product needs of it."""
        full_name = " ".join(filter(None, (self.first_name, self.last_name)))
        return ClerkPerson(
            self.id, self._email(), full_name or self.username or None, self.image_url or None
        )

    def _email(self) -> str | None:
        for address in self.email_addresses:
            status = address.verification and address.verification.status
            if address.id == self.primary_email_address_id and status == "verified":
                return address.email_address.strip().lower()
        return None


class OrganizationRecord(msgspec.Struct, frozen=True):
    """An organization as the API and the webhooks write it."""

    id: ClerkId
    name: str
    slug: str | None = None
    updated_at: Milliseconds | None = None

    def details(self) -> ClerkOrganizationDetails:
        """Keep what the product needs of it."""
        return ClerkOrganizationDetails(self.id, self.name, self.slug)


class ClerkApi:
    """Asks Clerk for those whom a token names before a webhook has told of them."""

    def __init__(self, api_url: str, *, secret_key: str, outgoing: Outgoing) -> None:
        self._api_url = api_url.rstrip("/")
        self._secret_key = secret_key
        self._outgoing = outgoing

    async def user(self, clerk_id: str) -> ClerkPerson:
        """Read a person; NotFound when there is none of this id."""
        return (await self._read("users", clerk_id, UserRecord)).person()

    async def organization(self, clerk_id: str) -> ClerkOrganizationDetails:
        """Read an organization; NotFound when there is none of this id."""
        return (await self._read("organizations", clerk_id, OrganizationRecord)).details()

    async def _read(self, kind: str, clerk_id: str, record: type[Record]) -> Record:
        if not re.match(ID_PATTERN, clerk_id):
            raise NotFound(f"No id of Clerk's {kind} looks like this.")
        answer = await self._outgoing.request(
            "GET",
            f"{self._api_url}/{kind}/{clerk_id}",
            headers={"authorization": f"Bearer {self._secret_key}"},
        )
        _check(answer.status, what=f"{kind}/{clerk_id}")
        try:
            return msgspec.json.decode(answer.body, type=record)
        except msgspec.DecodeError as error:
            raise VendorRefused(f"Clerk's answer for {kind}/{clerk_id} cannot be read.") from error


def role_of(name: str | None) -> Role:
    """Read a role; one that an instance made up itself is a member's."""
    return "ADMIN" if name in {"admin", "org:admin"} else "MEMBER"


def _check(status: int, *, what: str) -> None:
    if status == OK:
        return
    if status == NOT_FOUND:
        raise NotFound(f"Clerk has no {what}.", hint="It may have been deleted there.")
    if status in {UNAUTHORIZED, FORBIDDEN}:
        raise VendorRefused(
            f"Clerk refuses the key with which {what} was asked for.",
            hint="Set CLERK_SECRET_KEY to a secret key of the instance in CLERK_ISSUER.",
        )
    if status == TOO_MANY_REQUESTS or status >= SERVER_ERROR:
        raise VendorUnreachable(
            f"Clerk answers {status} when asked for {what}.", hint="Try again in a minute."
        )
    raise VendorRefused(f"Clerk answers {status} when asked for {what}.")
