"""Which telling of a concept a result is of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, func, select
from sqlalchemy.orm import aliased

from viral.schema.content import ConceptVariant
from viral.schema.results import PerformanceFeedback

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement


def was_told() -> ColumnElement[bool]:
    """Join variants to results, one at most: the one that a result names, else the selected one.

    What is selected stays once a result is in, so that a replay sees what was seen before.
    """
    selected = aliased(ConceptVariant)
    of_concept = (
        select(selected.id)
        .where(
            selected.tenant_id == PerformanceFeedback.tenant_id,
            selected.concept_id == PerformanceFeedback.concept_id,
            selected.is_selected,
        )
        .order_by(selected.label)
        .limit(1)
        .scalar_subquery()
    )
    return and_(
        ConceptVariant.tenant_id == PerformanceFeedback.tenant_id,
        ConceptVariant.concept_id == PerformanceFeedback.concept_id,
        ConceptVariant.id == func.coalesce(PerformanceFeedback.variant_id, of_concept),
    )
