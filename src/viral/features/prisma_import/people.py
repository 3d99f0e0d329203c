"""Tenants, users and their keys."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from viral.features.prisma_import.fields import LARGEST_INTEGER, SourceRow
from viral.features.prisma_import.ids import derived_id, target_id
from viral.features.prisma_import.steps import Entry, Known, KnownKey, Step
from viral.schema.tenants import ApiKey, Membership, Tenant, User
from viral.schema.vocabulary import MONTHLY_QUOTA, ROLES

if TYPE_CHECKING:
    from uuid import UUID

LONGEST_NAME = 200
LONGEST_SLUG = 50
LONGEST_EMAIL = 320
# A key that can be guessed is none; the product's own have 35 characters.
SHORTEST_KEY = 20
PREFIX = 8
STATUSES = (
    "active",
    "trialing",
    "past_due",
    "canceled",
    "incomplete",
    "incomplete_expired",
    "unpaid",
    "paused",
)


def _tenant(row: SourceRow, known: Known) -> list[Entry]:
    tenant_id = target_id("tenants", row.id)
    values: dict[str, object] = {
        "id": tenant_id,
        "name": _name(row, known),
        "subscription_tier": row.choice("subscriptionTier", tuple(MONTHLY_QUOTA)),
        "subscription_status": row.choice("subscriptionStatus", STATUSES),
        "stripe_customer_id": row.word_or_none("stripeCustomerId"),
        "stripe_subscription_id": row.word_or_none("stripeSubscriptionId"),
        "monthly_quota": row.count("monthlyQuota", most=LARGEST_INTEGER),
        "used_quota": row.count("usedQuota", most=LARGEST_INTEGER),
        "quota_reset_at": row.time("quotaResetAt"),
        "is_demo": False,
        "created_at": row.time("createdAt"),
        "updated_at": row.time("updatedAt"),
    }
    for column in ("stripe_customer_id", "stripe_subscription_id"):
        if values[column] is not None:
            known.take(column, values[column], row_id=tenant_id)
    values["slug"] = _slug(str(values["name"]), tenant_id, known)
    known.tenants[row.id] = tenant_id
    return [Entry(Tenant, row.id, values)]


def _name(row: SourceRow, known: Known) -> str:
    name = row.text("name").strip()
    if name and len(name) <= LONGEST_NAME:
        return name
    known.report.mend("tenants", "name", f"was empty or longer than {LONGEST_NAME} characters")
    return name[:LONGEST_NAME] or f"Tenant {row.id}"[:LONGEST_NAME]


def _slug(name: str, tenant_id: UUID, known: Known) -> str:
    """Make a short name of a long one; a tenant that is here already keeps its own."""
    if tenant_id in known.slugs:
        return known.slugs[tenant_id]
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST_SLUG] or "tenant"
    if known.taken.setdefault(("slug", slug), tenant_id) != tenant_id:
        slug = f"{slug}-{tenant_id.hex[-12:]}"
    known.slugs[tenant_id] = slug
    return slug


def _user(row: SourceRow, known: Known) -> list[Entry]:
    user_id = target_id("users", row.id)
    email = row.word("email", longest=LONGEST_EMAIL).lower()
    clerk_id = row.word_or_none("clerkId")
    role = row.choice("role", ROLES)
    tenant_id = known.tenants.get(row.text_or_none("tenantId") or "")
    values: dict[str, object] = {
        "id": user_id,
        "clerk_id": clerk_id,
        "email": email,
        "name": row.text_or_none("name"),
        "image_url": row.text_or_none("imageUrl"),
        "tenant_id": tenant_id,
        "last_login_at": row.time_or_none("lastLoginAt"),
        "created_at": row.time("createdAt"),
        "updated_at": row.time("updatedAt"),
    }
    known.take("email", email, row_id=user_id)
    if clerk_id is not None:
        known.take("clerkId", clerk_id, row_id=user_id)
    made = [Entry(User, row.id, values)]
    if tenant_id is None:
        known.report.mend("users", "tenantId", "its tenant is not imported: set to null")
    else:
        made.append(_membership(row, tenant_id, user_id, role))
    return made + _key(row, tenant_id, user_id, known)


def _membership(row: SourceRow, tenant_id: UUID, user_id: UUID, role: str) -> Entry:
    values: dict[str, object] = {
        "tenant_id": tenant_id,
        "id": derived_id("memberships", str(user_id)),
        "user_id": user_id,
        "role": role,
        "created_at": row.time("createdAt"),
    }
    return Entry(Membership, row.id, values)


def _key(row: SourceRow, tenant_id: UUID | None, user_id: UUID, known: Known) -> list[Entry]:
    """Keep a key as its keyed hash: it works as before, and cannot be read any more."""
    key = row.values.get("apiKey")
    if not isinstance(key, str):
        return []
    if tenant_id is None or len(key) < SHORTEST_KEY:
        reason = "its tenant is not imported" if tenant_id is None else "is too short to be secret"
        known.report.reject("api_keys", row.id, "apiKey", reason)
        return []
    key_id = derived_id("api_keys", str(user_id))
    known.keys[key] = KnownKey(key_id, tenant_id, user_id)
    values: dict[str, object] = {
        "tenant_id": tenant_id,
        "id": key_id,
        "user_id": user_id,
        "name": "Imported key",
        "prefix": key[:PREFIX],
        "key_hmac": known.key_hmac(key),
        "created_at": row.time("createdAt"),
    }
    return [Entry(ApiKey, row.id, values)]


STEPS = (
    Step("tenants", _tenant, (Tenant,), '"createdAt", id'),
    Step("users", _user, (User, Membership, ApiKey), '"createdAt", id'),
)
