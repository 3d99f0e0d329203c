"""Stripe: customers, checkout and portal pages, subscriptions, and events with their signature."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar
from urllib.parse import urlencode
from uuid import UUID, uuid4

import msgspec

from viral.errors import (
    BadInput,
    BadSetting,
    SignatureRefused,
    VendorError,
    VendorRefused,
    VendorUnreachable,
)
from viral.schema.vocabulary import MONTHLY_QUOTA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from viral.adapters.outgoing import Answer, Outgoing
    from viral.schema.vocabulary import Tier

Status = Literal[
    "active",
    "trialing",
    "past_due",
    "unpaid",
    "canceled",
    "incomplete",
    "incomplete_expired",
    "paused",
]

# What is not over may still be paid.
OVER = frozenset({"canceled", "incomplete_expired"})
_WINDOW_S = 300
# A unix time of seconds; longer numbers are not worth reading.
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9_]{1,255}", re.ASCII)
# Prices are `price_...`; accounts of before 2020 also have plans under names of their own.
_PRICE = re.compile(r"(?!prod_|sk_|rk_|pk_|whsec_)[A-Za-z0-9_.-]{1,255}", re.ASCII)
# What Stripe calls an error and a parameter. Its sentences stay out: they quote what was sent.
_WORD = re.compile(r"[A-Za-z0-9_.\[\]-]{1,100}", re.ASCII)
# A subscription takes some kilobytes, and an answer may have a million bytes.
_PAGE = "50"

# Malformed or misshapen, too deep, not UTF-8: msgspec raises a class for each.
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)

_Seconds = Annotated[int, msgspec.Meta(ge=0, lt=253_402_300_800)]
_Shape = TypeVar("_Shape")

# What passes by itself, or is Stripe's own trouble.
_PASSING: dict[int, tuple[str, str]] = {
    409: ("another request is doing the same", "Try again in a moment."),
    424: ("a service behind Stripe does not answer", "Try again in some minutes."),
    429: ("it gets too many requests", "Try again in a minute."),
}
_TROUBLE = ("it has a fault of its own", "Try again later; status.stripe.com says how it is.")
_SERVER_FAULT = 500
# What a person has to change first.
_LASTING: dict[int, tuple[str, str]] = {
    401: ("the key is not accepted", "Correct STRIPE_API_KEY: it is wrong, expired or revoked."),
    402: ("the payment failed", "Pay with another card, or ask the bank."),
    403: (
        "the key may not do this",
        "Correct STRIPE_API_KEY: it needs customers, checkout, portal and subscriptions.",
    ),
    404: ("there is no such thing", "Check that STRIPE_API_KEY is of the same account and mode."),
}
_WRONG = (
    "it does not take the request",
    "Check that STRIPE_PRICES and STRIPE_API_KEY are of one account and mode.",
)
_SUCCESS = range(200, 300)


@dataclass(frozen=True, slots=True)
class StripeEvent:
    """What an event tells: of which object, customer and subscription, but not their state.

    Events come repeated and in any order, so the state is read again from Stripe.
    """

    id: str
    type: str
    created: datetime
    object_kind: str | None
    object_id: str | None
    customer_id: str | None
    subscription_id: str | None
    tenant_id: UUID | None
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription as Stripe has it; `tier` is None when its price is not in STRIPE_PRICES."""

    id: str
    customer: str
    status: Status
    tier: Tier | None
    created: datetime
    period_end: datetime | None
    tenant_id: UUID | None


class _Named(msgspec.Struct, frozen=True):
    id: str


class _Item(msgspec.Struct, frozen=True):
    price: _Named
    # On the item since version 2025-03-31 of the API.
    current_period_end: _Seconds | None = None


class _Items(msgspec.Struct, frozen=True):
    data: list[_Item]


class _Subscription(msgspec.Struct, frozen=True):
    id: str
    customer: str | _Named
    status: Status
    created: _Seconds
    items: _Items
    metadata: dict[str, str] = msgspec.field(default_factory=dict)


class _Page(msgspec.Struct, frozen=True):
    data: list[_Subscription]
    has_more: bool


class _Link(msgspec.Struct, frozen=True):
    url: str


class _Problem(msgspec.Struct, frozen=True):
    code: str | None = None
    decline_code: str | None = None
    param: str | None = None


class _Refusal(msgspec.Struct, frozen=True):
    error: _Problem


