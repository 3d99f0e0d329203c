"""Tenants, people, and what lets people in."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from viral.schema.base import (
    Base,
    Created,
    Identified,
    JsonObject,
    TenantOwned,
    Texts,
    Updated,
)
from viral.schema.security import (
    APP,
    AUTH,
    READONLY,
    SYSTEM,
    Grant,
    OwnedBy,
    Policy,
    functions_too,
    system_only,
    system_too,
    tenant_only,
)


class Tenant(Identified, Updated, Base):
    """One client: an organisation whose rows nobody else sees."""

    __tablename__ = "tenants"

    slug: Mapped[str]
    name: Mapped[str]
    subscription_tier: Mapped[str] = mapped_column(server_default="FREE")
    subscription_status: Mapped[str] = mapped_column(server_default="active")
    stripe_customer_id: Mapped[str | None]
    stripe_subscription_id: Mapped[str | None]
    monthly_quota: Mapped[int] = mapped_column(server_default="10")
    used_quota: Mapped[int] = mapped_column(server_default="0")
    quota_reset_at: Mapped[datetime] = mapped_column(
        server_default=text("(date_trunc('month', now(), 'UTC') + interval '1 month')")
    )
    is_demo: Mapped[bool] = mapped_column(server_default=text("false"))
    # What was added later stands last, as ALTER TABLE puts it.
    clerk_organization_id: Mapped[str | None] = mapped_column(sort_order=100)

    __table_args__ = (
        UniqueConstraint("slug"),
        UniqueConstraint("clerk_organization_id"),
        UniqueConstraint("stripe_customer_id"),
        UniqueConstraint("stripe_subscription_id"),
        CheckConstraint("slug ~ '^[a-z0-9][a-z0-9_-]{0,62}$'", name="slug"),
        CheckConstraint("name <> '' AND length(name) <= 200", name="name"),
        CheckConstraint("subscription_tier IN ('FREE', 'STARTER', 'PRO', 'AGENCY')", name="tier"),
        CheckConstraint(
            "subscription_status IN ('active', 'trialing', 'past_due', 'canceled', 'incomplete',"
            " 'incomplete_expired', 'unpaid', 'paused')",
            name="status",
        ),
        CheckConstraint("monthly_quota >= 0", name="monthly_quota"),
        CheckConstraint("used_quota >= 0", name="used_quota"),
        Policy("tenant_only", APP, READONLY, using="id = (SELECT viral.tenant_id())"),
        functions_too(),
        system_too(),
        Grant(APP, "SELECT"),
        Grant(APP, "UPDATE", columns=("name", "updated_at")),
        Grant(READONLY, "SELECT"),
        Grant(AUTH, "SELECT", "INSERT", "UPDATE", "DELETE", "REFERENCES"),
        Grant(SYSTEM, "SELECT"),
        Grant(
            SYSTEM,
            "UPDATE",
            columns=(
                "name",
                "subscription_tier",
                "subscription_status",
                "stripe_customer_id",
                "stripe_subscription_id",
                "monthly_quota",
                "clerk_organization_id",
                "updated_at",
            ),
        ),
    )


class TenantContext(Base):
    """The hash of a tenant's context token: who holds the token acts as the tenant."""

    __tablename__ = "tenant_contexts"

    token_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    key_id: Mapped[int]

    __table_args__ = (
        UniqueConstraint("tenant_id", "key_id"),
        CheckConstraint("octet_length(token_sha256) = 32", name="token_sha256"),
        OwnedBy(AUTH),
        functions_too(),
        {"schema": "viral"},
    )


