"""What posts brought: feedback, and snapshots over time."""

from __future__ import annotations

import datetime as dt
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKeyConstraint,
    Index,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from viral.schema.base import Base, Created, Identified, TenantOwned
from viral.schema.content import PLATFORM
from viral.schema.security import (
    APP,
    AUTH,
    READONLY,
    SYSTEM,
    Grant,
    functions_too,
    system_too,
    tenant_only,
)

# Percent; what a platform does not tell counts as none.
ENGAGEMENT_RATE = (
    "CASE WHEN views = 0 THEN 0 ELSE (coalesce(likes, 0) + coalesce(shares, 0)"
    " + coalesce(comments, 0))::double precision * 100 / views END"
)
# Counts of the first two days mislead: most of a short video's views come later.
MATURE = "observed_on >= (published_at AT TIME ZONE 'UTC')::date + 2"


class PerformanceFeedback(Identified, TenantOwned, Created, Base):
    """The counts of one video on one platform, read on one day.

    `engagement_score` and `reach_score` (0..100) are set when the learner has taken the row in;
    `applied_no` is its place in the order that a replay follows. Written with it, once: how far,
    in points of the default score, the live effects (challenger), the published ones (champion)
    and those published before them (former) would have missed, and the residual of the live
    effects without hypotheses, which is what hypotheses are tested on.
    """

    __tablename__ = "performance_feedback"

    concept_id: Mapped[UUID]
    variant_id: Mapped[UUID | None]
    post_id: Mapped[UUID | None]
    platform: Mapped[str]
    format: Mapped[str | None]
    external_id: Mapped[str]
    concept_title: Mapped[str]
    category: Mapped[str]
    published_at: Mapped[dt.datetime]
    observed_on: Mapped[dt.date]
    views: Mapped[int] = mapped_column(BigInteger)
    likes: Mapped[int | None] = mapped_column(BigInteger)
    shares: Mapped[int | None] = mapped_column(BigInteger)
    comments: Mapped[int | None] = mapped_column(BigInteger)
    followers: Mapped[int | None] = mapped_column(BigInteger)
    engagement_rate: Mapped[float] = mapped_column(Computed(ENGAGEMENT_RATE, persisted=True))
    is_mature: Mapped[bool] = mapped_column(Computed(MATURE, persisted=True))
    data_source: Mapped[str] = mapped_column(server_default="manual")
    reported_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    engagement_score: Mapped[float | None]
    reach_score: Mapped[float | None]
    outcome_version: Mapped[int | None]
    applied_no: Mapped[int | None] = mapped_column(BigInteger)
    judged_at: Mapped[dt.datetime | None]
    challenger_error: Mapped[float | None] = mapped_column(sort_order=100)
    champion_error: Mapped[float | None] = mapped_column(sort_order=100)
    former_error: Mapped[float | None] = mapped_column(sort_order=100)
    residual: Mapped[float | None] = mapped_column(sort_order=100)

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "concept_id"], ["concepts.tenant_id", "concepts.id"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(
            ["tenant_id", "variant_id"], ["concept_variants.tenant_id", "concept_variants.id"]
        ),
        ForeignKeyConstraint(
            ["tenant_id", "post_id"], ["social_posts.tenant_id", "social_posts.id"]
        ),
        UniqueConstraint("tenant_id", "platform", "external_id", "observed_on"),
        Index(None, "tenant_id", "concept_id"),
        Index(None, "tenant_id", "variant_id"),
        Index(None, "tenant_id", "post_id"),
        Index(None, "tenant_id", "category"),
        Index(None, "tenant_id", "platform", "reported_at"),
        Index(
            None,
            "tenant_id",
            "reported_at",
            postgresql_include=["category", "engagement_rate"],
        ),
        Index(
            "ix_performance_feedback_waiting",
            "platform",
            "published_at",
            "id",
            postgresql_where=text("applied_no IS NULL AND is_mature"),
        ),
        Index("ix_performance_feedback_applied", "platform", "applied_no"),
        Index("ix_performance_feedback_learnt", "tenant_id", "platform", "applied_no"),
        Index(
            "ix_performance_feedback_unjudged",
            "tenant_id",
            "applied_no",
            postgresql_where=text("judged_at IS NULL AND applied_no IS NOT NULL"),
        ),
        CheckConstraint(PLATFORM, name="platform"),
        CheckConstraint(
            "views >= 0 AND likes >= 0 AND shares >= 0 AND comments >= 0 AND followers >= 0",
            name="counts",
        ),
        CheckConstraint("data_source IN ('manual', 'scraped', 'api', 'file')", name="data_source"),
        tenant_only(),
        functions_too(),
        system_too("SELECT"),
        system_too("UPDATE"),
        Grant(APP, "SELECT", "INSERT", "DELETE"),
        Grant(APP, "UPDATE", columns=("judged_at",)),
        Grant(READONLY, "SELECT"),
        Grant(AUTH, "SELECT", columns=("tenant_id", "concept_id")),
        Grant(SYSTEM, "SELECT"),
        Grant(
            SYSTEM,
            "UPDATE",
            columns=(
                "applied_no",
                "challenger_error",
                "champion_error",
                "engagement_score",
                "former_error",
                "outcome_version",
                "reach_score",
                "residual",
            ),
        ),
    )


class AnalyticsSnapshot(Identified, TenantOwned, Base):
    """The counts of a post at one moment; partitioned by month."""

    __tablename__ = "analytics_snapshots"

    snapshot_at: Mapped[dt.datetime] = mapped_column(primary_key=True, server_default=func.now())
    video_id: Mapped[UUID]
    post_id: Mapped[UUID | None]
    platform: Mapped[str]
    source: Mapped[str] = mapped_column(server_default="api")
    metric_version: Mapped[int] = mapped_column(server_default="1")
    age_s: Mapped[int | None] = mapped_column(BigInteger)
    views: Mapped[int] = mapped_column(BigInteger)
    likes: Mapped[int | None] = mapped_column(BigInteger)
    shares: Mapped[int | None] = mapped_column(BigInteger)
    comments: Mapped[int | None] = mapped_column(BigInteger)
    saves: Mapped[int | None] = mapped_column(BigInteger)
    reach: Mapped[int | None] = mapped_column(BigInteger)
    watch_time_s: Mapped[int | None] = mapped_column(BigInteger)
    average_watch_s: Mapped[float | None]
    engagement_rate: Mapped[float] = mapped_column(Computed(ENGAGEMENT_RATE, persisted=True))

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "video_id"], ["videos.tenant_id", "videos.id"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(
            ["tenant_id", "post_id"], ["social_posts.tenant_id", "social_posts.id"]
        ),
        Index(None, "tenant_id", "video_id", "snapshot_at"),
        Index(None, "tenant_id", "post_id", "snapshot_at"),
        Index(None, "tenant_id", "platform", "snapshot_at"),
        CheckConstraint(PLATFORM, name="platform"),
        CheckConstraint("source IN ('api', 'manual')", name="source"),
        CheckConstraint(
            "views >= 0 AND likes >= 0 AND shares >= 0 AND comments >= 0 AND saves >= 0"
            " AND reach >= 0 AND watch_time_s >= 0 AND average_watch_s >= 0",
            name="counts",
        ),
        tenant_only(),
        Grant(APP, "SELECT", "INSERT"),
        Grant(READONLY, "SELECT"),
        {"postgresql_partition_by": "RANGE (snapshot_at)"},
    )
