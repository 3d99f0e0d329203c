"""Trends become concepts with predictions."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from viral.schema.base import (
    Base,
    Created,
    Identified,
    JsonList,
    JsonObject,
    TenantOwned,
    Texts,
)
from viral.schema.security import (
    APP,
    AUTH,
    BY_FUNCTIONS,
    READONLY,
    SYSTEM,
    Grant,
    functions_too,
    open_to_all,
    system_only,
    system_too,
    tenant_only,
)

# The `model_version` of a score that another product gave: shown, and never taken for ours.
FORMER_MODEL = -1
PLATFORM = "platform IN ('tiktok', 'youtube', 'instagram')"


class Trend(Identified, Created, Base):
    """A topic people talk about; the same for all tenants, written by the product alone."""

    __tablename__ = "trends"

    source: Mapped[str]
    external_id: Mapped[str]
    topic: Mapped[str]
    category: Mapped[str]
    score: Mapped[float]
    keywords: Mapped[Texts] = mapped_column(server_default=text("'[]'"))
    url: Mapped[str | None]
    region: Mapped[str | None]
    engagement_count: Mapped[int | None]
    is_sample: Mapped[bool] = mapped_column(server_default=text("false"))
    observed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    topic_key: Mapped[str] = mapped_column(server_default="", sort_order=100)
    velocity: Mapped[float | None] = mapped_column(sort_order=100)

    __table_args__ = (
        UniqueConstraint("source", "external_id"),
        Index(None, "topic_key"),
        Index(None, "category", "observed_at"),
        Index(None, "observed_at"),
        CheckConstraint("score BETWEEN 0 AND 100", name="score"),
        CheckConstraint("topic <> '' AND length(topic) <= 500", name="topic"),
        open_to_all(),
        system_only(),
        Grant(APP, "SELECT"),
        Grant(READONLY, "SELECT"),
        Grant(SYSTEM, "SELECT", "INSERT", "UPDATE", "DELETE"),
    )


class TrendObservation(Base):
    """What a trend's source said at one moment: its history, from which its speed is known."""

    __tablename__ = "trend_observations"

    trend_id: Mapped[UUID] = mapped_column(
        ForeignKey("trends.id", ondelete="CASCADE"), primary_key=True
    )
    observed_at: Mapped[datetime] = mapped_column(primary_key=True)
    score: Mapped[float]
    engagement_count: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = (
        Index(None, "observed_at"),
        CheckConstraint("score BETWEEN 0 AND 100", name="score"),
        open_to_all(),
        system_only(),
        Grant(APP, "SELECT"),
        Grant(READONLY, "SELECT"),
        Grant(SYSTEM, "SELECT", "INSERT", "DELETE"),
    )


class TrendSource(Created, Base):
    """Where trends are fetched from, and what its server last said; keys stand in the settings."""

    __tablename__ = "trend_sources"

    name: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    url: Mapped[str | None]
    category: Mapped[str | None]
    region: Mapped[str | None]
    is_enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    etag: Mapped[str | None]
    last_modified: Mapped[str | None]
    fetched_at: Mapped[datetime | None]
    next_fetch_at: Mapped[datetime] = mapped_column(server_default=func.now())
    failures: Mapped[int] = mapped_column(server_default="0")
    last_error: Mapped[str | None]

    __table_args__ = (
        CheckConstraint("name ~ '^[a-z0-9][a-z0-9-]{0,59}$'", name="name"),
        CheckConstraint("failures >= 0", name="failures"),
        open_to_all(),
        system_only(),
        Grant(APP, "SELECT"),
        Grant(READONLY, "SELECT"),
        Grant(SYSTEM, "SELECT", "INSERT", "UPDATE", "DELETE"),
    )