class User(Identified, Updated, Base):
    """A person. What they may do is said by their memberships."""

    __tablename__ = "users"

    clerk_id: Mapped[str | None]
    email: Mapped[str]
    name: Mapped[str | None]
    image_url: Mapped[str | None]
    # Written, and never read but by the functions of signing in: the roles of the ORM may not.
    password_hash: Mapped[str | None] = mapped_column(deferred=True, deferred_raiseload=True)
    tenant_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("tenants.id", ondelete="SET NULL"),
        comment="The tenant this person opens first.",
    )
    is_operator: Mapped[bool] = mapped_column(
        server_default=text("false"),
        comment="May do to this installation what its command line may.",
    )
    last_login_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("clerk_id", postgresql_include=["id"]),
        UniqueConstraint("email"),
        Index(None, "tenant_id"),
        CheckConstraint("email = lower(email) AND length(email) <= 320", name="email"),
        Policy(
            "members_only",
            APP,
            READONLY,
            using="id IN (SELECT m.user_id FROM memberships m"
            " WHERE m.tenant_id = (SELECT viral.tenant_id()))",
            command="SELECT",
        ),
        functions_too(),
        system_too(),
        *(
            Grant(role, "SELECT", columns=("id", "email", "name", "image_url", "last_login_at"))
            for role in (APP, READONLY)
        ),
        Grant(AUTH, "SELECT", "INSERT", "UPDATE", "DELETE"),
        Grant(
            SYSTEM,
            "SELECT",
            columns=(
                "id",
                "clerk_id",
                "email",
                "name",
                "image_url",
                "tenant_id",
                "is_operator",
                "last_login_at",
                "created_at",
                "updated_at",
            ),
        ),
        Grant(SYSTEM, "INSERT", "UPDATE"),
    )


class Membership(Identified, TenantOwned, Created, Base):
    """What a person may do in a tenant; ended, never deleted while the tenant lives."""

    __tablename__ = "memberships"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    role: Mapped[str] = mapped_column(server_default="MEMBER")
    ended_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("tenant_id", "user_id"),
        Index(None, "user_id"),
        CheckConstraint("role IN ('ADMIN', 'MEMBER')", name="role"),
        tenant_only(),
        functions_too(),
        system_too(),
        Grant(APP, "SELECT"),
        Grant(READONLY, "SELECT"),
        Grant(AUTH, "SELECT", "INSERT", "UPDATE"),
        Grant(SYSTEM, "SELECT", "INSERT", "UPDATE"),
    )


class Invitation(Identified, Created, Base):
    """A link that makes the person with this e-mail a member, once.

    Looked up by an unguessable hash before a tenant is known, so the key is the id alone.
    """

    __tablename__ = "invitations"

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    email: Mapped[str]
    role: Mapped[str] = mapped_column(server_default="MEMBER")
    invited_by: Mapped[UUID]
    token_sha256: Mapped[bytes]
    expires_at: Mapped[datetime]
    accepted_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "invited_by"],
            ["memberships.tenant_id", "memberships.user_id"],
            ondelete="CASCADE",
        ),
        UniqueConstraint("token_sha256"),
        Index(None, "tenant_id", "invited_by"),
        CheckConstraint("email = lower(email) AND length(email) <= 320", name="email"),
        CheckConstraint("role IN ('ADMIN', 'MEMBER')", name="role"),
        CheckConstraint("octet_length(token_sha256) = 32", name="token_sha256"),
        tenant_only(),
        functions_too(),
        system_too("SELECT"),
        system_too("UPDATE"),
        *(
            Grant(
                role,
                "SELECT",
                columns=(
                    "id",
                    "tenant_id",
                    "email",
                    "role",
                    "invited_by",
                    "expires_at",
                    "accepted_at",
                    "revoked_at",
                    "created_at",
                ),
            )
            for role in (APP, READONLY)
        ),
        Grant(AUTH, "SELECT", "INSERT", "UPDATE"),
        Grant(
            SYSTEM,
            "SELECT",
            columns=("id", "tenant_id", "email", "invited_by", "accepted_at", "revoked_at"),
        ),
        Grant(SYSTEM, "UPDATE", columns=("revoked_at",)),
    )


class Session(Identified, Created, Base):
    """A signed-in browser; before it is opened, a sign-in link.

    Looked up by an unguessable hash before a tenant is known, so the key is the id alone.
    """

    __tablename__ = "sessions"

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    token_sha256: Mapped[bytes]
    opened_at: Mapped[datetime | None]
    last_seen_at: Mapped[datetime | None]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    method: Mapped[str] = mapped_column(server_default="link", sort_order=100)

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["memberships.tenant_id", "memberships.user_id"],
            ondelete="CASCADE",
        ),
        UniqueConstraint("token_sha256"),
        Index(None, "tenant_id", "user_id"),
        Index(None, "user_id"),
        CheckConstraint("octet_length(token_sha256) = 32", name="token_sha256"),
        CheckConstraint("method IN ('link', 'password', 'clerk')", name="method"),
        functions_too(),
        system_only(),
        Grant(AUTH, "SELECT", "INSERT", "UPDATE", "DELETE"),
        Grant(SYSTEM, "SELECT", "INSERT", "UPDATE", "DELETE"),
    )


