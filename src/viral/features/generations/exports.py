"""Concepts taken along: as CSV, or as JSON, one object a line."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Literal

from viral.database.values import harmless
from viral.features.generations.history import all_concepts
from viral.features.generations.variants import selected_variants, variant_document

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.generations.history import ConceptFilter
    from viral.schema.content import Concept, ConceptVariant

Form = Literal["csv", "json"]


async def export_concepts(
    session: AsyncSession, wanted: ConceptFilter, *, form: Form, most: int | None = None
) -> AsyncIterator[tuple[str, int]]:
    """Write concepts, newest first, with the variant that is to be posted.

    Yields text and how many concepts are in it; a cell that a spreadsheet would run is put behind
    a quote.
    """
    is_first = True
    async for page in all_concepts(session, wanted, most=most):
        told = await selected_variants(session, [each.id for each in page])
        if form == "json":
            yield "".join(_line(each, told.get(each.id)) for each in page), len(page)
        else:
            rows = [_cells(each, told.get(each.id)) for each in page]
            yield _table(rows, with_header=is_first), len(page)
        is_first = False


def concept_document(concept: Concept) -> dict[str, object]:
    """Describe a concept with its predictions, for programs."""
    return {
        "id": concept.id,
        "created_at": concept.created_at,
        "title": concept.title,
        "hook": concept.hook,
        "hook_type": concept.hook_type,
        "category": concept.category,
        "script": concept.script,
        "caption": concept.caption,
        "hashtags": concept.hashtags,
        "duration_s": concept.duration_s,
        "post_at": concept.post_at,
        "why_it_works": concept.why_it_works,
        "prompts": concept.prompts,
        "trend": concept.trend,
        "is_favorite": concept.is_favorite,
        "is_exploration": concept.is_exploration,
        "propensity": concept.propensity,
        "predictions": [
            {
                "platform": each.platform,
                "score": each.score,
                "low": each.low,
                "high": each.high,
                "reasons": each.reasons,
            }
            for each in sorted(concept.predictions, key=lambda each: each.platform)
        ],
    }


def _line(concept: Concept, told: ConceptVariant | None) -> str:
    document = concept_document(concept)
    document["variant"] = None if told is None else variant_document(told)
    return json.dumps(document, default=str, ensure_ascii=False) + "\n"


def _table(rows: list[dict[str, object]], *, with_header: bool) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    if with_header:
        writer.writerow(rows[0])
    writer.writerows([harmless(value) for value in row.values()] for row in rows)
    return text.getvalue()


def _cells(concept: Concept, told: ConceptVariant | None) -> dict[str, object]:
    scores = {each.platform: each.score for each in concept.predictions}
    return {
        "id": concept.id,
        "created_at": concept.created_at.isoformat(),
        "category": concept.category,
        "title": concept.title,
        "hook": concept.hook,
        "hook_type": concept.hook_type,
        "caption": concept.caption,
        "hashtags": " ".join(concept.hashtags),
        "duration_s": concept.duration_s,
        "post_at": None if concept.post_at is None else concept.post_at.isoformat(),
        "is_favorite": concept.is_favorite,
        "variant": None if told is None else told.label,
        "variant_title": None if told is None else told.title,
        "variant_hook": None if told is None else told.hook,
        "variant_hook_type": None if told is None else told.hook_type,
        "variant_caption": None if told is None else told.caption,
        **{f"score_{name}": scores.get(name) for name in ("instagram", "tiktok", "youtube")},
    }
