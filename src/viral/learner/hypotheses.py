"""Hypotheses as effects: they start at zero, and only outcomes move them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from viral.errors import BadInput
from viral.learner.predicates import fires, format_predicate, holds_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from viral.learner.families import EffectKey
    from viral.learner.predicates import Predicate
    from viral.learner.video import Video
    from viral.schema.vocabulary import Confidence


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What may move a score. The critic's confidence widens the prior, it never sets a value."""

    predicate: Predicate
    confidence: Confidence
    is_shared: bool = False

    def __post_init__(self) -> None:
        """Refuse to share a tenant's words."""
        if self.is_shared and holds_text(self.predicate):
            raise BadInput(
                f"{format_predicate(self.predicate)!r} repeats a tenant's words.",
                hint="Keep the hypothesis in its tenant, or say it without a word, tag or sound.",
            )

    @property
    def key(self) -> EffectKey:
        """Name its effect; a video that it fires on carries this key."""
        family = "hypothesis" if self.is_shared else "tenant_hypothesis"
        return family, f"{self.confidence} {format_predicate(self.predicate)}"


def with_hypotheses(video: Video, hypotheses: Iterable[Hypothesis]) -> Video:
    """Give the video with those that fire on it, in the order of their keys.

    The caller passes the shared ones and the video's own tenant's, no other's.
    """
    keys = sorted({each.key for each in hypotheses if fires(each.predicate, video)})
    return replace(video, hypotheses=tuple(keys))
