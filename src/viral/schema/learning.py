"""What the system makes of its misses: effects, critiques, insights, adjustments."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
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
    JsonList,
    JsonObject,
    TenantOwned,
)
from viral.schema.content import PLATFORM
from viral.schema.security import (
    APP,
    READONLY,
    SYSTEM,
    Grant,
    open_to_all,
    system_only,
    system_too,
    tenant_only,
)

GOAL = "goal IN ('engagement', 'reach', 'score')"


class SharedEffect(Base):
    """A named additive effect that holds for all tenants, in score points; no tenant's data."""

    __tablename__ = "shared_effects"

    platform: Mapped[str] = mapped_column(primary_key=True)
    goal: Mapped[str] = mapped_column(primary_key=True)
    family: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    mean: Mapped[float]
    variance: Mapped[float]
    samples: Mapped[int] = mapped_column(BigInteger)
    day: Mapped[int]
    tenants: Mapped[int]
    published: Mapped[float]

    __table_args__ = (
        CheckConstraint(PLATFORM, name="platform"),
        CheckConstraint(GOAL, name="goal"),
        open_to_all(),
        system_only(),
        Grant(APP, "SELECT"),
        Grant(READONLY, "SELECT"),
        Grant(SYSTEM, "SELECT", "INSERT", "UPDATE", "DELETE"),
    )


class LearnerEffect(Identified, TenantOwned, Base):
    """A tenant's own effect, in score points.

    The learner writes the live state; the tenant decides what is published. A row whose family is
    a shared one counts what the tenant has contributed to it.
    """

    __tablename__ = "learner_effects"

    platform: Mapped[str]
    goal: Mapped[str]
    family: Mapped[str]
    key: Mapped[str]
    mean: Mapped[float]
    variance: Mapped[float]
    samples: Mapped[int] = mapped_column(BigInteger)
    day: Mapped[int]
    published: Mapped[float] = mapped_column(server_default="0")
    is_frozen: Mapped[bool] = mapped_column(server_default=text("false"))

    __table_args__ = (
        UniqueConstraint("tenant_id", "platform", "goal", "family", "key"),
        CheckConstraint(PLATFORM, name="platform"),
        CheckConstraint(GOAL, name="goal"),
        tenant_only(),
        system_too(),
        Grant(APP, "SELECT"),
        Grant(APP, "UPDATE", columns=("published", "is_frozen")),
        Grant(READONLY, "SELECT"),
        Grant(SYSTEM, "SELECT", "INSERT", "DELETE"),
        Grant(SYSTEM, "UPDATE", columns=("mean", "variance", "samples", "day")),
    )


class ModelVersion(Identified, Created, Base):
    """A published version of what all tenants share: outcome tables, shared effects."""

    __tablename__ = "model_versions"

    kind: Mapped[str]
    platform: Mapped[str]
    version: Mapped[int]
    document: Mapped[JsonObject]
    is_current: Mapped[bool] = mapped_column(server_default=text("true"))

    __table_args__ = (
        UniqueConstraint("kind", "platform", "version"),
        Index(
            "uq_model_versions_current",
            "kind",
            "platform",
            unique=True,
            postgresql_where=text("is_current"),
        ),
        CheckConstraint("kind IN ('outcomes', 'effects')", name="kind"),
        CheckConstraint(PLATFORM, name="platform"),
        open_to_all(),
        system_only(),
        Grant(APP, "SELECT"),
        Grant(READONLY, "SELECT"),
        Grant(SYSTEM, "SELECT", "INSERT", "UPDATE"),
    )


