"""/api/v1/concepts: ideas for videos, with predictions and their reasons; found, kept, taken.

Written by `make docs`; do not edit.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from viral.client.calls import Calls, read


class ReasonOut(msgspec.Struct, frozen=True):
    """A signed share of a score, in points."""

    family: str
    key: str
    label: str
    points: float


class PredictionOut(msgspec.Struct, frozen=True):
    """A score from 0 to 100 with its 80 % interval; the reasons add up to the score."""

    platform: str
    score: float
    low: float
    high: float
    reasons: list[ReasonOut]


class ConceptOut(msgspec.Struct, frozen=True):
    """A concept with its predictions."""

    id: UUID
    created_at: datetime
    title: str
    hook: str
    hook_type: str | None
    category: str
    script: list[object]
    caption: str
    hashtags: list[str]
    duration_s: int | None
    post_at: datetime | None
    why_it_works: str
    prompts: dict[str, object]
    trend: dict[str, object] | None
    is_favorite: bool
    is_exploration: bool
    propensity: float | None
    predictions: list[PredictionOut]


class ConceptsPage(msgspec.Struct, frozen=True):
    """Concepts, newest first; `next_cursor` leads to older ones and is null at the end."""

    concepts: list[ConceptOut]
    next_cursor: str | None


class ConceptsOrdered(msgspec.Struct, frozen=True):
    """The job that writes them; `GET /jobs/{job_id}` tells how far it is."""

    job_id: UUID


class VariantOut(msgspec.Struct, frozen=True):
    """One way to tell a concept; the selected one is to be posted."""

    id: UUID
    label: str
    title: str
    hook: str | None
    hook_type: str | None
    caption: str
    hook_source: str
    is_selected: bool
    experiment_id: UUID | None


class Concepts(Calls):
    """Ideas for videos, with predictions and their reasons; found, kept, taken."""

    def list_concepts(
        self,
        *,
        page_size: int = 20,
        search: str = "",
        category: str | None = None,
        favorite: bool = False,
    ) -> Iterator[ConceptOut]:
        """List generated concepts, newest first, a page at a time.

        `search` is for words that each begin one in title, hook, caption or script.
        """
        for page in self._pages(
            "/concepts",
            ConceptsPage,
            {"limit": page_size, "search": search, "category": category, "favorite": favorite},
        ):
            yield from page.concepts

    def generate_concepts(
        self,
        *,
        count: int,
        category: str | None = None,
        platform: Literal["tiktok", "youtube", "instagram"] | None = None,
        seed: int | None = None,
        idempotency_key: str | None = None,
    ) -> list[ConceptOut]:
        """Write concepts from current trends and predict them.

        Counted against the month's quota.
        """
        return read(
            self._ask(
                "POST",
                "/concepts",
                idempotency_key=idempotency_key,
                body={"count": count, "category": category, "platform": platform, "seed": seed},
            ),
            list[ConceptOut],
        )

    def order_concepts(
        self,
        *,
        count: int,
        category: str | None = None,
        platform: Literal["tiktok", "youtube", "instagram"] | None = None,
        seed: int | None = None,
        idempotency_key: str | None = None,
    ) -> ConceptsOrdered:
        """Have a worker write concepts; how far it is stands at /jobs."""
        return read(
            self._ask(
                "POST",
                "/concepts/orders",
                idempotency_key=idempotency_key,
                body={"count": count, "category": category, "platform": platform, "seed": seed},
            ),
            ConceptsOrdered,
        )

    def export_concepts(
        self,
        *,
        format: Literal["csv", "json"] = "csv",
        search: str = "",
        category: str | None = None,
        favorite: bool = False,
    ) -> str:
        """Give the newest 10,000 concepts as CSV, or as JSON, one object a line.

        Each comes with the variant that is to be posted, where it has variants.
        """
        return self._ask(
            "GET",
            "/concepts/export",
            query={"format": format, "search": search, "category": category, "favorite": favorite},
        ).text

    def mark_favorite(self, concept_id: UUID) -> ConceptOut:
        """Make a concept a favourite."""
        return read(self._ask("PUT", f"/concepts/{concept_id}/favorite"), ConceptOut)

    def unmark_favorite(self, concept_id: UUID) -> ConceptOut:
        """Let a concept be no favourite."""
        return read(self._ask("DELETE", f"/concepts/{concept_id}/favorite"), ConceptOut)

    def get_concept(self, concept_id: UUID) -> ConceptOut:
        """Show one concept."""
        return read(self._ask("GET", f"/concepts/{concept_id}"), ConceptOut)

    def list_variants(self, concept_id: UUID) -> list[VariantOut]:
        """List the variants of a concept."""
        return read(self._ask("GET", f"/concepts/{concept_id}/variants"), list[VariantOut])

    def add_variants(
        self,
        concept_id: UUID,
        *,
        count: int = 3,
        seed: int | None = None,
        idempotency_key: str | None = None,
    ) -> list[VariantOut]:
        """Tell a concept in other ways; not counted against the quota."""
        return read(
            self._ask(
                "POST",
                f"/concepts/{concept_id}/variants",
                idempotency_key=idempotency_key,
                body={"count": count, "seed": seed},
            ),
            list[VariantOut],
        )

    def select_variant(self, concept_id: UUID, *, label: str) -> VariantOut:
        """Choose the variant that is posted; fixed by a result, and by an experiment that runs."""
        return read(
            self._ask("PUT", f"/concepts/{concept_id}/selection", body={"label": label}), VariantOut
        )
