"""/api/v1/billing: pages of Stripe, on which a tenant buys, changes or ends its plan.

Written by `make docs`; do not edit.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from viral.client.calls import Calls, read


class BillingPage(msgspec.Struct, frozen=True):
    """Where to send the person who pays."""

    page: Literal["checkout", "portal"]
    url: str


class Billing(Calls):
    """Pages of Stripe, on which a tenant buys, changes or ends its plan."""

    def open_checkout(
        self,
        *,
        plan: Literal["FREE", "STARTER", "PRO", "AGENCY"],
        idempotency_key: str | None = None,
    ) -> BillingPage:
        """Open the page that sells a plan; who has one already changes it in the portal.

        Admins only.

        The plan changes once Stripe tells of the payment.
        """
        return read(
            self._ask(
                "POST", "/billing/checkout", idempotency_key=idempotency_key, body={"plan": plan}
            ),
            BillingPage,
        )

    def open_portal(self, *, idempotency_key: str | None = None) -> BillingPage:
        """Open the page on which the plan is changed or ended, and cards and bills are.

        Admins only.
        """
        return read(
            self._ask("POST", "/billing/portal", idempotency_key=idempotency_key), BillingPage
        )