class SelfCritique(Identified, TenantOwned, Created, Base):
    """Why a prediction missed, or what stands behind an adjustment."""

    __tablename__ = "self_critiques"

    concept_id: Mapped[UUID | None]
    feedback_id: Mapped[UUID | None]
    performance_gap: Mapped[JsonObject]
    critique: Mapped[str]
    hypothesized_reasons: Mapped[JsonList]
    scoring_issues: Mapped[JsonList]
    adjustment_plan: Mapped[str]
    confidence_level: Mapped[str]
    critic: Mapped[str]
    critic_version: Mapped[int] = mapped_column(server_default="1")
    input_tokens: Mapped[int] = mapped_column(server_default="0")
    output_tokens: Mapped[int] = mapped_column(server_default="0")
    cost: Mapped[Decimal] = mapped_column(server_default="0")
    applied_at: Mapped[datetime | None]

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "concept_id"], ["concepts.tenant_id", "concepts.id"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(
            ["tenant_id", "feedback_id"],
            ["performance_feedback.tenant_id", "performance_feedback.id"],
            ondelete="CASCADE",
        ),
        UniqueConstraint("tenant_id", "feedback_id", "critic", "critic_version"),
        Index(None, "tenant_id", "created_at"),
        Index(None, "tenant_id", "concept_id"),
        Index(None, "tenant_id", "confidence_level"),
        CheckConstraint(
            "confidence_level IN ('low', 'medium', 'high')",
            name="confidence_level",
        ),
        tenant_only(),
        Grant(APP, "SELECT", "INSERT"),
        Grant(APP, "UPDATE", columns=("applied_at",)),
        Grant(READONLY, "SELECT"),
    )


class ReflexionInsight(Identified, TenantOwned, Base):
    """A pattern in the tenant's results, with its evidence."""

    __tablename__ = "reflexion_insights"

    category: Mapped[str]
    platform: Mapped[str]
    pattern_key: Mapped[str]
    pattern: Mapped[str]
    evidence_count: Mapped[int] = mapped_column(server_default="1")
    impact: Mapped[str]
    effect_size: Mapped[float]
    low: Mapped[float]
    high: Mapped[float]
    status: Mapped[str] = mapped_column(server_default="candidate")
    recommendation: Mapped[str]
    applied_to_scoring: Mapped[bool] = mapped_column(server_default=text("false"))
    discovered_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_seen_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        UniqueConstraint("tenant_id", "category", "platform", "pattern_key"),
        Index(None, "tenant_id", "applied_to_scoring"),
        CheckConstraint(PLATFORM, name="platform"),
        CheckConstraint("impact IN ('positive', 'negative', 'neutral')", name="impact"),
        CheckConstraint(
            "status IN ('candidate', 'confirmed', 'refuted', 'retired')", name="status"
        ),
        CheckConstraint("length(pattern_key) <= 200", name="pattern_key"),
        tenant_only(),
        Grant(APP, "SELECT", "INSERT", "UPDATE"),
        Grant(READONLY, "SELECT"),
    )


class ScoringAdjustment(Identified, TenantOwned, Base):
    """A change of what predictions use, from `old_value` to `new_value` points; can be undone."""

    __tablename__ = "scoring_adjustments"

    critique_id: Mapped[UUID]
    platform: Mapped[str]
    goal: Mapped[str]
    adjustment_type: Mapped[str]
    category: Mapped[str]
    old_value: Mapped[float]
    new_value: Mapped[float]
    reason: Mapped[str]
    evidence: Mapped[JsonObject]
    applied_at: Mapped[datetime] = mapped_column(server_default=func.now())
    reverted_at: Mapped[datetime | None]
    reverted_by: Mapped[UUID | None]

    __table_args__ = (
        # A critique is kept as long as an adjustment rests on it.
        ForeignKeyConstraint(
            ["tenant_id", "critique_id"], ["self_critiques.tenant_id", "self_critiques.id"]
        ),
        ForeignKeyConstraint(
            ["tenant_id", "reverted_by"], ["memberships.tenant_id", "memberships.user_id"]
        ),
        Index(None, "tenant_id", "critique_id"),
        Index(None, "tenant_id", "category"),
        Index(None, "tenant_id", "applied_at"),
        Index(None, "tenant_id", "reverted_by"),
        CheckConstraint(PLATFORM, name="platform"),
        CheckConstraint(GOAL, name="goal"),
        tenant_only(),
        Grant(APP, "SELECT", "INSERT"),
        Grant(APP, "UPDATE", columns=("reverted_at", "reverted_by")),
        Grant(READONLY, "SELECT"),
    )
