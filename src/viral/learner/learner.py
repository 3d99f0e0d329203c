"""Predicts a score as a sum of named points, and moves these points by each outcome."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Literal

from viral.learner.effects import Effect, Touched, start_of
from viral.learner.families import (
    FAMILIES,
    GLOBAL,
    HYPOTHESES,
    NEWCOMER,
    NOISE,
    TENANT,
    WIDTH,
    EffectKey,
    Family,
)
from viral.learner.interval import FIRST_WIDTH, clipped, interval, next_width
from viral.learner.newcomer import age_votes, cast_vote, first_row, newcomer_level, withdraw_vote
from viral.learner.noise import learn_noise, noise_of, noise_sample
from viral.learner.picking import Part
from viral.learner.video import effect_keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from viral.learner.video import Video

# What is believed, what is served, and what was served before that.
View = Literal["live", "published", "former"]
Contribution = tuple[str, str, float]

HYPOTHESIS_FAMILIES = frozenset(HYPOTHESES.values())
# A residual beyond 2.5 standard deviations counts as 2.5: one freak outcome moves nothing far.
LARGEST_SURPRISE = 2.5
# A shared word is used once it is no single tenant's word: it could betray whose.
MIN_WORD_TENANTS = 5
# Contributions after which one tenant's word on a shared effect counts half.
# With few tenants the strict cap would starve the shared effects: .1 to .45 MAE on 16 channels.
CAP, CAP_OF_FEW, FEW_TENANTS = 10, 50, 20


@dataclass(frozen=True, slots=True)
class Prediction:
    """A score with its interval; the contributions add up, in order, to the unclipped mean."""

    score: float
    mean: float
    sd: float
    low: float
    high: float
    contributions: tuple[Contribution, ...]


@dataclass(frozen=True, slots=True)
class Means:
    """What each view foretold, unclipped; `plain` is the live view without hypotheses.

    `shared_former` and `own_former` are the published view with the former values of what all
    tenants share, and of the tenant's own.
    """

    live: float
    published: float
    shared_former: float
    own_former: float
    plain: float


@dataclass(frozen=True, slots=True)
class Update:
    """What an outcome said: the unclipped residual, its expected variance, a miss or not.

    `means` and `sd` are what was foretold of it from the state before.
    """

    residual: float
    variance: float
    is_miss: bool
    means: Means
    sd: float


@dataclass(slots=True)
class _Term:
    """One summand of a prediction; `row` is the key as stored, `key` as shown."""

    key: EffectKey
    row: EffectKey
    family: Family
    effect: Effect | None
    live: float
    published: float
    former: float
    variance: float

    def points(self, view: View) -> float:
        if view == "live":
            return self.live
        return self.published if view == "published" else self.former


class Learner:
    """Learns one goal on one platform; all state is in `shared` and `tenants`, as rows.

    Beside effects these hold the scalars: ("noise", ""), ("width", "") and ("newcomer", "").
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
    ) -> None:
        """Start empty; `cap` is by the number of tenants where none is given."""
        self.shared: dict[EffectKey, Effect] = {}
        self.tenants: dict[str, dict[EffectKey, Effect]] = {}
        self.touched = Touched()
        self._word_key = word_key
        self._min_word_tenants = min_word_tenants
        self._cap = cap

    def predict(self, video: Video, day: int, *, view: View = "live") -> Prediction:
        """Predict without changing anything; `day` is the ordinal of the UTC day."""
        terms = self._terms(video, day)
        mean, variance = _sums(terms, view)
        shares = ((term.key, term.points(view)) for term in terms)
        contributions = tuple((*key, points) for key, points in shares if points)
        sd = sqrt(variance + noise_of(self.tenants.get(video.tenant), noise_of(self.shared)))
        score = clipped(mean)
        low, high = interval(score, sd, self._width())
        return Prediction(score, mean, sd, low, high, contributions)

    def parts(self, video: Video, day: int, *, view: View = "live") -> tuple[Part, ...]:
        """Give every effect of a prediction with its doubt, for picking among candidates."""
        return tuple(
            Part(term.key, term.points(view), term.variance) for term in self._terms(video, day)
        )

    def update(
        self, video: Video, outcome: float, day: int, *, served: tuple[float, float] | None = None
    ) -> Update:
        """Learn from one outcome, once; `served` is the interval that was shown for it."""
        terms = self._terms(video, day)
        means, explained = _means(terms)
        sd = sqrt(explained + noise_of(self.tenants.get(video.tenant), noise_of(self.shared)))
        low, high = served or interval(clipped(means.live), sd, self._width())
        is_miss = not low <= outcome <= high
        total = explained + noise_of(self.shared)
        residual = outcome - means.live

        own = self.tenants.setdefault(video.tenant, {})
        self._learn_effects(terms, video.tenant, residual, total, day)
        learn_noise(self.shared, own, noise_sample(residual, explained=explained, total=total), day)
        self._learn_width(day, is_miss=is_miss)
        self.touched.shared |= {NOISE, WIDTH, NEWCOMER}
        self.touched.tenants.add((video.tenant, NOISE))
        return Update(residual, total, is_miss, means, sd)

    def clear_touched(self) -> None:
        """Forget which rows changed, after they were written."""
        self.touched = Touched()

    def _terms(self, video: Video, day: int) -> list[_Term]:
        own = self.tenants.get(video.tenant, {})
        terms = []
        for key in effect_keys(video):
            family = FAMILIES[key[0]]
            row = ("word", self._word_key(key[1])) if key[0] == "word" else key
            effect = (self.shared if family.is_shared else own).get(row)
            if effect is None:
                term = self._unknown_term(key, row, family)
            elif key[0] == "word" and effect.tenants < self._min_word_tenants:
                variance = effect.variance_on(day, family)
                term = _Term(key, row, family, effect, 0.0, 0.0, 0.0, variance)
            else:
                served, former = _served(effect)
                variance = effect.variance_on(day, family)
                term = _Term(key, row, family, effect, effect.mean, served, former, variance)
            if family.is_shared and (override := own.get(row)) and override.is_override:
                term.published, term.former = _served(override)
            terms.append(term)
        return terms

    def _unknown_term(self, key: EffectKey, row: EffectKey, family: Family) -> _Term:
        """Give the start and the whole prior variance; a tenant starts at the newcomers' level."""
        live = served = former = start_of(key)
        if key == TENANT and NEWCOMER in self.shared:
            level = self.shared[NEWCOMER]
            key = NEWCOMER
            live = newcomer_level(level)
            served, former = _served(level)
        return _Term(key, row, family, None, live, served, former, family.prior_variance)

    def _learn_effects(
        self, terms: list[_Term], tenant: str, residual: float, total: float, day: int
    ) -> None:
        """Move all effects at once, and with them the tenant's vote on the newcomers' level."""
        bound = LARGEST_SURPRISE * sqrt(total)
        surprise = min(max(residual, -bound), bound)
        cap = self._cap_today()
        own = self.tenants[tenant]
        level = self.shared.setdefault(NEWCOMER, first_row(day))
        age_votes(level, day)
        if TENANT in own:
            withdraw_vote(level, own[TENANT])
        for term in terms:
            effect = term.effect or self._new_effect(term, tenant, day)
            gain = term.variance / total
            if term.family.is_shared:
                gain /= 1 + self._count_contribution(term.key, effect, tenant, day) / cap
            effect.mean += gain * surprise
            effect.variance = term.variance * (1 - gain)
            effect.n += 1
            effect.day = max(effect.day, day)
            if term.family.is_shared:
                self.touched.shared.add(term.row)
            else:
                self.touched.tenants.add((tenant, term.row))
        cast_vote(level, own[TENANT])

    def _new_effect(self, term: _Term, tenant: str, day: int) -> Effect:
        """Store an effect at its start; a tenant's stays published as its first prediction was."""
        published = start_of(term.row)
        if term.row == TENANT:
            published = self.shared[NEWCOMER].published
        effect = Effect(term.live, term.variance, 0, day, published)
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
        return CAP if known and known.tenants >= FEW_TENANTS else CAP_OF_FEW

    def _width(self) -> float:
        row = self.shared.get(WIDTH)
        return row.mean if row else FIRST_WIDTH

    def _learn_width(self, day: int, *, is_miss: bool) -> None:
        row = self.shared.setdefault(WIDTH, Effect(FIRST_WIDTH, 0.0, 0, day, FIRST_WIDTH))
        row.mean = next_width(row.mean, is_miss=is_miss)
        row.n += 1
        row.day = max(row.day, day)


def _served(effect: Effect) -> tuple[float, float]:
    """Give what is published of an effect, and what was before."""
    former = effect.former
    return effect.published, effect.published if former is None else former


def _sums(terms: list[_Term], view: View) -> tuple[float, float]:
    """Add up points and variances; `sum` rounds otherwise from Python 3.12 on, replay may not."""
    points = variance = 0.0
    for term in terms:
        points += term.points(view)
        variance += term.variance
    return points, variance


def _means(terms: list[_Term]) -> tuple[Means, float]:
    """Add up the points of every view, and the variances; hypotheses come last."""
    live = published = shared_former = own_former = plain = variance = 0.0
    for term in terms:
        live += term.live
        published += term.published
        variance += term.variance
        # The level of newcomers stands in for a tenant's own effect, and is everybody's.
        if term.family.is_shared or term.key is NEWCOMER:
            shared_former += term.former
            own_former += term.published
        else:
            shared_former += term.published
            own_former += term.former
        if term.key[0] not in HYPOTHESIS_FAMILIES:
            plain = live
    return Means(live, published, shared_former, own_former, plain), variance
