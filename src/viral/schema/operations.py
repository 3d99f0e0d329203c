"""Jobs, metrics, usage: what runs the product and is seen by its operator."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Computed,
    ForeignKey,
    Index,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from viral.schema.base import Base, Created, Identified, JsonObject, TenantOwned, Texts
from viral.schema.security import (
    APP,
    AUTH,
    BY_FUNCTIONS,
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

# What whoever asks for a job may say of it.
JOB_REQUEST = (
    "id",
    "tenant_id",
    "scope",
    "queue",
    "job_type",
    "priority",
    "payload",
    "max_attempts",
    "dedupe_key",
    "batch_id",
    "is_due",
    "scheduled_for",
)


class Job(Identified, Created, Base):
    """A piece of slow work. A larger priority runs first, within a tenant.

    Claimed over all tenants, so the key is the id alone; `tenant_id` is null for system jobs only.
    A job that waits for its moment is not due, and stands outside the index that is claimed from.
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
    batch_id: Mapped[UUID | None] = mapped_column(sort_order=100)
    # Attempts that ended with their process: the next one runs beside no other suspect.
    crashes: Mapped[int] = mapped_column(server_default="0", sort_order=100)
    # Whether another job waits for this one.
    is_awaited: Mapped[bool] = mapped_column(server_default=text("false"), sort_order=100)
    is_due: Mapped[bool] = mapped_column(server_default=text("true"), sort_order=100)
    # Whose share of the workers' time it takes: its tenant's, or that of all system jobs together.
    place: Mapped[UUID] = mapped_column(
        Computed(
            "coalesce(tenant_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)", persisted=True
        ),
        sort_order=100,
    )
    # In per cent.
    progress: Mapped[int] = mapped_column(server_default="0", sort_order=100)
    queue: Mapped[str] = mapped_column(server_default="default", sort_order=100)
    # The jobs that must be completed before this one is due.
    waits_for: Mapped[Texts | None] = mapped_column(sort_order=100)

    __table_args__ = (
        Index(None, "tenant_id", "id"),
        Index(
            "ix_job_queue_waiting",
            "queue",
            "place",
            text("priority DESC"),
            "id",
            postgresql_where=text("status = 'pending' AND is_due AND crashes = 0"),
        ),
        Index(
            "ix_job_queue_suspects",
            "queue",
            text("priority DESC"),
            "id",
            postgresql_where=text("status = 'pending' AND is_due AND crashes > 0"),
        ),
        Index(
            "ix_job_queue_delayed",
            "scheduled_for",
            postgresql_where=text("status = 'pending' AND NOT is_due"),
        ),
        Index(
            "ix_job_queue_running",
            "queue",
            "place",
            postgresql_where=text("status = 'running'"),
        ),
        Index(
            "ix_job_queue_blocked",
            "waits_for",
            postgresql_using="gin",
            postgresql_where=text("status = 'blocked'"),
            info=BY_FUNCTIONS,
        ),
        Index(
            "ix_job_queue_batch",
            "tenant_id",
            "batch_id",
            postgresql_where=text("batch_id IS NOT NULL"),
        ),
        Index(
            "uq_job_queue_dedupe_key",
            "tenant_id",
            "job_type",
            "dedupe_key",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("status IN ('pending', 'blocked') AND dedupe_key IS NOT NULL"),
        ),
        CheckConstraint("scope IN ('tenant', 'system')", name="scope"),
        CheckConstraint("(scope = 'system') = (tenant_id IS NULL)", name="scope_tenant"),
        CheckConstraint(
            "status IN ('pending', 'blocked', 'running', 'completed', 'failed', 'canceled')",
            name="status",
        ),
        CheckConstraint("length(queue) BETWEEN 1 AND 63", name="queue"),
        CheckConstraint("max_attempts BETWEEN 1 AND 100", name="max_attempts"),
        CheckConstraint("progress BETWEEN 0 AND 100", name="progress"),
        tenant_only(),
        functions_too(),
        Policy("system_jobs", SYSTEM, using="scope = 'system'"),
        Grant(APP, "SELECT"),
        Grant(APP, "INSERT", columns=JOB_REQUEST),
        Grant(READONLY, "SELECT"),
        Grant(AUTH, "SELECT", "INSERT", "UPDATE", "DELETE"),
        Grant(SYSTEM, "SELECT", "INSERT", "UPDATE"),
        # Each job leaves two dead rows, whatever the size of the table.
        {
            "postgresql_with": {
                "autovacuum_vacuum_cost_delay": 0,
                "autovacuum_vacuum_scale_factor": 0,
                "autovacuum_vacuum_threshold": 2000,
            }
        },
    )


