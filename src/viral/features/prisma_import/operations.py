"""Jobs, metrics and usage, as history."""

from __future__ import annotations

from viral.features.prisma_import.fields import LARGEST_INTEGER, SourceRow, Unusable
from viral.features.prisma_import.ids import target_id
from viral.features.prisma_import.publishing import INTERRUPTED
from viral.features.prisma_import.results import refuse_strange_time
from viral.features.prisma_import.steps import Entry, Known, KnownKey, Step
from viral.schema.operations import ApiUsage, Job, SystemMetric

MOST_ATTEMPTS = 100
STATES = ("pending", "running", "completed", "failed")
UNDER_WAY = ("pending", "running")


def _job(row: SourceRow, known: Known) -> list[Entry]:
    """Keep a job as history: one that waited would name the former system's work, and run here."""
    tenant_id = None if row.values.get("tenantId") is None else known.tenant_of(row)
    status = row.choice("status", STATES)
    error = row.text_or_none("errorMessage")
    if status in UNDER_WAY:
        known.report.mend(row.table, "status", f"{INTERRUPTED}: canceled")
        status, error = "canceled", error or INTERRUPTED
    max_attempts = row.count("maxAttempts", most=MOST_ATTEMPTS)
    if not max_attempts:
        raise Unusable("maxAttempts", "is zero")
    values: dict[str, object] = {
        "id": target_id(row.table, row.id),
        "scope": "system" if tenant_id is None else "tenant",
        "tenant_id": tenant_id,
        "job_type": row.word("jobType"),
        "status": status,
        "priority": row.integer("priority"),
        "payload": row.document("payload"),
        "result": row.document_or_none("result"),
        "error_message": error,
        "attempts": row.count("attempts", most=LARGEST_INTEGER),
        "max_attempts": max_attempts,
        "scheduled_for": row.time("scheduledFor"),
        "started_at": row.time_or_none("startedAt"),
        "completed_at": row.time_or_none("completedAt"),
        "created_at": row.time("createdAt"),
    }
    return [Entry(Job, row.id, values)]


def _metric(row: SourceRow, known: Known) -> list[Entry]:
    refuse_strange_time(row, "recordedAt", known)
    values: dict[str, object] = {
        "id": target_id(row.table, row.id),
        "recorded_at": row.time("recordedAt"),
        "metric_type": row.word("metricType"),
        "value": row.number("value"),
        "metadata": row.document_or_none("metadata"),
    }
    return [Entry(SystemMetric, row.id, values)]


def _usage(row: SourceRow, known: Known) -> list[Entry]:
    """Name the key by its id; what follows a `?` may hold secrets and is left out."""
    tenant_id = known.tenant_of(row)
    refuse_strange_time(row, "timestamp", known)
    key = _key_of(row, known, tenant_id)
    values: dict[str, object] = {
        "tenant_id": tenant_id,
        "id": target_id(row.table, row.id),
        "requested_at": row.time("timestamp"),
        "api_key_id": None if key is None else key.id,
        "user_id": None if key is None else key.user_id,
        "request_id": f"import:{row.id}",
        "endpoint": row.text("endpoint").partition("?")[0],
        "method": row.text("method"),
        "status_code": row.integer("statusCode"),
        "response_time_ms": row.count("responseTime", most=LARGEST_INTEGER),
    }
    return [Entry(ApiUsage, row.id, values)]


def _key_of(row: SourceRow, known: Known, tenant_id: object) -> KnownKey | None:
    key = known.keys.get(row.text("apiKey"))
    if key is None or key.tenant_id != tenant_id:
        known.report.mend(row.table, "apiKey", "is no key of the tenant: set to null")
        return None
    return key


STEPS = (
    Step("job_queue", _job, (Job,), '"tenantId", "createdAt", id'),
    Step("system_metrics", _metric, (SystemMetric,), '"recordedAt", id'),
    Step("api_usage", _usage, (ApiUsage,), '"tenantId", "timestamp", id'),
)
