"""Results in: rows of a file become feedback of a tenant, once per video and day."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import ARRAY, Uuid, and_, bindparam, func, select

from viral.database.bulk import as_arrays, bulk_insert, unnested
from viral.database.engine import tenant_of
from viral.features.performance.files import Reject, ResultRow
from viral.schema.base import uuid7_run
from viral.schema.content import Concept
from viral.schema.results import PerformanceFeedback

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
VideoKey = tuple[str, str]

_VIDEO = ("platform", "external_id")
_CONCEPT = (
    "tenant_id",
    "id",
    "origin",
    "source_platform",
    "source_id",
    "category",
    "title",
    "hook_type",
    "hashtags",
    "duration_s",
    "sound",
)
_FEEDBACK = (
    "tenant_id",
    "id",
    "concept_id",
    "platform",
    "format",
    "external_id",
    "concept_title",
    "category",
    "published_at",
    "observed_on",
    "views",
    "likes",
    "shares",
    "comments",
    "followers",
    "data_source",
)


@dataclass(slots=True)
class ImportReport:
    """What became of rows: stored, known before, or rejected with a reason.

    `early` ones of the stored were read within two days of publication: they are kept, but the
    learner waits for a later reading.
    """

    stored: int = 0
    known: int = 0
    early: int = 0
    rejects: list[Reject] = field(default_factory=list)


def rows_by_tenant(rows: Iterable[ResultRow]) -> tuple[dict[str, list[ResultRow]], list[Reject]]:
    """Group rows by the slug in their tenant column; a row without a usable one is rejected."""
    grouped: dict[str, list[ResultRow]] = defaultdict(list)
    rejects = []
    for row in rows:
        slug = row.tenant or ""
        if SLUG.fullmatch(slug):
            grouped[slug].append(row)
        else:
            reason = "a tenant's slug has lower-case letters, digits, - and _, at most 63"
            rejects.append(Reject(row.line, "tenant", slug, reason))
    return dict(grouped), rejects


async def import_results(
    session: AsyncSession, rows: Sequence[ResultRow], *, data_source: str = "file"
) -> ImportReport:
    """Store results of the session's tenant; a video that was read on that day is left as it is.

    A row belongs to the concept that it names, or that its video belonged to before; else to a
    concept of its own, marked `imported`, without a prediction made after the fact.
    """
    report = ImportReport()
    concepts = await _known_concepts(session, rows)
    usable = await _with_known_concepts(session, rows, report)
    strangers = {
        _video(row): row for row in usable if row.concept_id is None and _video(row) not in concepts
    }
    concepts |= await _import_concepts(session, strangers)
    stored = await _store(session, usable, concepts, data_source=data_source)
    report.stored += len(stored)
    report.early += stored.count(False)
    report.known += len(usable) - len(stored)
    return report


async def _with_known_concepts(
    session: AsyncSession, rows: Sequence[ResultRow], report: ImportReport
) -> list[ResultRow]:
    """Reject rows that name a concept which the tenant does not have."""
    named = {row.concept_id for row in rows if row.concept_id is not None}
    # One array: a list of parameters ends at 32,767.
    ids = bindparam("ids", list(named), type_=ARRAY(Uuid()))
    found = set(await session.scalars(select(Concept.id).where(Concept.id == func.any(ids))))
    usable = []
    for row in rows:
        if row.concept_id is None or row.concept_id in found:
            usable.append(row)
        else:
            reason = "there is no such concept; leave it empty for a video made elsewhere"
            report.rejects.append(Reject(row.line, "concept_id", str(row.concept_id), reason))
    return usable


async def _known_concepts(session: AsyncSession, rows: Sequence[ResultRow]) -> dict[VideoKey, UUID]:
    wanted = unnested(PerformanceFeedback, _VIDEO)
    found = await session.execute(
        select(
            PerformanceFeedback.platform,
            PerformanceFeedback.external_id,
            PerformanceFeedback.concept_id,
        ).join(
            wanted,
            and_(
                PerformanceFeedback.platform == wanted.c.platform,
                PerformanceFeedback.external_id == wanted.c.external_id,
            ),
        ),
        as_arrays(sorted({_video(row) for row in rows}), _VIDEO),
    )
    return {(platform, external_id): concept for platform, external_id, concept in found}


async def _import_concepts(
    session: AsyncSession, videos: dict[VideoKey, ResultRow]
) -> dict[VideoKey, UUID]:
    if not videos:
        return {}
    tenant_id = tenant_of(session)
    rows = [
        (
            tenant_id,
            concept_id,
            "imported",
            row.platform,
            row.external_id,
            row.category,
            row.title,
            row.hook_type,
            list(row.tags),
            row.duration_s,
            row.sound,
        )
        for concept_id, row in zip(uuid7_run(len(videos)), videos.values(), strict=True)
    ]
    statement = bulk_insert(Concept, _CONCEPT).on_conflict_do_nothing(
        index_elements=["tenant_id", "source_platform", "source_id"]
    )
    await session.execute(statement, as_arrays(rows, _CONCEPT))
    wanted = unnested(PerformanceFeedback, _VIDEO)
    found = await session.execute(
        select(Concept.source_platform, Concept.source_id, Concept.id).join(
            wanted,
            and_(
                Concept.source_platform == wanted.c.platform,
                Concept.source_id == wanted.c.external_id,
            ),
        ),
        as_arrays(sorted(videos), _VIDEO),
    )
    return {
        (platform, source_id): concept
        for platform, source_id, concept in found
        if platform is not None and source_id is not None
    }


async def _store(
    session: AsyncSession,
    rows: Sequence[ResultRow],
    concepts: dict[VideoKey, UUID],
    *,
    data_source: str,
) -> list[bool]:
    """Store what is new; for each stored row, whether it is mature."""
    if not rows:
        return []
    tenant_id = tenant_of(session)
    values = [
        (
            tenant_id,
            feedback_id,
            row.concept_id or concepts[_video(row)],
            row.platform,
            row.format,
            row.external_id,
            row.title,
            row.category,
            row.published_at,
            row.observed_on,
            row.views,
            row.likes,
            row.shares,
            row.comments,
            row.followers,
            data_source,
        )
        for feedback_id, row in zip(uuid7_run(len(rows)), rows, strict=True)
    ]
    statement = (
        bulk_insert(PerformanceFeedback, _FEEDBACK)
        .on_conflict_do_nothing(
            index_elements=["tenant_id", "platform", "external_id", "observed_on"]
        )
        .returning(PerformanceFeedback.is_mature)
    )
    return list(await session.scalars(statement, as_arrays(values, _FEEDBACK)))


def _video(row: ResultRow) -> VideoKey:
    return row.platform, row.external_id
