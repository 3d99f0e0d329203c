"""Stripe on 127.0.0.1: what the API takes and refuses, subscriptions as they live, signed events.

Shapes and refusals are those of docs.stripe.com/api (version 2025-03-31 and newer); nothing here
comes from the code under test.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Lock, Thread
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

Json = dict[str, Any]

# docs.stripe.com/billing/subscriptions/overview, "Subscription statuses".
NEXT_STATUS: dict[str, set[str]] = {
    "incomplete": {"active", "incomplete_expired"},
    "trialing": {"active", "past_due", "paused", "canceled"},
    "active": {"past_due", "canceled"},
    "past_due": {"active", "unpaid", "canceled"},
    "unpaid": {"active", "canceled"},
    "paused": {"active", "canceled"},
    "incomplete_expired": set(),
    "canceled": set(),
}
CHECKOUT = (
    r"mode|customer|client_reference_id|success_url|cancel_url|metadata\[\w+\]"
    r"|line_items\[\d\]\[(price|quantity)\]|subscription_data\[metadata\]\[\w+\]"
)
# What each call takes, and which of it must be there.
TAKES: dict[str, tuple[str, set[str]]] = {
    "POST customers": (r"email|name|metadata\[\w+\]", set()),
    "POST checkout/sessions": (
        CHECKOUT,
        {"mode", "customer", "line_items[0][price]", "line_items[0][quantity]", "success_url"},
    ),
    "POST billing_portal/sessions": (r"customer|return_url", {"customer"}),
    "GET subscriptions": (r"customer|status|limit|starting_after", set()),
}
ENDED = {"canceled", "incomplete_expired"}
MONTH_S = 30 * 86_400


class Refused(Exception):
    """An answer that is no success."""

    def __init__(
        self, status: int, code: str, *, param: str | None = None, kind: str | None = None
    ) -> None:
        super().__init__(code)
        self.status = status
        self.error = {
            "type": kind or ("api_error" if status >= 500 else "invalid_request_error"),
            "code": code,
            "param": param,
            "message": f"A sentence of Stripe's about {param or code}.",
        }


@dataclass(frozen=True)
class Call:
    """A request as it came; the names of its headers are lower-case."""

    method: str
    path: str
    fields: dict[str, str]
    headers: dict[str, str]


@dataclass(frozen=True)
class Delivery:
    """A webhook request as Stripe sends it."""

    body: bytes
    headers: dict[str, str]


@dataclass
class FakeStripe:
    """An account of its own; use it as a context manager, or `start` and `close` it."""

    api_key: str = "sk_test_51FakeKeyOfTheTests"
    webhook_secret: str = "whsec_fake"
    prices: set[str] = field(default_factory=lambda: {"price_1", "price_2", "price_3"})
    customers: dict[str, Json] = field(default_factory=dict)
    sessions: dict[str, Json] = field(default_factory=dict)
    subscriptions: dict[str, Json] = field(default_factory=dict)
    events: list[Json] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._numbers = count(1)
        self._seconds = count(1_790_000_000)
        self._answered: dict[str, tuple[Call, Json]] = {}
        self._faults: list[Refused] = []
        self._answers_to_lose = 0
        self._lock = Lock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Listen on a free port of 127.0.0.1, in a thread."""
        fake = self

        class Handler(_Handler):
            stripe = fake

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # Closing waits for the threads: none holds a socket past it.
        self._server.daemon_threads = False
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        """Stop listening and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Give the base address of the API, as in STRIPE_API_URL."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def counts(self) -> Counter[str]:
        """Count the calls as `POST customers`; each attempt counts."""
        return Counter(f"{call.method} {call.path}" for call in self.calls)

    # What a test makes happen.

    def fail(self, status: int, code: str, *, times: int = 1) -> None:
        """Refuse the next calls before they do anything."""
        self._faults += [Refused(status, code)] * times

    def lose_answers(self, times: int = 1) -> None:
        """Carry the next calls out, and cut the connection before the answer."""
        self._answers_to_lose += times

    def subscribe(
        self,
        customer: str,
        *prices: str,
        status: str = "active",
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """Make a subscription, as the API, the dashboard or a paid checkout does."""
        id_, now = self._id("sub"), next(self._seconds)
        self.subscriptions[id_] = {
            "id": id_,
            "object": "subscription",
            "customer": customer,
            "status": status,
            "created": now,
            "metadata": dict(metadata or {}),
            "items": {
                "object": "list",
                "data": [
                    {
                        "id": self._id("si"),
                        "object": "subscription_item",
                        "price": {"id": price, "object": "price", "product": "prod_1"},
                        "quantity": 1,
                        "current_period_start": now,
                        "current_period_end": now + MONTH_S,
                    }
                    for price in prices
                ],
            },
        }
        self._tell("customer.subscription.created", self.subscriptions[id_])
        return id_

    def pay(self, session_id: str, *, status: str = "active") -> str:
        """Complete a checkout; the subscription gets what the session gave for it, no more."""
        session = self.sessions[session_id]
        assert session["status"] == "open", "a checkout is paid once"
        subscription = self.subscribe(
            session["customer"], *session["_prices"], status=status, metadata=session["_metadata"]
        )
        session |= {"status": "complete", "subscription": subscription}
        self._tell("checkout.session.completed", _public(session))
        if status == "active":
            self._tell("invoice.paid", self._invoice(subscription, "paid"))
        return subscription

    def change(self, subscription_id: str, status: str) -> None:
        """Move a subscription to its next status, as time, the bank or a person does."""
        subscription = self.subscriptions[subscription_id]
        before = subscription["status"]
        assert status in NEXT_STATUS[before], f"{before} does not become {status}"
        subscription["status"] = status
        if status == "past_due":
            self._tell("invoice.payment_failed", self._invoice(subscription_id, "open"))
        if status == "active" and before != "paused":
            self._tell("invoice.paid", self._invoice(subscription_id, "paid"))
        verb = {"canceled": "deleted", "paused": "paused"}.get(status, "updated")
        if before == "paused" and status == "active":
            verb = "resumed"
        self._tell(f"customer.subscription.{verb}", subscription)

    def change_price(self, subscription_id: str, price: str) -> None:
        """Change the plan in the portal: the metadata stays what it was at the checkout."""
        subscription = self.subscriptions[subscription_id]
        subscription["items"]["data"][0]["price"]["id"] = price
        self._tell("customer.subscription.updated", subscription)

    def delivery(
        self, event: Json | bytes, *, secret: str | None = None, at: float | None = None
    ) -> Delivery:
        """Sign an event for sending, at `at` (unix seconds): any event, as often as wanted."""
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        sent = int(time.time() if at is None else at)
        key = (secret or self.webhook_secret).encode()
        signature = hmac.new(key, f"{sent}.".encode() + body, hashlib.sha256).hexdigest()
        headers = {
            "Stripe-Signature": f"t={sent},v1={signature}",
            "Content-Type": "application/json",
        }
        return Delivery(body, headers)

    # What the API does.

    def answer(self, call: Call) -> tuple[int, Json, bool]:
        """Carry a call out: the status, the body, and whether the answer arrives."""
        with self._lock:
            self.calls.append(call)
            try:
                body = self._carry_out(call)
            except Refused as refused:
                return refused.status, {"error": refused.error}, True
            arrives = self._answers_to_lose == 0
            self._answers_to_lose -= not arrives
            return 200, body, arrives

    def _carry_out(self, call: Call) -> Json:
        if self._faults:
            raise self._faults.pop(0)
        if call.headers.get("authorization") != f"Bearer {self.api_key}":
            raise Refused(401, "api_key_invalid")
        if not call.headers.get("stripe-version"):
            raise Refused(400, "version_missing")  # the account's own version is not ours
        key = call.headers.get("idempotency-key")
        if call.method != "POST" or key is None:
            return self._routed(call)
        if key in self._answered:
            first, body = self._answered[key]
            if (first.path, first.fields) != (call.path, call.fields):
                raise Refused(400, "idempotency_key_reused", kind="idempotency_error")
            return body
        body = self._routed(call)
        self._answered[key] = (call, body)
        return body

    def _routed(self, call: Call) -> Json:
        route = f"{call.method} {call.path}"
        if found := re.fullmatch(r"GET subscriptions/(\w+)", route):
            return self._known(self.subscriptions, found[1], "id", status=404)
        if found := re.fullmatch(r"DELETE subscriptions/(\w+)", route):
            if self._known(self.subscriptions, found[1], "id", status=404)["status"] in ENDED:
                raise Refused(404, "resource_missing", param="id")
            self.change(found[1], "canceled")
            return self.subscriptions[found[1]]
        if route not in TAKES:
            raise Refused(404, "url_invalid")
        takes, needs = TAKES[route]
        for name in sorted(needs - call.fields.keys()):
            raise Refused(400, "parameter_missing", param=name)
        for name, value in call.fields.items():
            if not re.fullmatch(takes, name):
                raise Refused(400, "parameter_unknown", param=name)
            if name.endswith("_url") and not urlsplit(value).netloc:
                raise Refused(400, "url_invalid", param=name)
        return {
            "POST customers": self._make_customer,
            "POST checkout/sessions": self._make_session,
            "POST billing_portal/sessions": self._make_portal,
            "GET subscriptions": self._list,
        }[route](call.fields)

    def _make_customer(self, fields: Json) -> Json:
        id_ = self._id("cus")
        self.customers[id_] = {
            "id": id_,
            "object": "customer",
            "email": fields.get("email"),
            "name": fields.get("name"),
            "metadata": _nested(fields, "metadata"),
        }
        return self.customers[id_]

    def _make_session(self, fields: Json) -> Json:
        self._known(self.customers, fields["customer"], "customer")
        price = fields["line_items[0][price]"]
        if price not in self.prices:
            raise Refused(400, "resource_missing", param="line_items[0][price]")
        id_ = self._id("cs_test")
        self.sessions[id_] = {
            "id": id_,
            "object": "checkout.session",
            "mode": fields["mode"],
            "customer": fields["customer"],
            "client_reference_id": fields.get("client_reference_id"),
            "metadata": _nested(fields, "metadata"),
            "status": "open",
            "subscription": None,
            "success_url": fields["success_url"],
            "url": self.url.removesuffix("/v1") + f"/c/pay/{id_}",
            "_prices": [price],
            "_metadata": _nested(fields, "subscription_data[metadata]"),
        }
        return _public(self.sessions[id_])

    def _make_portal(self, fields: Json) -> Json:
        self._known(self.customers, fields["customer"], "customer")
        id_ = self._id("bps")
        url = self.url.removesuffix("/v1") + f"/p/session/{id_}"
        return {"id": id_, "object": "billing_portal.session", "url": url, **fields}

    def _list(self, fields: Json) -> Json:
        self._known(self.customers, fields["customer"], "customer")
        wanted = fields.get("status")
        found = [
            one
            for one in reversed(self.subscriptions.values())
            if one["customer"] == fields["customer"]
            and (wanted in {"all", one["status"]} or (not wanted and one["status"] not in ENDED))
        ]
        if after := fields.get("starting_after"):
            self._known(self.subscriptions, after, "starting_after")
            found = found[[one["id"] for one in found].index(after) + 1 :]
        limit = int(fields.get("limit", 10))
        if not 1 <= limit <= 100:
            raise Refused(400, "parameter_invalid_integer", param="limit")
        return {"object": "list", "data": found[:limit], "has_more": len(found) > limit}

    def _known(self, things: dict[str, Json], id_: str, param: str, *, status: int = 400) -> Json:
        if id_ not in things:
            raise Refused(status, "resource_missing", param=param)
        return things[id_]

    def _invoice(self, subscription_id: str, status: str) -> Json:
        subscription = self.subscriptions[subscription_id]
        return {
            "id": self._id("in"),
            "object": "invoice",
            "customer": subscription["customer"],
            "status": status,
            "metadata": {},
            "parent": {
                "type": "subscription_details",
                "subscription_details": {
                    "subscription": subscription_id,
                    "metadata": subscription["metadata"],
                },
            },
        }

    def _tell(self, kind: str, thing: Json) -> None:
        event = {
            "id": self._id("evt"),
            "object": "event",
            "type": kind,
            "created": next(self._seconds),
            "livemode": False,
            "data": {"object": thing},
        }
        self.events.append(json.loads(json.dumps(event)))

    def _id(self, prefix: str) -> str:
        return f"{prefix}_{next(self._numbers):06}"


class _Handler(BaseHTTPRequestHandler):
    stripe: FakeStripe

    def do_GET(self) -> None:
        self._answer(urlsplit(self.path).query)

    def do_DELETE(self) -> None:
        self._answer(urlsplit(self.path).query)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        is_form = self.headers.get("Content-Type") == "application/x-www-form-urlencoded"
        self._answer(body.decode() if is_form else "")

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def _answer(self, text: str) -> None:
        path = urlsplit(self.path).path.removeprefix("/v1/")
        fields = dict(parse_qsl(text, keep_blank_values=True))
        headers = {name.lower(): value for name, value in self.headers.items()}
        call = Call(self.command, path, fields, headers)
        status, answer, arrives = self.stripe.answer(call)
        if not arrives:
            return
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Request-Id", f"req_{len(self.stripe.calls):06}")
        self.end_headers()
        self.wfile.write(body)


def _public(thing: Json) -> Json:
    return {name: value for name, value in thing.items() if not name.startswith("_")}


def _nested(fields: Json, name: str) -> Json:
    found = {re.fullmatch(re.escape(name) + r"\[(\w+)\]", key): key for key in fields}
    return {match[1]: fields[key] for match, key in found.items() if match}
