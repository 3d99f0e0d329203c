"""The design of a video: which effects are in its prediction, and where their rows stand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from viral.learner.effects import start_of
from viral.learner.families import FAMILIES, HYPOTHESES, WORD_FAMILIES, EffectKey, Family

if TYPE_CHECKING:
    from collections.abc import Callable

    from viral.learner.video import Video

# More than a batch of results; some 8 kB each.
DESIGNS_KEPT = 8_192
# The same words come again and again; their hashes are dear.
INDICATORS_KEPT = 65_536


@dataclass(frozen=True, slots=True)
class Indicator:
    """One effect that holds for a video: `key` as shown, `row` as stored, a word's by its hash.

    `counter` is the tenant's row that counts its contributions to a shared effect; None for an
    effect of the tenant's own, which counts itself.
    """

    key: EffectKey
    row: EffectKey
    family: Family
    counter: EffectKey | None
    start: float
    is_word: bool
    is_hypothesis: bool


@dataclass(frozen=True, slots=True)
class Design:
    """The indicators of a video, in the order of sums, and the rows that its outcome changes.

    `words` are the places of words among the indicators.
    """

    indicators: tuple[Indicator, ...]
    shared: frozenset[EffectKey]
    own: frozenset[EffectKey]
    words: tuple[int, ...]


# Both goals ask for it, and who loads the rows of a batch before.
@lru_cache(maxsize=DESIGNS_KEPT)
def design_of(
    video: Video,
    word_key: Callable[[str], str],
    keys: Callable[[Video], tuple[EffectKey, ...]],
) -> Design:
    """Name a video's effects by `keys`, and their rows.

    `word_key` hides a tenant's word among what all share.
    """
    indicators = [_indicator(key, word_key) for key in keys(video)]
    shared = frozenset([each.row for each in indicators if each.counter])
    # A word that all share is counted by the tenant's own, which is here as well.
    own = frozenset([each.key for each in indicators if each.counter in (None, each.key)])
    words = tuple([place for place, each in enumerate(indicators) if each.is_word])
    return Design(tuple(indicators), shared, own, words)


@lru_cache(maxsize=INDICATORS_KEPT)
def _indicator(key: EffectKey, word_key: Callable[[str], str]) -> Indicator:
    name, value = key
    family = FAMILIES[name]
    row, counter = key, key if family.is_shared else None
    if name == "word":
        # Its words are the tenant's own: what all share has them by their hashes.
        row, counter = (name, word_key(value)), ("tenant_word", value)
    is_hypothesis = name in HYPOTHESES.values()
    return Indicator(key, row, family, counter, start_of(key), name in WORD_FAMILIES, is_hypothesis)
