"""Predicts a score as a sum of named points, and moves these points by each outcome."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

from viral.learner.effects import Effect, Touched, start_of
from viral.learner.families import (
    FAMILIES,
    GLOBAL,
    NEWCOMER,
    NOISE,
    TENANT,
    TRUST,
    WIDTH,
    WORD_FAMILIES,
    EffectKey,
)
from viral.learner.interval import FIRST_WIDTH, Z_80, next_width
from viral.learner.newcomer import age_votes, cast_vote, first_row, newcomer_level, withdraw_vote
from viral.learner.noise import learn_noise, noise_of, noise_sample
from viral.learner.picking import Part
from viral.learner.scale import squeezed, squeezed_interval, stretched
from viral.learner.terms import Means, Term, View, Views, means_of, served_of, sums, trust_for
from viral.learner.trust import learn_trust, trust_of
from viral.learner.video import effect_keys
from viral.learner.voice import cap_among, credit, repeated

if TYPE_CHECKING:
    from collections.abc import Callable

    from viral.learner.video import Video

Contribution = tuple[str, str, float]

# A residual beyond 1.5 standard deviations counts as 1.5: one freak outcome moves nothing far, and
# a mean that listens to few of them is nearer to the median, which has the least absolute error.
LARGEST_SURPRISE = 1.5
# A shared word is used once it is no single tenant's word: it could betray whose.
MIN_WORD_TENANTS = 5


@dataclass(frozen=True, slots=True)
class Prediction:
    """A score with its interval, 0..100, and the points behind it.

    The contributions add up, in order, to `mean`, which has no ends and ranks candidates; `sd` is
    on its scale.
    """

    score: float
    mean: float
    sd: float
    low: float
    high: float
    contributions: tuple[Contribution, ...]


@dataclass(frozen=True, slots=True)
class Update:
    """What an outcome said: the unclipped residual in points, its variance, a miss or not.

    `means` and `sd` are what was foretold of it from the state before.
    """

    residual: float
    variance: float
    is_miss: bool
    means: Means
    sd: float


class _Surprise:
    """A residual in points, within bounds, its variance, and the weight of whom it comes from."""

    def __init__(self, residual: float, variance: float, weight: float) -> None:
        bound = LARGEST_SURPRISE * sqrt(variance)
        self.points = min(max(residual, -bound), bound)
        self.variance = variance
        self.weight = weight


class Learner:
    """Learns one goal on one platform; all state is in `shared` and `tenants`, as rows.

    Beside effects these hold scalars under the keys NOISE, WIDTH, NEWCOMER and TRUST.
    A tenant's row under a shared family's name counts its contributions (`n`) to that effect;
    for words the tenant's ("tenant_word", word) row does. Such a row that is an override is
    published to the tenant in place of the shared points; of a word it is ("word", hash).
    """

    def __init__(
        self,
        *,
        word_key: Callable[[str], str] = str,
        min_word_tenants: int = MIN_WORD_TENANTS,
        cap: float | None = None,
        keys: Callable[[Video], tuple[EffectKey, ...]] = effect_keys,
    ) -> None:
        """Start empty; `cap` is by the number of tenants where none is given.

        `keys` names the effects of a video: a learner of fewer families is a simpler one.
        """
        self.shared: dict[EffectKey, Effect] = {}
        self.tenants: dict[str, dict[EffectKey, Effect]] = {}
        self.touched = Touched()
        self._word_key = word_key
        self._min_word_tenants = min_word_tenants
        self._cap = cap
        self._keys = keys

    def predict(self, video: Video, day: int, *, view: View = "live") -> Prediction:
        """Predict without changing anything; `day` is the ordinal of the UTC day."""
        terms = self._terms(video, day)
        mean, variance = sums(terms, view)
        shares = ((term.key, term.share(view)) for term in terms)
        contributions = tuple((*key, points) for key, points in shares if points)
        sd = sqrt(variance + noise_of(self.tenants.get(video.tenant), noise_of(self.shared)))
        low, high = self._span(mean, sd)
        return Prediction(squeezed(mean), mean, sd, low, high, contributions)

    def parts(self, video: Video, day: int, *, view: View = "live") -> tuple[Part, ...]:
        """Give every effect of a prediction with its doubt, for picking among candidates."""
        return tuple(
            Part(term.key, term.share(view), term.variance) for term in self._terms(video, day)
        )

    def update(
        self, video: Video, outcome: float, day: int, *, served: tuple[float, float] | None = None
    ) -> Update:
        """Learn from one outcome, once; `served` is the interval that was shown for it."""
        terms = self._terms(video, day)
        means, explained = means_of(terms)
        sd = sqrt(explained + noise_of(self.tenants.get(video.tenant), noise_of(self.shared)))
        low, high = served or self._span(means.live, sd)
        is_miss = not low <= outcome <= high
        total = explained + noise_of(self.shared)
        residual = stretched(outcome) - means.live

        own = self.tenants.setdefault(video.tenant, {})
        weight = credit(own.get(TENANT), newcomer_level(self.shared.get(NEWCOMER)))
        self._learn_effects(terms, video.tenant, _Surprise(residual, total, weight), day)
        learn_noise(self.shared, own, noise_sample(residual, explained=explained, total=total), day)
        self._learn_width(day, is_miss=is_miss)
        self.touched.shared |= {NOISE, WIDTH, NEWCOMER}
        self.touched.tenants.add((video.tenant, NOISE))
        return Update(residual, total, is_miss, means, sd)

    def clear_touched(self) -> None:
        """Forget which rows changed, after they were written."""
        self.touched = Touched()

    def _terms(self, video: Video, day: int) -> list[Term]:
        own = self.tenants.get(video.tenant, {})
        trust = trust_of(self.shared)
        terms = []
        for key in self._keys(video):
            family = FAMILIES[key[0]]
            row = ("word", self._word_key(key[1])) if key[0] == "word" else key
            effect = (self.shared if family.is_shared else own).get(row)
            shown, (live, published, former) = self._known(key, effect)
            if family.is_shared and (override := own.get(row)) and override.is_override:
                published, former = served_of(override)
            variance = effect.variance_on(day, family) if effect else family.prior_variance
            points = (live, published, former)
            terms.append(Term(shown, row, family, effect, points, variance, trust_for(key, trust)))
        return terms

    def _known(self, key: EffectKey, effect: Effect | None) -> tuple[EffectKey, Views]:
        """Give what is known of an effect; an unknown tenant starts at the newcomers' level."""
        if effect is not None:
            if key[0] == "word" and effect.tenants < self._min_word_tenants:
                return key, (0.0, 0.0, 0.0)
            return key, (effect.mean, *served_of(effect))
        if key == TENANT and NEWCOMER in self.shared:
            level = self.shared[NEWCOMER]
            return NEWCOMER, (newcomer_level(level), *served_of(level))
        start = start_of(key)
        return key, (start, start, start)

    def _learn_effects(self, terms: list[Term], tenant: str, surprise: _Surprise, day: int) -> None:
        """Move all effects at once, and with them the tenant's vote on the newcomers' level."""
        cap = self._cap_today()
        own = self.tenants[tenant]
        self._learn_trust(terms, own, surprise, cap, day)
        level = self.shared.setdefault(NEWCOMER, first_row(day))
        age_votes(level, day)
        if TENANT in own:
            withdraw_vote(level, own[TENANT])
        for term in terms:
            effect = term.effect or self._new_effect(term, tenant, day)
            gain = term.variance / surprise.variance
            if term.family.is_shared:
                earlier = self._count_contribution(term.key, effect, tenant, day)
                gain *= surprise.weight * repeated(earlier, cap)
            effect.mean += gain * surprise.points
            effect.variance = term.variance * (1 - gain)
            effect.n += 1
            effect.day = max(effect.day, day)
            if term.family.is_shared:
                self.touched.shared.add(term.row)
            else:
                self.touched.tenants.add((tenant, term.row))
        cast_vote(level, own[TENANT])

    def _learn_trust(
        self,
        terms: list[Term],
        own: dict[EffectKey, Effect],
        surprise: _Surprise,
        cap: float,
        day: int,
    ) -> None:
        """Learn how much words count, if any had something to say."""
        words = 0.0
        for term in terms:
            if term.key[0] in WORD_FAMILIES:
                words += term.points[0]
        if words:
            earlier = own[GLOBAL].n if GLOBAL in own else 0
            share = surprise.points / surprise.variance
            weight = surprise.weight * repeated(earlier, cap)
            learn_trust(self.shared, day, points=words, share=share * weight)
            self.touched.shared.add(TRUST)

    def _new_effect(self, term: Term, tenant: str, day: int) -> Effect:
        """Store an effect at its start; a tenant's stays published as its first prediction was."""
        published = start_of(term.row)
        if term.row == TENANT:
            published = self.shared[NEWCOMER].published
        effect = Effect(term.points[0], term.variance, 0, day, published)
        rows = self.shared if term.family.is_shared else self.tenants[tenant]
        rows[term.row] = effect
        return effect

    def _count_contribution(self, key: EffectKey, effect: Effect, tenant: str, day: int) -> int:
        """Give the tenant's earlier contributions to a shared effect, and count this one."""
        own = self.tenants[tenant]
        if key[0] == "word":
            # The tenant's own effect of the word follows in the order of keys and counts itself.
            counter = own.get(("tenant_word", key[1]))
            earlier = counter.n if counter else 0
        else:
            counter = own.get(key)
            if counter is None:
                counter = own[key] = Effect(0.0, 0.0, 0, day, 0.0)
            earlier = counter.n
            counter.n += 1
            counter.day = max(counter.day, day)
            self.touched.tenants.add((tenant, key))
        if earlier == 0:
            effect.tenants += 1
        return earlier

    def _cap_today(self) -> float:
        if self._cap is not None:
            return self._cap
        known = self.shared.get(GLOBAL)
        return cap_among(known.tenants if known else 0)

    def _span(self, mean: float, sd: float) -> tuple[float, float]:
        half = Z_80 * self._width() * sd
        return squeezed_interval(mean - half, mean + half)

    def _width(self) -> float:
        row = self.shared.get(WIDTH)
        return row.mean if row else FIRST_WIDTH

    def _learn_width(self, day: int, *, is_miss: bool) -> None:
        row = self.shared.setdefault(WIDTH, Effect(FIRST_WIDTH, 0.0, 0, day, FIRST_WIDTH))
        row.mean = next_width(row.mean, is_miss=is_miss)
        row.n += 1
        row.day = max(row.day, day)