class Generation(Identified, TenantOwned, Created, Base):
    """One request for concepts and what it was made from."""

    __tablename__ = "generations"

    user_id: Mapped[UUID | None]
    reservation_id: Mapped[UUID]
    date: Mapped[datetime] = mapped_column(server_default=func.now())
    settings: Mapped[JsonObject]
    trends: Mapped[JsonList]
    writer: Mapped[str]
    is_favorite: Mapped[bool] = mapped_column(server_default=text("false"))
    cost: Mapped[Decimal] = mapped_column(server_default="0", sort_order=100)
    input_tokens: Mapped[int] = mapped_column(server_default="0", sort_order=100)
    output_tokens: Mapped[int] = mapped_column(server_default="0", sort_order=100)

    concepts: Mapped[list[Concept]] = relationship(
        lazy="raise",
        viewonly=True,
        primaryjoin="and_(Generation.tenant_id == foreign(Concept.tenant_id),"
        " Generation.id == foreign(Concept.generation_id))",
    )

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "user_id"], ["memberships.tenant_id", "memberships.user_id"]
        ),
        ForeignKeyConstraint(
            ["tenant_id", "reservation_id"], ["quota_ledger.tenant_id", "quota_ledger.id"]
        ),
        UniqueConstraint("tenant_id", "reservation_id"),
        Index(None, "tenant_id", "date"),
        Index(None, "tenant_id", "is_favorite"),
        Index(None, "tenant_id", "user_id"),
        tenant_only(),
        functions_too(),
        Grant(APP, "SELECT", "INSERT", "UPDATE", "DELETE"),
        Grant(READONLY, "SELECT"),
        Grant(AUTH, "SELECT"),
    )


class Concept(Identified, TenantOwned, Created, Base):
    """An idea for a short video: written by the product, or known from an imported result."""

    __tablename__ = "concepts"

    generation_id: Mapped[UUID | None]
    origin: Mapped[str] = mapped_column(server_default="generated")
    source_platform: Mapped[str | None]
    source_id: Mapped[str | None]
    category: Mapped[str]
    title: Mapped[str]
    hook: Mapped[str] = mapped_column(server_default="")
    hook_type: Mapped[str | None]
    script: Mapped[JsonList] = mapped_column(server_default=text("'[]'"))
    caption: Mapped[str] = mapped_column(server_default="")
    hashtags: Mapped[Texts] = mapped_column(server_default=text("'[]'"))
    duration_s: Mapped[int | None]
    sound: Mapped[str | None]
    post_at: Mapped[datetime | None]
    why_it_works: Mapped[str] = mapped_column(server_default="")
    prompts: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"))
    trend: Mapped[JsonObject | None]
    is_favorite: Mapped[bool] = mapped_column(server_default=text("false"))
    is_exploration: Mapped[bool] = mapped_column(server_default=text("false"), sort_order=100)
    propensity: Mapped[float | None] = mapped_column(sort_order=100)

    predictions: Mapped[list[Prediction]] = relationship(
        lazy="raise", order_by="Prediction.platform", overlaps="concepts"
    )

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "generation_id"],
            ["generations.tenant_id", "generations.id"],
            ondelete="CASCADE",
        ),
        UniqueConstraint("tenant_id", "source_platform", "source_id"),
        Index(None, "tenant_id", "generation_id"),
        Index(None, "tenant_id", "created_at"),
        Index(
            "ix_concepts_words",
            text(
                "viral.words_of(tenant_id, title || ' ' || hook || ' ' || caption, script,"
                " ARRAY[category, CASE WHEN is_favorite THEN 'favorite' END])"
            ),
            postgresql_using="gin",
            postgresql_with={"fastupdate": "off"},
            postgresql_where=text("origin = 'generated'"),
            info=BY_FUNCTIONS,
        ),
        CheckConstraint(
            "(origin = 'generated' AND generation_id IS NOT NULL AND source_id IS NULL)"
            " OR (origin = 'imported' AND generation_id IS NULL AND source_id IS NOT NULL"
            " AND source_platform IS NOT NULL)",
            name="origin",
        ),
        CheckConstraint("duration_s >= 0", name="duration_s"),
        CheckConstraint("propensity BETWEEN 0 AND 1", name="propensity"),
        tenant_only(),
        functions_too(),
        system_too("SELECT"),
        Grant(APP, "SELECT", "INSERT", "UPDATE", "DELETE"),
        Grant(READONLY, "SELECT"),
        Grant(AUTH, "SELECT"),
        Grant(SYSTEM, "SELECT"),
    )