class _Data(msgspec.Struct, frozen=True):
    thing: dict[str, object] = msgspec.field(name="object")


class _Event(msgspec.Struct, frozen=True):
    id: str
    type: str
    created: _Seconds
    data: _Data


def verify_signature(secrets: Sequence[str], header: str, body: bytes, now: datetime) -> None:
    """Refuse a message that none of the secrets signed, or that is more than 300 s off.

    `header` is `t=<unix seconds>,v1=<hex>[,v1=...]`: HMAC-SHA256 of `{t}.{raw body}`, with the
    `whsec_...` text itself as the key (docs.stripe.com/webhooks/signature).
    """
    fields = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in fields if name == "t"]
    signatures = [value.encode(errors="replace") for name, _, value in fields if name == "v1"]
    if len(times) != 1 or not _TIMESTAMP.fullmatch(times[0]) or not signatures:
        raise SignatureRefused(
            "The message carries no signature of Stripe.",
            hint="Send it with a Stripe-Signature header, `t=...,v1=...`.",
        )
    signed = times[0].encode() + b"." + body
    # An empty secret would be one that everybody knows.
    keys = [key for secret in secrets if (key := secret.strip().encode())]
    ours = [hmac.digest(key, signed, "sha256").hex().encode() for key in keys]
    matches = [hmac.compare_digest(mine, theirs) for mine in ours for theirs in signatures]
    if not any(matches):
        raise SignatureRefused(
            "The message is not signed by this installation's Stripe account.",
            hint="Check STRIPE_WEBHOOK_SECRET: each endpoint has its own.",
        )
    if abs(now.timestamp() - int(times[0])) > _WINDOW_S:
        raise SignatureRefused(
            f"The message was signed more than {_WINDOW_S} s from now.",
            hint="Check the clock of this machine. Stripe signs again whenever it sends again.",
        )


def read_event(body: bytes) -> StripeEvent:
    """Read an event from its raw body; BadInput when it is none.

    Fields that an object does not have, or has in another shape, are None.
    """
    try:
        event = msgspec.json.decode(body, type=_Event)
    except _UNREADABLE as error:
        raise BadInput(
            "The message is no event of Stripe with the object it is about.",
            hint="Choose snapshot events for the webhook endpoint, not thin ones.",
        ) from error
    thing = event.data.thing
    kind, id_ = _text(thing.get("object")), _text(thing.get("id"))
    invoiced = _invoiced_subscription(thing)
    metadata = {**_texts(invoiced.get("metadata")), **_texts(thing.get("metadata"))}
    return StripeEvent(
        id=event.id,
        type=event.type,
        created=_when(event.created),
        object_kind=kind,
        object_id=id_,
        customer_id=id_ if kind == "customer" else _reference(thing.get("customer")),
        subscription_id=id_ if kind == "subscription" else _reference(invoiced.get("subscription")),
        tenant_id=_uuid(metadata.get("tenant_id") or _text(thing.get("client_reference_id"))),
        metadata=metadata,
    )


def parse_prices(text: str) -> dict[Tier, str]:
    """Read `STARTER=price_1,PRO=price_2`, the form of STRIPE_PRICES; blank means no plan is sold.

    BadSetting names the entry by its place, never by its value: it may be a key put there wrongly.
    """
    prices: dict[Tier, str] = {}
    for place, entry in enumerate(text.split(",") if text.strip() else [], start=1):
        name, _, price = (part.strip() for part in entry.partition("="))
        tier = next((tier for tier in MONTHLY_QUOTA if tier == name.upper()), None)
        if tier is None or tier == "FREE":
            raise _bad_prices(place, "does not begin with a plan that is sold")
        if not _PRICE.fullmatch(price):
            raise _bad_prices(place, f"gives {tier} no price id")
        if tier in prices:
            raise _bad_prices(place, f"gives {tier} a second price")
        if price in prices.values():
            raise _bad_prices(place, f"gives {tier} the price of another plan")
        prices[tier] = price
    return prices