class ApiKey(Identified, Created, Base):
    """A key of a program that acts for a person; shown once, kept as a keyed hash.

    Looked up by that hash before a tenant is known, so the key is the id alone.
    """

    __tablename__ = "api_keys"

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    user_id: Mapped[UUID]
    name: Mapped[str]
    prefix: Mapped[str]
    key_hmac: Mapped[bytes]
    scopes: Mapped[Texts] = mapped_column(server_default=text("'[]'"))
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["memberships.tenant_id", "memberships.user_id"],
            ondelete="CASCADE",
        ),
        UniqueConstraint("key_hmac"),
        Index(None, "tenant_id", "user_id"),
        CheckConstraint("octet_length(key_hmac) = 32", name="key_hmac"),
        CheckConstraint("name <> '' AND length(name) <= 100", name="name"),
        tenant_only(),
        functions_too(),
        system_too("SELECT"),
        system_too("UPDATE"),
        *(
            Grant(
                role,
                "SELECT",
                columns=(
                    "id",
                    "tenant_id",
                    "user_id",
                    "name",
                    "prefix",
                    "scopes",
                    "expires_at",
                    "last_used_at",
                    "revoked_at",
                    "created_at",
                ),
            )
            for role in (APP, READONLY)
        ),
        Grant(AUTH, "SELECT", "INSERT", "UPDATE"),
        Grant(
            SYSTEM, "SELECT", columns=("id", "tenant_id", "user_id", "last_used_at", "revoked_at")
        ),
        Grant(SYSTEM, "UPDATE", columns=("last_used_at", "revoked_at")),
    )


class QuotaEntry(Identified, TenantOwned, Created, Base):
    """One line of the quota's ledger; the sum over a period is what the period used."""

    __tablename__ = "quota_ledger"

    user_id: Mapped[UUID | None]
    kind: Mapped[str]
    amount: Mapped[int]
    reservation_id: Mapped[UUID | None]
    period_start: Mapped[datetime]

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "reservation_id"],
            ["quota_ledger.tenant_id", "quota_ledger.id"],
            ondelete="CASCADE",
        ),
        ForeignKeyConstraint(
            ["tenant_id", "user_id"], ["memberships.tenant_id", "memberships.user_id"]
        ),
        UniqueConstraint("tenant_id", "reservation_id"),
        Index(None, "tenant_id", "user_id"),
        Index(None, "tenant_id", "created_at"),
        CheckConstraint(
            "(kind = 'reserve' AND amount > 0 AND reservation_id IS NULL)"
            " OR (kind = 'refund' AND amount < 0 AND reservation_id IS NOT NULL)",
            name="kind",
        ),
        tenant_only(),
        functions_too(),
        Grant(APP, "SELECT"),
        Grant(READONLY, "SELECT"),
        Grant(AUTH, "SELECT", "INSERT"),
    )


class WebhookEvent(Identified, Base):
    """A delivery from outside, kept so that a second one has no effect.

    It arrives before a tenant is known, so the key is the id alone.
    """

    __tablename__ = "webhook_events"

    tenant_id: Mapped[UUID | None] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    provider: Mapped[str]
    event_id: Mapped[str]
    event_type: Mapped[str]
    payload: Mapped[JsonObject]
    received_at: Mapped[datetime] = mapped_column(server_default=func.now())
    processed_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("provider", "event_id"),
        Index(None, "tenant_id"),
        Index("ix_webhook_events_subject", "provider", text("(payload ->> 'subject')")),
        system_only(),
        Grant(SYSTEM, "SELECT", "INSERT", "UPDATE"),
    )


class AuditEntry(Identified, TenantOwned, Created, Base):
    """Who did what; append-only by grant."""

    __tablename__ = "audit_log"

    user_id: Mapped[UUID | None]
    action: Mapped[str]
    subject: Mapped[str]
    details: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"))
    address: Mapped[str | None]

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "user_id"], ["memberships.tenant_id", "memberships.user_id"]
        ),
        Index(None, "tenant_id", "created_at"),
        Index(None, "tenant_id", "user_id"),
        CheckConstraint("length(action) <= 100 AND length(subject) <= 200", name="lengths"),
        tenant_only(),
        functions_too(),
        system_too("INSERT"),
        Grant(APP, "SELECT", "INSERT"),
        Grant(READONLY, "SELECT"),
        Grant(AUTH, "INSERT"),
        Grant(SYSTEM, "INSERT"),
    )
