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
    """A named additive effect that holds for all tenants, in score points; no tenant's data.

    `former` is what was published before the current version; null is the same as now.
    """

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
    former: Mapped[float | None] = mapped_column(sort_order=100)

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
    a shared one counts what the tenant has contributed to it; frozen, it is served to the tenant
    in place of the shared effect. `former` is what was published before; null is the same as now.
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
    former: Mapped[float | None] = mapped_column(sort_order=100)

    __table_args__ = (
        UniqueConstraint("tenant_id", "platform", "goal", "family", "key"),
        CheckConstraint(PLATFORM, name="platform"),
        CheckConstraint(GOAL, name="goal"),
        tenant_only(),
        system_too(),
        Grant(APP, "SELECT"),
        Grant(APP, "UPDATE", columns=("former", "published", "is_frozen")),
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
    """A pattern in the tenant's results, with its evidence.

    A hypothesis has a predicate of the closed grammar as its key. It joins the live effects after
    result `born_no` of its platform and leaves them after `ended_no`; it is served once it is
    confirmed. `gain` is by how many points it brings errors down, each time it fires.
    """

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
    born_no: Mapped[int | None] = mapped_column(BigInteger, sort_order=100)
    confidence: Mapped[str | None] = mapped_column(sort_order=100)
    confirmed_at: Mapped[datetime | None] = mapped_column(sort_order=100)
    critic: Mapped[str | None] = mapped_column(sort_order=100)
    critique_id: Mapped[UUID | None] = mapped_column(sort_order=100)
    ended_at: Mapped[datetime | None] = mapped_column(sort_order=100)
    ended_no: Mapped[int | None] = mapped_column(BigInteger, sort_order=100)
    gain: Mapped[float | None] = mapped_column(sort_order=100)
    kind: Mapped[str] = mapped_column(server_default="pattern", sort_order=100)
    sign: Mapped[int | None] = mapped_column(sort_order=100)
    z: Mapped[float | None] = mapped_column(sort_order=100)

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "critique_id"], ["self_critiques.tenant_id", "self_critiques.id"]
        ),
        UniqueConstraint("tenant_id", "category", "platform", "pattern_key"),
        Index(None, "tenant_id", "critique_id"),
        Index(
            "ix_reflexion_insights_hypotheses",
            "platform",
            "tenant_id",
            postgresql_where=text("kind = 'hypothesis'"),
        ),
        Index(None, "tenant_id", "applied_to_scoring"),
        CheckConstraint(PLATFORM, name="platform"),
        CheckConstraint("impact IN ('positive', 'negative', 'neutral')", name="impact"),
        CheckConstraint(
            "status IN ('candidate', 'confirmed', 'refuted', 'retired')", name="status"
        ),
        CheckConstraint("length(pattern_key) <= 200", name="pattern_key"),
        CheckConstraint("kind IN ('pattern', 'hypothesis')", name="kind"),
        CheckConstraint(
            "kind = 'pattern' OR (born_no IS NOT NULL AND sign IN (-1, 1)"
            " AND confidence IN ('low', 'medium', 'high'))",
            name="hypothesis",
        ),
        tenant_only(),
        system_too("SELECT"),
        Grant(APP, "SELECT", "INSERT", "UPDATE"),
        Grant(READONLY, "SELECT"),
        Grant(SYSTEM, "SELECT"),
    )


class InsightFiring(Identified, TenantOwned, Base):
    """One result that a hypothesis holds for: the residual, and its contrast to all others."""

    __tablename__ = "insight_firings"

    insight_id: Mapped[UUID]
    feedback_id: Mapped[UUID]
    applied_no: Mapped[int] = mapped_column(BigInteger)
    residual: Mapped[float]
    contrast: Mapped[float]

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "insight_id"],
            ["reflexion_insights.tenant_id", "reflexion_insights.id"],
            ondelete="CASCADE",
        ),
        ForeignKeyConstraint(
            ["tenant_id", "feedback_id"],
            ["performance_feedback.tenant_id", "performance_feedback.id"],
            ondelete="CASCADE",
        ),
        UniqueConstraint("tenant_id", "insight_id", "feedback_id"),
        Index(None, "tenant_id", "feedback_id"),
        tenant_only(),
        Grant(APP, "SELECT", "INSERT", "UPDATE", "DELETE"),
        Grant(READONLY, "SELECT"),
    )


class ScoringAdjustment(Identified, TenantOwned, Base):
    """A change of what predictions use, from `old_value` to `new_value` points; can be undone.

    It holds for predictions after result `after_no` of the platform. `revert_reason` says who or
    what undid it: a person, the guard, or the end of the insight behind it.
    """

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
    after_no: Mapped[int] = mapped_column(BigInteger, server_default="0", sort_order=100)
    insight_id: Mapped[UUID | None] = mapped_column(sort_order=100)
    revert_reason: Mapped[str | None] = mapped_column(sort_order=100)

    __table_args__ = (
        # A critique is kept as long as an adjustment rests on it.
        ForeignKeyConstraint(
            ["tenant_id", "critique_id"], ["self_critiques.tenant_id", "self_critiques.id"]
        ),
        ForeignKeyConstraint(
            ["tenant_id", "reverted_by"], ["memberships.tenant_id", "memberships.user_id"]
        ),
        ForeignKeyConstraint(
            ["tenant_id", "insight_id"], ["reflexion_insights.tenant_id", "reflexion_insights.id"]
        ),
        Index(None, "tenant_id", "critique_id"),
        Index(None, "tenant_id", "insight_id"),
        Index(None, "tenant_id", "category"),
        Index(None, "tenant_id", "applied_at"),
        Index(None, "tenant_id", "reverted_by"),
        CheckConstraint(PLATFORM, name="platform"),
        CheckConstraint(GOAL, name="goal"),
        tenant_only(),
        Grant(APP, "SELECT", "INSERT"),
        Grant(APP, "UPDATE", columns=("revert_reason", "reverted_at", "reverted_by")),
        Grant(READONLY, "SELECT"),
    )
