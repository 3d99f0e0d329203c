"""Generations, and the concepts, variants and scores that live inside their JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from viral.features.prisma_import.concepts import (
    LONGEST_CATEGORY,
    LONGEST_TITLE,
    concept_values,
    prediction_values,
    variant_values,
)
from viral.features.prisma_import.fields import (
    LONGEST_WORD,
    SourceRow,
    Unusable,
    snake_document,
    with_snake_keys,
)
from viral.features.prisma_import.ids import derived_id, target_id
from viral.features.prisma_import.steps import Entry, Known, KnownConcept, Step
from viral.schema.content import Concept, ConceptVariant, Generation, Prediction
from viral.schema.tenants import QuotaEntry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from viral.schema.base import Base

# Every concept that a result or a video names; the title where there is one.
_NAMED = """
SELECT DISTINCT ON (n."tenantId", n."conceptId") n."conceptId" AS id, n.*
FROM (
  SELECT "tenantId", "conceptId", platform, category, "conceptTitle" AS title,
         "reportedAt" AS "createdAt", id AS "rowId"
  FROM performance_feedback
  UNION ALL
  SELECT "tenantId", "conceptId", platform, category, NULL, "createdAt", id FROM videos
) AS n
ORDER BY n."tenantId", n."conceptId", n.title IS NULL, n."createdAt", n."rowId"
"""


@dataclass(frozen=True, slots=True)
class _Generation:
    """The generation whose concepts are being read; `kept` is what has no column."""

    row: SourceRow
    known: Known
    id: UUID
    tenant_id: UUID
    date: datetime
    created_at: datetime
    trends: Sequence[object]
    kept: dict[str, object] = field(default_factory=dict)


def _generation(row: SourceRow, known: Known) -> list[Entry]:
    of = _Generation(
        row=row,
        known=known,
        id=target_id("generations", row.id),
        tenant_id=known.tenant_of(row),
        date=row.time("date"),
        created_at=row.time("createdAt"),
        trends=_trends(row, known),
    )
    is_favorite = row.flag("isFavorite")
    documents = row.items("concepts")
    made = [entry for place, each in enumerate(documents) for entry in _try(of, place, each)]
    reservation_id = derived_id("quota_ledger", str(of.id))
    reservation: dict[str, object] = {
        "tenant_id": of.tenant_id,
        "id": reservation_id,
        "kind": "reserve",
        # A generation rests on a reservation, and a reservation is of one concept at least.
        "amount": len(documents) or 1,
        "period_start": of.date.replace(day=1, hour=0, minute=0, second=0, microsecond=0),
    }
    values: dict[str, object] = {
        "tenant_id": of.tenant_id,
        "id": of.id,
        "reservation_id": reservation_id,
        "date": of.date,
        "settings": {"imported": of.kept},
        "trends": list(of.trends),
        "writer": "import",
        "is_favorite": is_favorite,
        "created_at": of.created_at,
    }
    return [Entry(QuotaEntry, row.id, reservation), Entry(Generation, row.id, values), *made]


def _trends(row: SourceRow, known: Known) -> list[object]:
    trends = row.values.get("trends")
    if isinstance(trends, list):
        return [with_snake_keys(each) for each in trends]
    known.report.mend("generations", "trends", "was no JSON list: left empty")
    return []


def _try(of: _Generation, place: int, document: object) -> list[Entry]:
    """Read one concept; the others of the generation do not suffer from a bad one."""
    try:
        return _concept(of, place, document)
    except Unusable as refused:
        of.known.report.reject(
            "concepts", f"{of.row.id}, place {place}", refused.column, refused.reason
        )
        return []


def _concept(of: _Generation, place: int, document: object) -> list[Entry]:
    if not isinstance(document, dict):
        raise Unusable("concepts", "is no JSON object")
    rest = snake_document(document)
    name = str(rest.pop("id", None) or "").strip()[:LONGEST_WORD]
    values = concept_values(rest, made_at=of.created_at, trends=of.trends)
    concept_id = target_id("concepts", name)
    if not name or (of.tenant_id, name) in of.known.concepts:
        of.known.report.mend("concepts", "id", "was missing or used before: it gets its own")
        concept_id = derived_id("concepts", str(of.id), str(place))
    else:
        known = KnownConcept(concept_id, str(values["title"]), of.created_at)
        of.known.concepts[of.tenant_id, name] = known
    made = _Concept(of, name or str(concept_id), concept_id)
    variants = rest.pop("variants", None)
    scores = rest.get("platform_virality")
    if rest:
        of.kept[str(concept_id)] = rest
    values |= {
        "tenant_id": of.tenant_id,
        "id": concept_id,
        "generation_id": of.id,
        "created_at": of.created_at,
    }
    return [
        Entry(Concept, of.row.id, values),
        *made.variants(variants if isinstance(variants, list) else []),
        *made.predictions(scores if isinstance(scores, dict) else {}),
    ]


@dataclass(frozen=True, slots=True)
class _Concept:
    """A concept whose parts are being read; a bad part does not take the others along."""

    of: _Generation
    name: str
    id: UUID

    def variants(self, documents: Sequence[object]) -> list[Entry]:
        made: dict[object, Entry] = {}
        for document in documents:
            try:
                entry = self._variant(document)
                _put_once(made, entry, entry.values["label"], column="variants.label")
            except Unusable as refused:
                self._reject("concept_variants", refused)
        return list(made.values())

    def predictions(self, scores: dict[str, object]) -> list[Entry]:
        made: dict[object, Entry] = {}
        for platform, virality in scores.items():
            try:
                entry = self._prediction(platform, virality)
                _put_once(made, entry, entry.values["platform"], column="platform_virality")
            except Unusable as refused:
                self._reject("predictions", refused)
        return list(made.values())

    def _variant(self, document: object) -> Entry:
        values = variant_values(document)
        variant_id = derived_id("concept_variants", str(self.id), str(values["label"]))
        if isinstance(document, dict) and isinstance(source_id := document.get("id"), str):
            key = self.of.tenant_id, self.name, source_id
            self.of.known.variants.setdefault(key, variant_id)
        return self._part(ConceptVariant, variant_id, values)

    def _prediction(self, platform: str, virality: object) -> Entry:
        values = prediction_values(platform, virality)
        prediction_id = derived_id("predictions", str(self.id), str(values["platform"]))
        return self._part(Prediction, prediction_id, values)

    def _part(self, table: type[Base], part_id: UUID, values: dict[str, object]) -> Entry:
        values |= {
            "tenant_id": self.of.tenant_id,
            "id": part_id,
            "concept_id": self.id,
            "created_at": self.of.created_at,
        }
        return Entry(table, self.of.row.id, values)

    def _reject(self, table: str, refused: Unusable) -> None:
        row_id = f"{self.of.row.id}, concept {self.name}"
        self.of.known.report.reject(table, row_id, refused.column, refused.reason)


def _put_once(made: dict[object, Entry], entry: Entry, key: object, *, column: str) -> None:
    if made.setdefault(key, entry) is not entry:
        raise Unusable(column, "occurs twice")


def _named_concept(row: SourceRow, known: Known) -> list[Entry]:
    """Make a concept that is known from its results or videos alone, so that they stay."""
    tenant_id = known.tenant_of(row)
    name = row.word("conceptId")
    if (tenant_id, name) in known.concepts:
        return []
    platform, _ = row.platform()
    concept_id = target_id("concepts", name)
    title = (row.text_or_none("title") or f"Concept {name}")[:LONGEST_TITLE]
    values: dict[str, object] = {
        "tenant_id": tenant_id,
        "id": concept_id,
        "origin": "imported",
        "source_platform": platform,
        "source_id": name,
        "category": row.word("category", longest=LONGEST_CATEGORY),
        "title": title,
        "created_at": row.time("createdAt"),
    }
    known.concepts[tenant_id, name] = KnownConcept(concept_id, title, row.time("createdAt"))
    return [Entry(Concept, row.id, values)]


STEPS = (
    Step(
        "generations",
        _generation,
        (QuotaEntry, Generation, Concept, ConceptVariant, Prediction),
        '"tenantId", "createdAt", id',
    ),
    Step("concepts", _named_concept, (Concept,), '"tenantId", id', _NAMED),
)
