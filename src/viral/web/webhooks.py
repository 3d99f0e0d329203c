"""POST /webhooks/...: what vendors tell us, signed; answered at once, repeated without effect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from litestar import post
from litestar.exceptions import NotFoundException

from viral.adapters import stripe as stripe_adapter
from viral.adapters import svix
from viral.adapters.clerk.events import read_event
from viral.adapters.stripe import Stripe
from viral.features.billing import Entitlement, PaymentEvent, apply_payment_event
from viral.settings import listed
from viral.web.clerk import apply_clerk_event
from viral.web.dependencies import Wired
from viral.web.requests import WebRequest

# Vendors send no form of ours: the signature over the raw body is what lets them in.
SIGNED = {"door": "open", "exclude_from_csrf": True}


class Received(msgspec.Struct, frozen=True):
    """What became of a delivery: applied, known, outdated or ignored."""

    outcome: str


@post("/webhooks/stripe", opt=SIGNED, status_code=200, include_in_schema=False)
async def receive_stripe(request: WebRequest, runtime: Wired) -> Received:
    """Take an event of Stripe's and bring its customer's plan to what Stripe says now."""
    secret, stripe = runtime.settings.stripe_webhook_secret, runtime.vendors.stripe
    if secret is None or stripe is None:
        raise NotFoundException
    body = await request.body()
    stripe_adapter.verify_signature(
        listed(secret.get_secret_value()),
        request.headers.get("stripe-signature", ""),
        body,
        runtime.clock(),
    )
    event = stripe_adapter.read_event(body)
    told = PaymentEvent("stripe", event.id, event.type, event.customer_id, event.tenant_id)
    return Received(await apply_payment_event(runtime.system, told, asker(stripe)))


@post("/webhooks/clerk", opt=SIGNED, status_code=200, include_in_schema=False)
async def receive_clerk(request: WebRequest, runtime: Wired) -> Received:
    """Take an event of Clerk's about people, organizations or memberships."""
    secret = runtime.settings.clerk_webhook_secret
    if secret is None:
        raise NotFoundException
    body = await request.body()
    event_id = svix.verify(
        listed(secret.get_secret_value()), request.headers, body, now=runtime.clock()
    )
    event = read_event(body)
    if event is None:
        return Received("ignored")
    outcome = await apply_clerk_event(
        runtime, event_id=event_id, event_type=type(event).__name__, event=event
    )
    return Received(outcome)


def asker(stripe: Stripe) -> Callable[[str], Awaitable[Entitlement | None]]:
    """Ask Stripe which subscription of a customer decides."""

    async def ask(customer: str) -> Entitlement | None:
        found = await stripe.current(customer)
        return None if found is None else Entitlement(found.id, found.status, found.tier)

    return ask
