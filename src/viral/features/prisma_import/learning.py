"""Critiques, insights and adjustments, as a record of what the former system made of its misses."""

from __future__ import annotations

from hashlib import sha256
from typing import get_args

from viral.features.prisma_import.concepts import LONGEST_CATEGORY, LONGEST_TITLE, band_of
from viral.features.prisma_import.fields import (
    LARGEST_INTEGER,
    Fields,
    SourceRow,
    Unusable,
    snake_document,
)
from viral.features.prisma_import.ids import target_id
from viral.features.prisma_import.steps import NOT_IMPORTED, Entry, Known, KnownCritique, Step
from viral.schema.learning import ReflexionInsight, ScoringAdjustment, SelfCritique
from viral.schema.vocabulary import Confidence, Direction

IMPACTS = ("positive", "negative", "neutral")


def _critique(row: SourceRow, known: Known) -> list[Entry]:
    tenant_id = known.tenant_of(row)
    concept = known.concepts.get((tenant_id, row.text("conceptId").strip()))
    if concept is None:
        known.report.mend(row.table, "conceptId", f"{NOT_IMPORTED}: set to null")
    gap = _gap(row)
    if concept is not None:
        gap["concept_id"] = str(concept.id)
    critique_id = target_id(row.table, row.id)
    values: dict[str, object] = {
        "tenant_id": tenant_id,
        "id": critique_id,
        "concept_id": None if concept is None else concept.id,
        "performance_gap": gap,
        "critique": row.text("critique"),
        "hypothesized_reasons": row.items("hypothesizedReasons"),
        "scoring_issues": row.items("scoringIssues"),
        "adjustment_plan": row.text("adjustmentPlan"),
        "confidence_level": row.choice("confidenceLevel", get_args(Confidence)),
        "critic": "import",
        "created_at": row.time("createdAt"),
        "applied_at": row.time_or_none("appliedAt"),
    }
    known.critiques[row.id] = KnownCritique(critique_id, tenant_id, str(gap["platform"]))
    return [Entry(SelfCritique, row.id, values)]


def _gap(row: SourceRow) -> dict[str, object]:
    """Read what a critique is about; pages need its platform, title, scores and direction."""
    gap = snake_document(row.document("performanceGap"))
    fields = Fields(gap)
    try:
        platform, _ = fields.platform()
        predicted = fields.number("predicted_virality")
        low, high = band_of(predicted)
        return gap | {
            "platform": platform,
            "concept_title": fields.word("concept_title", longest=LONGEST_TITLE),
            "predicted_virality": predicted,
            "low": low,
            "high": high,
            "actual_virality_score": fields.number("actual_virality_score"),
            "direction": fields.choice("direction", get_args(Direction)),
        }
    except Unusable as refused:
        raise Unusable(f"performanceGap.{refused.column}", refused.reason) from refused


def _insight(row: SourceRow, known: Known) -> list[Entry]:
    tenant_id = known.tenant_of(row)
    platform, _ = row.platform()
    category = row.word("category", longest=LONGEST_CATEGORY)
    pattern = row.text("pattern")
    pattern_key = f"import:{sha256(pattern.encode()).hexdigest()}"
    insight_id = target_id(row.table, row.id)
    values: dict[str, object] = {
        "tenant_id": tenant_id,
        "id": insight_id,
        "category": category,
        "platform": platform,
        "pattern_key": pattern_key,
        "pattern": pattern,
        "evidence_count": row.count("evidenceCount", most=LARGEST_INTEGER),
        "impact": row.choice("impact", IMPACTS),
        # The source counts evidence and measures no effect.
        "effect_size": 0.0,
        "low": 0.0,
        "high": 0.0,
        "recommendation": row.text("recommendation"),
        "applied_to_scoring": row.flag("appliedToScoring"),
        "discovered_at": row.time("discoveredAt"),
        "last_seen_at": row.time("lastSeenAt"),
    }
    known.take("pattern", tenant_id, category, platform, pattern_key, row_id=insight_id)
    return [Entry(ReflexionInsight, row.id, values)]


def _adjustment(row: SourceRow, known: Known) -> list[Entry]:
    """Keep an adjustment as reverted: its weights multiply, what is served here adds points."""
    tenant_id = known.tenant_of(row)
    critique = known.critiques.get(row.text("critiqueId"))
    if critique is None or critique.tenant_id != tenant_id:
        raise Unusable("critiqueId", NOT_IMPORTED if critique is None else "is another tenant's")
    values: dict[str, object] = {
        "tenant_id": tenant_id,
        "id": target_id(row.table, row.id),
        "critique_id": critique.id,
        "platform": critique.platform,
        "goal": "score",
        "adjustment_type": row.word("adjustmentType"),
        "category": row.word("category", longest=LONGEST_CATEGORY),
        "old_value": row.number("oldValue"),
        "new_value": row.number("newValue"),
        "reason": row.text("reason"),
        "evidence": {"imported": True, "unit": "weight"},
        "applied_at": row.time("appliedAt"),
        "reverted_at": row.time("appliedAt"),
    }
    return [Entry(ScoringAdjustment, row.id, values)]


STEPS = (
    Step("self_critiques", _critique, (SelfCritique,), '"tenantId", "createdAt", id'),
    Step("reflexion_insights", _insight, (ReflexionInsight,), '"tenantId", "discoveredAt", id'),
    Step("scoring_adjustments", _adjustment, (ScoringAdjustment,), '"tenantId", "appliedAt", id'),
)