class Stripe:
    """Stripe's API for one account: who pays, where they pay, and what they have.

    What passes by itself (no answer, 409, 429, 5xx) is VendorUnreachable, what somebody has to
    change first is VendorRefused; the messages hold neither the key nor sentences of Stripe's.
    """

    def __init__(
        self,
        api_url: str,
        *,
        api_key: str,
        api_version: str,
        prices: Mapping[Tier, str],
        outgoing: Outgoing,
    ) -> None:
        self._api_url = api_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {api_key}", "Stripe-Version": api_version}
        self._prices = dict(prices)
        self._tiers = {price: tier for tier, price in prices.items()}
        self._outgoing = outgoing

    async def create_customer(self, tenant_id: UUID, email: str, name: str) -> str:
        """Make a tenant's customer and return its id; the same words within a day make one."""
        form = {"email": email, "name": name, "metadata[tenant_id]": str(tenant_id)}
        # The key follows from the words: two clicks at once, or a click after a crash between
        # this call and the commit, find the customer of the first.
        key = "customer-" + sha256(urlencode(form).encode()).hexdigest()
        made = await self._post("customers", form, _Named, key=key, task="make a customer")
        return made.id

    async def checkout_url(
        self, customer: str, *, tier: Tier, tenant_id: UUID, success_url: str, cancel_url: str
    ) -> str:
        """Make a page on which the customer subscribes to a plan, and return its address."""
        if tier not in self._prices:
            sold = ", ".join(self._prices) or "another one: STRIPE_PRICES names none"
            raise BadInput(f"The plan {tier} is not sold here.", hint=f"Choose {sold}.")
        form = {
            "mode": "subscription",
            "customer": customer,
            "client_reference_id": str(tenant_id),
            "line_items[0][price]": self._prices[tier],
            "line_items[0][quantity]": "1",
            "success_url": success_url,
            "cancel_url": cancel_url,
            # Metadata of the session alone is not copied to the subscription.
            "subscription_data[metadata][tenant_id]": str(tenant_id),
            "subscription_data[metadata][tier]": tier,
        }
        made = await self._post("checkout/sessions", form, _Link, task="open a checkout")
        return made.url

    async def portal_url(self, customer: str, return_url: str) -> str:
        """Make a page on which the customer changes plan, card or ends it; return its address."""
        form = {"customer": customer, "return_url": return_url}
        made = await self._post("billing_portal/sessions", form, _Link, task="open the portal")
        return made.url

    async def subscription(self, subscription_id: str) -> Subscription:
        """Read a subscription; an ended one is still there."""
        if not _ID.fullmatch(subscription_id):
            raise BadInput("That is no id of a subscription.", hint="It looks like `sub_1Ab2`.")
        path, task = f"subscriptions/{subscription_id}", f"read {subscription_id}"
        answer = await self._get(path, {}, _Subscription, task=task)
        return self._subscription(answer)

    async def subscriptions_of(self, customer: str) -> list[Subscription]:
        """Read all subscriptions that a customer has or had, in Stripe's order: newest first."""
        # Without `status=all` the ended ones are left out.
        params = {"customer": customer, "status": "all", "limit": _PAGE}
        found: list[Subscription] = []
        while True:
            page = await self._get("subscriptions", params, _Page, task="list subscriptions")
            found.extend(map(self._subscription, page.data))
            if not (page.has_more and page.data):
                return found
            params["starting_after"] = page.data[-1].id

    async def cancel_all(self, customer: str) -> list[str]:
        """End at once whatever subscriptions a customer has; return their ids."""
        live = [
            each.id for each in await self.subscriptions_of(customer) if each.status not in OVER
        ]
        for id_ in live:
            url, headers = f"{self._api_url}/subscriptions/{id_}", self._headers
            answer = await self._outgoing.request("DELETE", url, headers=headers)
            # An attempt whose answer was lost has ended it, and the next one does not find it.
            if answer.status not in _SUCCESS and (await self.subscription(id_)).status not in OVER:
                raise _refusal(answer, f"cancel {id_}")
        return live

    async def current(self, customer: str) -> Subscription | None:
        """Find the subscription that decides what the customer has, or None without any.

        One in good standing comes before one past due, and that before the rest; among equals
        one whose price is known, then the newest.
        """
        found = await self.subscriptions_of(customer)
        return min(found, key=_precedence, default=None)

    def _subscription(self, answer: _Subscription) -> Subscription:
        items = answer.items.data
        ours = [item for item in items if item.price.id in self._tiers]
        # Of several plans the largest counts; items of other prices are no plans of ours.
        item = max(ours, key=self._quota_of, default=items[0] if items else None)
        end = item.current_period_end if item else None
        return Subscription(
            id=answer.id,
            customer=answer.customer if isinstance(answer.customer, str) else answer.customer.id,
            status=answer.status,
            tier=self._tiers.get(item.price.id) if item else None,
            created=_when(answer.created),
            period_end=None if end is None else _when(end),
            tenant_id=_uuid(answer.metadata.get("tenant_id")),
        )

    def _quota_of(self, item: _Item) -> int:
        return MONTHLY_QUOTA[self._tiers[item.price.id]]

    async def _get(
        self, path: str, params: Mapping[str, str], shape: type[_Shape], *, task: str
    ) -> _Shape:
        url = f"{self._api_url}/{path}"
        answer = await self._outgoing.request("GET", url, headers=self._headers, params=params)
        return _read(answer, shape, task)

    async def _post(
        self,
        path: str,
        form: Mapping[str, str],
        shape: type[_Shape],
        *,
        task: str,
        key: str | None = None,
    ) -> _Shape:
        # A page is made anew for each call: under a lasting key a spent one would come back.
        headers = {**self._headers, "Idempotency-Key": key or str(uuid4())}
        url = f"{self._api_url}/{path}"
        answer = await self._outgoing.request("POST", url, headers=headers, form=form)
        return _read(answer, shape, task)


