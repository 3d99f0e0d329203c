"""Which prediction was served for a result: ours, of the same concept and platform."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_

from viral.schema.content import FORMER_MODEL, Prediction
from viral.schema.results import PerformanceFeedback

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement


def was_served() -> ColumnElement[bool]:
    """Join predictions to results; a score of another product foretold nothing of ours."""
    return and_(
        Prediction.tenant_id == PerformanceFeedback.tenant_id,
        Prediction.concept_id == PerformanceFeedback.concept_id,
        Prediction.platform == PerformanceFeedback.platform,
        Prediction.model_version > FORMER_MODEL,
    )
