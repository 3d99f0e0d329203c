"""Clips, accounts on platforms, and posts."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from viral.schema.base import Base, Identified, JsonObject, TenantOwned, Texts, Updated
from viral.schema.content import PLATFORM
from viral.schema.encrypted import EncryptedText, Secret
from viral.schema.security import APP, READONLY, Grant, tenant_only


class Video(Identified, TenantOwned, Updated, Base):
    """One rendered file, from request to stored result."""

    __tablename__ = "videos"

    concept_id: Mapped[UUID]
    category: Mapped[str]
    platform: Mapped[str]
    format: Mapped[str | None]
    provider: Mapped[str]
    provider_job_id: Mapped[str | None]
    model: Mapped[str | None]
    prompt: Mapped[str | None]
    status: Mapped[str] = mapped_column(server_default="queued")
    error_message: Mapped[str | None]
    video_url: Mapped[str | None]
    cdn_url: Mapped[str | None]
    thumbnail_url: Mapped[str | None]
    duration_s: Mapped[float | None]
    width: Mapped[int | None]
    height: Mapped[int | None]
    has_audio: Mapped[bool | None]
    checksum: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    is_ai_generated: Mapped[bool] = mapped_column(server_default=text("true"))
    details: Mapped[JsonObject | None] = mapped_column("metadata")
    generation_cost: Mapped[Decimal] = mapped_column(server_default="0")
    generated_at: Mapped[datetime | None]

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "concept_id"], ["concepts.tenant_id", "concepts.id"], ondelete="CASCADE"
        ),
        UniqueConstraint("tenant_id", "provider", "provider_job_id"),
        Index(None, "tenant_id", "status"),
        Index(None, "tenant_id", "concept_id"),
        Index(None, "tenant_id", "platform"),
        CheckConstraint(PLATFORM, name="platform"),
        CheckConstraint(
            "status IN ('queued', 'generating', 'uploading', 'checking', 'completed', 'failed',"
            " 'canceled')",
            name="status",
        ),
        CheckConstraint("status <> 'completed' OR video_url IS NOT NULL", name="completed"),
        CheckConstraint("generation_cost >= 0", name="generation_cost"),
        tenant_only(),
        Grant(APP, "SELECT", "INSERT", "UPDATE", "DELETE"),
        Grant(READONLY, "SELECT"),
    )


class SocialAccount(Identified, TenantOwned, Updated, Base):
    """A connected account, known by the platform's own id; tokens are ciphertext."""

    __tablename__ = "social_accounts"

    platform: Mapped[str]
    external_id: Mapped[str]
    username: Mapped[str]
    access_token: Mapped[Secret] = mapped_column(EncryptedText())
    refresh_token: Mapped[Secret | None] = mapped_column(EncryptedText())
    scopes: Mapped[Texts] = mapped_column(server_default=text("'[]'"))
    expires_at: Mapped[datetime | None]
    refresh_expires_at: Mapped[datetime | None]
    token_status: Mapped[str] = mapped_column(server_default="valid")
    last_error: Mapped[str | None]
    daily_limit: Mapped[int] = mapped_column(server_default="10")
    used_today: Mapped[int] = mapped_column(server_default="0")
    last_reset: Mapped[datetime] = mapped_column(server_default=func.now())
    niche: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    details: Mapped[JsonObject | None] = mapped_column("metadata")

    __table_args__ = (
        UniqueConstraint("tenant_id", "platform", "external_id"),
        Index(None, "tenant_id", "platform", "is_active"),
        CheckConstraint(PLATFORM, name="platform"),
        CheckConstraint("token_status IN ('valid', 'expired', 'revoked')", name="token_status"),
        CheckConstraint("daily_limit >= 0 AND used_today >= 0", name="limits"),
        tenant_only(),
        Grant(APP, "SELECT", "INSERT", "UPDATE", "DELETE"),
        Grant(
            READONLY,
            "SELECT",
            columns=(
                "id",
                "tenant_id",
                "platform",
                "external_id",
                "username",
                "scopes",
                "expires_at",
                "token_status",
                "daily_limit",
                "used_today",
                "last_reset",
                "niche",
                "is_active",
                "created_at",
                "updated_at",
            ),
        ),
    )


class SocialPost(Identified, TenantOwned, Updated, Base):
    """One publication of a video on an account."""

    __tablename__ = "social_posts"

    video_id: Mapped[UUID]
    account_id: Mapped[UUID]
    variant_id: Mapped[UUID | None]
    platform: Mapped[str]
    title: Mapped[str | None]
    caption: Mapped[str] = mapped_column(server_default="")
    hashtags: Mapped[Texts] = mapped_column(server_default=text("'[]'"))
    privacy: Mapped[str] = mapped_column(server_default="public")
    is_ai_labelled: Mapped[bool] = mapped_column(server_default=text("true"))
    idempotency_key: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="pending")
    error_message: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    next_attempt_at: Mapped[datetime | None]
    scheduled_for: Mapped[datetime | None]
    posted_at: Mapped[datetime | None]
    post_url: Mapped[str | None]
    platform_post_id: Mapped[str | None]
    platform_publish_id: Mapped[str | None]

    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "video_id"], ["videos.tenant_id", "videos.id"]),
        ForeignKeyConstraint(
            ["tenant_id", "account_id"], ["social_accounts.tenant_id", "social_accounts.id"]
        ),
        ForeignKeyConstraint(
            ["tenant_id", "variant_id"], ["concept_variants.tenant_id", "concept_variants.id"]
        ),
        UniqueConstraint("tenant_id", "idempotency_key"),
        UniqueConstraint("tenant_id", "account_id", "platform_post_id"),
        Index(None, "tenant_id", "video_id"),
        Index(None, "tenant_id", "variant_id"),
        Index(None, "tenant_id", "account_id", "status"),
        Index(None, "tenant_id", "platform", "posted_at"),
        CheckConstraint(PLATFORM, name="platform"),
        CheckConstraint("privacy IN ('public', 'unlisted', 'private')", name="privacy"),
        CheckConstraint(
            "status IN ('pending', 'scheduled', 'publishing', 'processing', 'posted', 'failed',"
            " 'canceled')",
            name="status",
        ),
        tenant_only(),
        Grant(APP, "SELECT", "INSERT", "UPDATE", "DELETE"),
        Grant(READONLY, "SELECT"),
    )