class Experiment(Identified, TenantOwned, Created, Base):
    """Ways to tell the same concept, compared across posts until one is better beyond luck.

    `arms` lists each arm's label and how it differs; `document` keeps what decided it.
    """

    __tablename__ = "experiments"

    name: Mapped[str]
    platform: Mapped[str]
    arms: Mapped[JsonList]
    alpha: Mapped[float] = mapped_column(server_default="0.05")
    most_posts: Mapped[int] = mapped_column(server_default="200")
    status: Mapped[str] = mapped_column(server_default="running")
    winner: Mapped[str | None]
    document: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"))
    decided_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("tenant_id", "name"),
        Index(None, "tenant_id", "status"),
        CheckConstraint(PLATFORM, name="platform"),
        CheckConstraint("alpha > 0 AND alpha < 1 AND most_posts > 0", name="limits"),
        CheckConstraint("status IN ('running', 'decided', 'undecided', 'stopped')", name="status"),
        CheckConstraint("winner ~ '^[A-Z]$'", name="winner"),
        tenant_only(),
        Grant(APP, "SELECT", "INSERT", "UPDATE", "DELETE"),
        Grant(READONLY, "SELECT"),
    )


class ConceptVariant(Identified, TenantOwned, Created, Base):
    """Another title, hook and caption for the same concept; the selected one is posted."""

    __tablename__ = "concept_variants"

    concept_id: Mapped[UUID]
    label: Mapped[str]
    title: Mapped[str]
    caption: Mapped[str]
    hook_source: Mapped[str]
    is_selected: Mapped[bool] = mapped_column(server_default=text("false"))
    experiment_id: Mapped[UUID | None] = mapped_column(sort_order=100)
    hook: Mapped[str | None] = mapped_column(sort_order=100)
    hook_type: Mapped[str | None] = mapped_column(sort_order=100)

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "concept_id"], ["concepts.tenant_id", "concepts.id"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(
            ["tenant_id", "experiment_id"], ["experiments.tenant_id", "experiments.id"]
        ),
        UniqueConstraint("tenant_id", "concept_id", "label"),
        Index(None, "tenant_id", "experiment_id"),
        CheckConstraint("label ~ '^[A-Z]$'", name="label"),
        CheckConstraint(
            "hook_source IN ('template', 'evolved', 'knowledge-base')", name="hook_source"
        ),
        tenant_only(),
        system_too("SELECT"),
        Grant(APP, "SELECT", "INSERT", "UPDATE", "DELETE"),
        Grant(READONLY, "SELECT"),
        Grant(SYSTEM, "SELECT"),
    )


class Prediction(Identified, TenantOwned, Created, Base):
    """What was foretold of a concept on a platform, before any result; never changed.

    Scores run 0..100. `score` is the mean of the two goals, `low` and `high` its 80 % interval;
    `reasons` are the signed points that add up to it.
    """

    __tablename__ = "predictions"

    concept_id: Mapped[UUID]
    platform: Mapped[str]
    score: Mapped[float]
    low: Mapped[float]
    high: Mapped[float]
    engagement_score: Mapped[float]
    engagement_low: Mapped[float]
    engagement_high: Mapped[float]
    reach_score: Mapped[float]
    reach_low: Mapped[float]
    reach_high: Mapped[float]
    reasons: Mapped[JsonList]
    model_version: Mapped[int]

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "concept_id"], ["concepts.tenant_id", "concepts.id"], ondelete="CASCADE"
        ),
        UniqueConstraint("tenant_id", "concept_id", "platform"),
        CheckConstraint(PLATFORM, name="platform"),
        CheckConstraint("0 <= low AND low <= score AND score <= high AND high <= 100", name="band"),
        tenant_only(),
        functions_too(),
        system_too("SELECT"),
        Grant(APP, "SELECT", "INSERT"),
        Grant(READONLY, "SELECT"),
        Grant(AUTH, "SELECT", columns=("tenant_id", "concept_id", "platform")),
        Grant(SYSTEM, "SELECT"),
    )
