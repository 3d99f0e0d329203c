"""What posts brought: feedback, and snapshots over time."""

from __future__ import annotations

from datetime import timedelta

from viral.features.performance.files import FIRST_YEAR
from viral.features.prisma_import.concepts import LONGEST_CATEGORY
from viral.features.prisma_import.fields import SourceRow, Unusable
from viral.features.prisma_import.ids import target_id
from viral.features.prisma_import.steps import NOT_IMPORTED, Entry, Known, Step
from viral.schema.results import AnalyticsSnapshot, PerformanceFeedback

DATA_SOURCES = ("manual", "scraped", "api")
AHEAD = timedelta(days=1)


def _feedback(row: SourceRow, known: Known) -> list[Entry]:
    """Keep a report; the reports of one concept on one platform are readings of one video."""
    tenant_id = known.tenant_of(row)
    name = row.word("conceptId")
    concept = known.concepts.get((tenant_id, name))
    if concept is None:
        raise Unusable("conceptId", NOT_IMPORTED)
    platform, form = row.platform()
    reported_at = row.time("reportedAt")
    refuse_strange_time(row, "reportedAt", known)
    variant = row.word_or_none("variantId")
    variant_id = known.variants.get((tenant_id, name, variant)) if variant else None
    if variant and variant_id is None:
        known.report.mend(row.table, "variantId", f"{NOT_IMPORTED}: set to null")
    external_id = f"concept:{concept.id}" + (f":{variant_id}" if variant_id else "")
    feedback_id = target_id(row.table, row.id)
    published_at = known.posted.get((tenant_id, name, platform), concept.made_at)
    values: dict[str, object] = {
        "tenant_id": tenant_id,
        "id": feedback_id,
        "concept_id": concept.id,
        "variant_id": variant_id,
        "platform": platform,
        "format": form,
        "external_id": external_id,
        "concept_title": row.text("conceptTitle"),
        "category": row.word("category", longest=LONGEST_CATEGORY),
        "published_at": min(published_at, reported_at),
        "observed_on": reported_at.date(),
        "views": row.count("views"),
        "likes": row.count_or_none("likes"),
        "shares": row.count_or_none("shares"),
        "comments": row.count_or_none("comments"),
        "data_source": row.choice("dataSource", DATA_SOURCES),
        "reported_at": reported_at,
        "created_at": reported_at,
    }
    day = reported_at.date()
    known.take("reportedAt", tenant_id, platform, external_id, day, row_id=feedback_id)
    return [Entry(PerformanceFeedback, row.id, values)]


def _snapshot(row: SourceRow, known: Known) -> list[Entry]:
    video = known.videos.get(row.text("videoId"))
    if video is None:
        raise Unusable("videoId", NOT_IMPORTED)
    platform, _ = row.platform()
    refuse_strange_time(row, "snapshotAt", known)
    values: dict[str, object] = {
        "tenant_id": video.tenant_id,
        "id": target_id(row.table, row.id),
        "snapshot_at": row.time("snapshotAt"),
        "video_id": video.id,
        "platform": platform,
        "views": row.count("views"),
        "likes": row.count_or_none("likes"),
        "shares": row.count_or_none("shares"),
        "comments": row.count_or_none("comments"),
        "watch_time_s": row.count_or_none("watchTime"),
    }
    return [Entry(AnalyticsSnapshot, row.id, values)]


def refuse_strange_time(row: SourceRow, column: str, known: Known) -> None:
    """Refuse a measurement before there were such platforms, or from the future."""
    moment = row.time(column)
    if moment.year < FIRST_YEAR or moment > known.now + AHEAD:
        raise Unusable(column, f"is before {FIRST_YEAR} or in the future")


STEPS = (
    Step(
        # Of several reports on one day the last one counts: numbers only grow.
        "performance_feedback",
        _feedback,
        (PerformanceFeedback,),
        '"tenantId", "reportedAt" DESC, id',
    ),
    Step(
        "analytics_snapshots",
        _snapshot,
        (AnalyticsSnapshot,),
        '"ownerId", "snapshotAt", id',
        'SELECT s.*, v."tenantId" AS "ownerId" FROM analytics_snapshots AS s'
        ' LEFT JOIN videos AS v ON v.id = s."videoId"',
    ),
)
