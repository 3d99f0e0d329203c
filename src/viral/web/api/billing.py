"""/api/v1/billing: pages of Stripe, on which a tenant buys, changes or ends its plan."""

from __future__ import annotations

from functools import partial
from typing import Final, Literal, TypeAlias

import msgspec
from litestar import post
from litestar.params import JSONBody

from viral.adapters.stripe import OVER, Stripe
from viral.errors import NotFound
from viral.features.billing import customer_of
from viral.features.users.sessions import Identity
from viral.runtime import Runtime
from viral.schema.vocabulary import Tier
from viral.web.deeds import note_deed
from viral.web.dependencies import Person, Wired
from viral.web.door import admins_only
from viral.web.idempotency import SAID_ONCE
from viral.web.links import link_to
from viral.web.requests import WebRequest

Kind: TypeAlias = Literal["checkout", "portal"]


class PlanWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The plan to buy."""

    plan: Tier


class BillingPage(msgspec.Struct, frozen=True):
    """Where to send the person who pays."""

    page: Kind
    url: str


@post("/billing/checkout", operation_id="open_checkout", guards=[admins_only], opt=SAID_ONCE)
async def open_checkout(
    request: WebRequest, runtime: Wired, identity: Person, data: JSONBody[PlanWanted]
) -> BillingPage:
    """Open the page that sells a plan; who has one already changes it in the portal. Admins only.

    The plan changes once Stripe tells of the payment.
    """
    stripe = _stripe(runtime)
    customer = await _customer(runtime, stripe, identity)
    # Beside one that may still be paid, a checkout would sell the plan twice.
    if any(each.status not in OVER for each in await stripe.subscriptions_of(customer)):
        return await _portal(request, runtime, identity, customer)
    url = await stripe.checkout_url(
        customer,
        tier=data.plan,
        tenant_id=identity.tenant_id,
        success_url=link_to(request, "/"),
        cancel_url=link_to(request, "/"),
    )
    return await _opened(request, runtime, identity, BillingPage("checkout", url), plan=data.plan)


@post("/billing/portal", operation_id="open_portal", guards=[admins_only], opt=SAID_ONCE)
async def open_portal(request: WebRequest, runtime: Wired, identity: Person) -> BillingPage:
    """Open the page on which the plan is changed or ended, and cards and bills are. Admins only."""
    customer = await _customer(runtime, _stripe(runtime), identity)
    return await _portal(request, runtime, identity, customer)


def _stripe(runtime: Runtime) -> Stripe:
    if runtime.vendors.stripe is None:
        raise NotFound(
            "Plans are not sold here.", hint="Ask the operator of this installation for another."
        )
    return runtime.vendors.stripe


async def _customer(runtime: Runtime, stripe: Stripe, identity: Identity) -> str:
    make = partial(stripe.create_customer, identity.tenant_id, identity.email)
    return await customer_of(runtime.system, identity.tenant_id, make)


async def _portal(
    request: WebRequest, runtime: Runtime, identity: Identity, customer: str
) -> BillingPage:
    url = await _stripe(runtime).portal_url(customer, link_to(request, "/"))
    return await _opened(request, runtime, identity, BillingPage("portal", url))


async def _opened(
    request: WebRequest,
    runtime: Runtime,
    identity: Identity,
    page: BillingPage,
    *,
    plan: Tier | None = None,
) -> BillingPage:
    # Its own transaction, after Stripe has answered: none stays open while somebody else thinks.
    async with runtime.app.tenant_session(identity.tenant_id) as session:
        await note_deed(request, session, identity, "opened billing", page.page, plan=plan)
    return page


ROUTES: Final = (open_checkout, open_portal)
