"""/api/v1/reflexion/critiques: why predictions missed, in words."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import get
from litestar.params import FromQuery, QueryParameter

from viral.features.reflexion.status import page_of_critiques
from viral.schema.learning import SelfCritique
from viral.web.cursors import cut_page, place_of, when_made
from viral.web.dependencies import Person, Wired
from viral.web.requests import WebRequest
from viral.web.site import Site

PURPOSE = "critiques"
MOST_CRITIQUES = 100


class CritiqueOut(msgspec.Struct, frozen=True):
    """Why a prediction missed; without a concept, what stands behind adjustments."""

    id: UUID
    created_at: datetime
    concept_id: UUID | None
    gap: dict[str, object]
    text: str
    reasons: list[object]
    issues: list[object]
    plan: str
    confidence: str
    critic: str


class CritiquesPage(msgspec.Struct, frozen=True):
    """Critiques, newest first; `next_cursor` leads to older ones and is null at the end."""

    critiques: list[CritiqueOut]
    next_cursor: str | None


@get("/reflexion/critiques", operation_id="list_critiques")
async def get_critiques(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    limit: Annotated[int, QueryParameter(ge=1, le=MOST_CRITIQUES)] = 20,
    cursor: FromQuery[str | None] = None,
    concept_id: FromQuery[UUID | None] = None,
) -> CritiquesPage:
    """List critiques, newest first, a page at a time; adjustments name the one behind them."""
    site: Site = request.app.state.site
    before = place_of(site, identity.tenant_id, cursor, purpose=PURPOSE)
    found = await runtime.reading.read(
        identity.tenant_id,
        partial(page_of_critiques, limit=limit + 1, before=before, concept_id=concept_id),
    )
    rows, next_cursor = cut_page(site, identity.tenant_id, found, limit, when_made, purpose=PURPOSE)
    return CritiquesPage([_critique(each) for each in rows], next_cursor)


def _critique(row: SelfCritique) -> CritiqueOut:
    return CritiqueOut(
        id=row.id,
        created_at=row.created_at,
        concept_id=row.concept_id,
        gap=row.performance_gap,
        text=row.critique,
        reasons=row.hypothesized_reasons,
        issues=row.scoring_issues,
        plan=row.adjustment_plan,
        confidence=row.confidence_level,
        critic=row.critic,
    )


ROUTES: Final = (get_critiques,)
