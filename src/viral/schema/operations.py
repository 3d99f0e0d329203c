"""Jobs, metrics, usage: what runs the product and is seen by its operator."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from viral.schema.base import Base, Created, Identified, JsonObject, TenantOwned
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


class Job(Identified, Created, Base):
    """A piece of slow work. A larger priority runs first, within a tenant.

    Claimed over all tenants, so the key is the id alone; `tenant_id` is null for system jobs only.
    """

    __tablename__ = "job_queue"

    scope: Mapped[str] = mapped_column(server_default="tenant")
    tenant_id: Mapped[UUID | None] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    job_type: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="pending")
    priority: Mapped[int] = mapped_column(server_default="5")
    payload: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"))
    result: Mapped[JsonObject | None] = mapped_column(JSONB(none_as_null=True))
    error_message: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    max_attempts: Mapped[int] = mapped_column(server_default="3")
    dedupe_key: Mapped[str | None]
    worker_id: Mapped[UUID | None]
    scheduled_for: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]

    __table_args__ = (
        Index(None, "tenant_id", "created_at"),
        Index(
            "ix_job_queue_waiting",
            "tenant_id",
            text("priority DESC"),
            "scheduled_for",
            "id",
            postgresql_where=text("status = 'pending'"),
        ),
        Index("ix_job_queue_running", "worker_id", postgresql_where=text("status = 'running'")),
        Index(
            "uq_job_queue_dedupe_key",
            "tenant_id",
            "job_type",
            "dedupe_key",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("status = 'pending' AND dedupe_key IS NOT NULL"),
        ),
        CheckConstraint("scope IN ('tenant', 'system')", name="scope"),
        CheckConstraint("(scope = 'system') = (tenant_id IS NULL)", name="scope_tenant"),
        CheckConstraint(
            "status IN ('pending', 'blocked', 'running', 'completed', 'failed', 'canceled')",
            name="status",
        ),
        CheckConstraint("max_attempts BETWEEN 1 AND 100", name="max_attempts"),
        tenant_only(),
        functions_too(),
        Policy("system_jobs", SYSTEM, using="scope = 'system'"),
        Grant(APP, "SELECT"),
        Grant(
            APP,
            "INSERT",
            columns=(
                "id",
                "tenant_id",
                "scope",
                "job_type",
                "priority",
                "payload",
                "max_attempts",
                "dedupe_key",
                "scheduled_for",
            ),
        ),
        Grant(READONLY, "SELECT"),
        Grant(AUTH, "SELECT", "UPDATE", "DELETE"),
        Grant(SYSTEM, "SELECT", "INSERT"),
    )


class JobWorker(Base):
    """A worker process and when it was last heard of."""

    __tablename__ = "job_workers"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    heartbeat_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        functions_too(),
        Grant(AUTH, "SELECT", "INSERT", "UPDATE", "DELETE"),
    )


class SystemMetric(Identified, Base):
    """A measurement of the installation; partitioned by month."""

    __tablename__ = "system_metrics"

    recorded_at: Mapped[datetime] = mapped_column(primary_key=True, server_default=func.now())
    metric_type: Mapped[str]
    value: Mapped[float]
    labels: Mapped[JsonObject | None] = mapped_column("metadata")

    __table_args__ = (
        Index(None, "metric_type", "recorded_at"),
        system_only(),
        Grant(SYSTEM, "SELECT", "INSERT", "DELETE"),
        {"postgresql_partition_by": "RANGE (recorded_at)"},
    )


class ApiUsage(Identified, TenantOwned, Base):
    """One request to the API, by the key's id and the route's template; partitioned by month."""

    __tablename__ = "api_usage"

    requested_at: Mapped[datetime] = mapped_column(primary_key=True, server_default=func.now())
    api_key_id: Mapped[UUID | None]
    user_id: Mapped[UUID | None]
    request_id: Mapped[str]
    endpoint: Mapped[str]
    method: Mapped[str]
    status_code: Mapped[int]
    response_time_ms: Mapped[int]

    __table_args__ = (
        Index(None, "tenant_id", "requested_at"),
        Index(None, "tenant_id", "api_key_id", "requested_at"),
        tenant_only(),
        system_too("INSERT"),
        Grant(APP, "SELECT", "INSERT"),
        Grant(READONLY, "SELECT"),
        Grant(SYSTEM, "INSERT"),
        {"postgresql_partition_by": "RANGE (requested_at)"},
    )


class RateLimit(Base):
    """How far ahead of its pace a caller is: the theoretical arrival time of GCRA.

    Unlogged: nothing is lost when a crash empties it but a minute's count.
    """

    __tablename__ = "rate_limits"

    bucket: Mapped[str] = mapped_column(primary_key=True)
    arrival_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("length(bucket) <= 200", name="bucket"),
        OwnedBy(AUTH),
        functions_too(),
        {"schema": "viral", "prefixes": ["UNLOGGED"]},
    )