class JobEffect(Identified, TenantOwned, Base):
    """A call to the outside that a job makes at most once, however often the job is tried.

    Written down before the call; an attempt that finds it begun looks the effect up first.
    """

    __tablename__ = "job_effects"

    key: Mapped[str]
    job_id: Mapped[UUID]
    result: Mapped[JsonObject | None] = mapped_column(JSONB(none_as_null=True))
    begun_at: Mapped[datetime] = mapped_column(server_default=func.now())
    done_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("tenant_id", "key"),
        Index(None, "tenant_id", "begun_at"),
        tenant_only(),
        functions_too(),
        Grant(APP, "SELECT", "INSERT", "UPDATE"),
        Grant(READONLY, "SELECT"),
        Grant(AUTH, "SELECT", "DELETE"),
    )


class JobSchedule(Identified, Created, Base):
    """When a system job is put into the queue by itself: a cron expression in a time zone."""

    __tablename__ = "job_schedules"

    name: Mapped[str] = mapped_column(unique=True)
    job_type: Mapped[str]
    queue: Mapped[str] = mapped_column(server_default="default")
    cron: Mapped[str]
    time_zone: Mapped[str]
    missed: Mapped[str] = mapped_column(server_default="once")
    is_paused: Mapped[bool] = mapped_column(server_default=text("false"))
    next_at: Mapped[datetime]
    last_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("missed IN ('once', 'skip')", name="missed"),
        CheckConstraint("length(queue) BETWEEN 1 AND 63", name="queue"),
        functions_too(),
        system_only(),
        Grant(AUTH, "SELECT", "UPDATE"),
        Grant(SYSTEM, "SELECT", "INSERT", "UPDATE", "DELETE"),
    )


class JobWorker(Base):
    """A worker process and when it was last heard of.

    `is_leased`: it holds a session lock on its id, which the server frees when the process dies.
    """

    __tablename__ = "job_workers"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    heartbeat_at: Mapped[datetime] = mapped_column(server_default=func.now())
    is_leased: Mapped[bool] = mapped_column(server_default=text("false"))

    __table_args__ = (
        functions_too(),
        Grant(AUTH, "SELECT", "INSERT", "UPDATE", "DELETE"),
    )


class JobReservation(Base):
    """Short jobs that a worker took, in place of a mark in each; `open` of them have not ended.

    Until its end is written, such a job waits in `job_queue` as ever: nobody else takes it while
    this row stands, and what is at work for more than a moment is marked as running.
    """

    __tablename__ = "job_reservations"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    worker_id: Mapped[UUID]
    queue: Mapped[str]
    jobs: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    open: Mapped[int]
    made_at: Mapped[datetime] = mapped_column(server_default=func.now())

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


class IdempotencyKey(Identified, TenantOwned, Base):
    """A request that its sender may repeat, and what was answered, for a day.

    `status` is null until there is an answer; `body` is null too where it holds a secret.
    """

    __tablename__ = "idempotency_keys"

    # The API key that asked, or the person who did without one.
    sender_id: Mapped[UUID]
    key: Mapped[str]
    fingerprint: Mapped[bytes]
    status: Mapped[int | None]
    headers: Mapped[JsonObject | None] = mapped_column(JSONB(none_as_null=True))
    body: Mapped[bytes | None]
    begun_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        UniqueConstraint("tenant_id", "sender_id", "key"),
        CheckConstraint("length(key) BETWEEN 1 AND 255", name="key"),
        tenant_only(),
        functions_too(),
        Grant(APP, "SELECT", "INSERT", "UPDATE", "DELETE"),
        Grant(AUTH, "SELECT", "DELETE"),
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