def _read(answer: Answer, shape: type[_Shape], task: str) -> _Shape:
    if answer.status not in _SUCCESS:
        raise _refusal(answer, task)
    try:
        return msgspec.json.decode(answer.body, type=shape)
    except _UNREADABLE as error:
        raise VendorRefused(
            f"Stripe's answer cannot be read: it was asked to {task}.",
            hint="Check STRIPE_API_URL, and that STRIPE_API_VERSION is 2025-03-31 or newer.",
        ) from error


def _refusal(answer: Answer, task: str) -> VendorError:
    if answer.status in _PASSING or answer.status >= _SERVER_FAULT:
        why, hint = _PASSING.get(answer.status, _TROUBLE)
        kind: type[VendorError] = VendorUnreachable
    else:
        why, hint = _LASTING.get(answer.status, _WRONG)
        kind = VendorRefused
    details = ", ".join([f"status {answer.status}", *_details(answer)])
    return kind(f"Stripe does not {task}: {why} ({details}).", hint=hint)


def _details(answer: Answer) -> list[str]:
    """Pick the words that find the call in Stripe's own log and documentation."""
    try:
        problem = msgspec.json.decode(answer.body, type=_Refusal).error
    except _UNREADABLE:
        problem = _Problem()  # a proxy's page, not Stripe's answer
    words = {
        "code": problem.code,
        "reason": problem.decline_code,
        "parameter": problem.param,
        "request": answer.headers.get("request-id"),
    }
    return [f"{name} {word}" for name, word in words.items() if word and _WORD.fullmatch(word)]


def _precedence(subscription: Subscription) -> tuple[int, bool, float]:
    rank = {"active": 0, "trialing": 0, "past_due": 1}.get(subscription.status, 2)
    return rank, subscription.tier is None, -subscription.created.timestamp()


def _bad_prices(place: int, why: str) -> BadSetting:
    sold = ",".join(f"{tier}=price_..." for tier in MONTHLY_QUOTA if tier != "FREE")
    return BadSetting(f"STRIPE_PRICES: entry {place} {why}.", hint=f"Write it as `{sold}`.")


def _invoiced_subscription(thing: Mapping[str, object]) -> dict[str, object]:
    """Find the subscription that an object names, with its metadata where they are given.

    Invoices of version 2025-03-31 and newer name it in `parent.subscription_details`; older ones,
    and checkout sessions of any version, in `subscription`.
    """
    details = _fields(_fields(thing.get("parent")).get("subscription_details"))
    if details:
        return details
    old = _fields(thing.get("subscription_details"))
    return {"subscription": thing.get("subscription"), "metadata": old.get("metadata")}


def _fields(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: object) -> dict[str, str]:
    return {name: text for name, text in _fields(value).items() if isinstance(text, str)}


def _reference(value: object) -> str | None:
    """Read an id that Stripe gives as text or, expanded, as the object itself."""
    return _text(value) or _text(_fields(value).get("id"))


def _uuid(value: str | None) -> UUID | None:
    try:
        return UUID(value) if value else None
    except ValueError:
        return None


def _when(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
