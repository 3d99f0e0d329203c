"""Predicts a score as a sum of named points, and moves these points by each outcome."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

from viral.learner.design import Design, Indicator, design_of
from viral.learner.effects import Effect, Touched
from viral.learner.families import GLOBAL, NEWCOMER, NOISE, TENANT, TRUST, WIDTH, EffectKey
from viral.learner.interval import FIRST_WIDTH, Z_80, next_width
from viral.learner.newcomer import age_votes, cast_vote, first_row, newcomer_level, withdraw_vote
from viral.learner.noise import learn_noise, noise_of, noise_sample
from viral.learner.picking import Part
from viral.learner.scale import squeezed, squeezed_interval, stretched
from viral.learner.terms import (
    FULL_TRUST,
    Means,
    Term,
    View,
    Views,
    means_of,
    served_of,
    share_of,
    sums,
)
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
NOTHING = (0.0, 0.0, 0.0)
ALWAYS_TOUCHED = frozenset({NOISE, WIDTH, NEWCOMER})
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
        terms = self._terms(self._design(video), video.tenant, day)
        mean, variance = sums(terms, view)
        shares = ((term[0], share_of(term, view)) for term in terms)
        contributions = tuple((*key, points) for key, points in shares if points)
        sd = sqrt(variance + noise_of(self.tenants.get(video.tenant), noise_of(self.shared)))
        low, high = self._span(mean, sd)
        return Prediction(squeezed(mean), mean, sd, low, high, contributions)

    def parts(self, video: Video, day: int, *, view: View = "live") -> tuple[Part, ...]:
        """Give every effect of a prediction with its doubt, for picking among candidates."""
        return tuple(
            Part(term[0], share_of(term, view), term[4])
            for term in self._terms(self._design(video), video.tenant, day)
        )

    def update(
        self, video: Video, outcome: float, day: int, *, served: tuple[float, float] | None = None
    ) -> Update:
        """Learn from one outcome, once; `served` is the interval that was shown for it."""
        design = self._design(video)
        terms = self._terms(design, video.tenant, day)
        means, explained = means_of(terms)
        sd = sqrt(explained + noise_of(self.tenants.get(video.tenant), noise_of(self.shared)))
        low, high = served or self._span(means.live, sd)
        is_miss = not low <= outcome <= high
        total = explained + noise_of(self.shared)
        residual = stretched(outcome) - means.live

        own = self.tenants.setdefault(video.tenant, {})
        weight = credit(own.get(TENANT), newcomer_level(self.shared.get(NEWCOMER)))
        self._learn_effects(design, terms, video.tenant, _Surprise(residual, total, weight), day)
        learn_noise(self.shared, own, noise_sample(residual, explained=explained, total=total), day)
        self._learn_width(day, is_miss=is_miss)
        self._touch(design, video.tenant)
        return Update(residual, total, is_miss, means, sd)

    def clear_touched(self) -> None:
        """Forget which rows changed, after they were written."""
        self.touched = Touched()

    def _design(self, video: Video) -> Design:
        return design_of(video, self._word_key, self._keys)

    def _terms(self, design: Design, tenant: str, day: int) -> list[Term]:
        own = self.tenants.get(tenant, {})
        trust, fewest = trust_of(self.shared), self._min_word_tenants
        terms: list[Term] = []
        for indicator in design.indicators:
            family = indicator.family
            effect = (self.shared if indicator.counter else own).get(indicator.row)
            key, points, variance = indicator.key, NOTHING, family.prior_variance
            if effect is None:
                key, points = self._unknown(indicator)
            else:
                former = effect.former
                published = effect.published
                points = effect.mean, published, published if former is None else former
                if indicator.is_word and indicator.counter and effect.tenants < fewest:
                    points = NOTHING
                # By the random walk since the effect was last touched.
                variance = effect.variance
                if (days := day - effect.day) > 0:
                    grown = variance + family.drift_variance * days
                    variance = min(family.prior_variance, grown)
            if indicator.counter and (override := own.get(indicator.row)) and override.is_override:
                points = points[0], *served_of(override)
            counts = trust if indicator.is_word else FULL_TRUST
            terms.append((key, indicator, effect, points, variance, counts))
        return terms

    def _unknown(self, indicator: Indicator) -> tuple[EffectKey, Views]:
        """Give the start of an effect; an unknown tenant starts at the newcomers' level."""
        if indicator.key == TENANT and NEWCOMER in self.shared:
            level = self.shared[NEWCOMER]
            return NEWCOMER, (newcomer_level(level), *served_of(level))
        return indicator.key, (indicator.start, indicator.start, indicator.start)

    def _learn_effects(
        self, design: Design, terms: list[Term], tenant: str, surprise: _Surprise, day: int
    ) -> None:
        """Move all effects at once, and with them the tenant's vote on the newcomers' level."""
        cap = self._cap_today()
        own = self.tenants[tenant]
        words = 0.0
        for place in design.words:
            _, _, _, (believed, _, _), _, _ = terms[place]
            words += believed
        self._learn_trust(words, own, surprise, cap, day)
        level = self.shared.setdefault(NEWCOMER, first_row(day))
        age_votes(level, day)
        if TENANT in own:
            withdraw_vote(level, own[TENANT])
        points, total, weight = surprise.points, surprise.variance, surprise.weight
        for _, indicator, known, (start, _, _), variance, _ in terms:
            effect = known or self._new_effect(
                indicator, tenant, Effect(start, variance, 0, day, indicator.start)
            )
            gain = variance / total
            if counter := indicator.counter:
                earlier = self._count_contribution(
                    counter, effect, own, day, is_word=indicator.is_word
                )
                gain *= weight * repeated(earlier, cap)
            effect.mean += gain * points
            effect.variance = variance * (1 - gain)
            effect.n += 1
            if effect.day != day:
                effect.day = max(effect.day, day)
        cast_vote(level, own[TENANT])

    def _learn_trust(
        self,
        words: float,
        own: dict[EffectKey, Effect],
        surprise: _Surprise,
        cap: float,
        day: int,
    ) -> None:
        """Learn how much words count, by the points that they gave, if any had some."""
        if words:
            earlier = own[GLOBAL].n if GLOBAL in own else 0
            share = surprise.points / surprise.variance
            weight = surprise.weight * repeated(earlier, cap)
            learn_trust(self.shared, day, points=words, share=share * weight)
            self.touched.shared.add(TRUST)

    def _new_effect(self, indicator: Indicator, tenant: str, effect: Effect) -> Effect:
        """Store an effect at its start; a tenant's stays published as its first prediction was."""
        if indicator.row == TENANT:
            effect.published = self.shared[NEWCOMER].published
        rows = self.shared if indicator.counter else self.tenants[tenant]
        rows[indicator.row] = effect
        return effect

    @staticmethod
    def _count_contribution(
        row: EffectKey, effect: Effect, own: dict[EffectKey, Effect], day: int, *, is_word: bool
    ) -> int:
        """Give the tenant's earlier contributions to a shared effect, and count this one."""
        counter = own.get(row)
        if is_word:
            # The tenant's own effect of the word follows in the order of keys and counts itself.
            earlier = counter.n if counter else 0
        else:
            if counter is None:
                counter = own[row] = Effect(0.0, 0.0, 0, day, 0.0)
            earlier = counter.n
            counter.n += 1
            if counter.day != day:
                counter.day = max(counter.day, day)
        if earlier == 0:
            effect.tenants += 1
        return earlier

    def _touch(self, design: Design, tenant: str) -> None:
        """Note which rows an outcome has changed."""
        self.touched.shared.update(design.shared, ALWAYS_TOUCHED)
        self.touched.tenants[tenant].update(design.own, (NOISE,))

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
