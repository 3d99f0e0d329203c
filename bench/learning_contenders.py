"""Simpler learners that the bench measures beside ours, each a way to predict and to learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.learner.baselines import MovingAverage, OriginalLoop, Static
from viral.learner.contenders import Forecast, OurLearner
from viral.learner.families import GLOBAL, TENANT, EffectKey
from viral.learner.learner import Learner

if TYPE_CHECKING:
    from collections.abc import Callable

    from viral.learner.contenders import Contender
    from viral.learner.video import Video

MIDDLE = 50.0
SMOOTHING = 0.3


class TenantMean:
    """The mean of a tenant's outcomes; everybody's mean for a new one."""

    def __init__(self, smoothing: float = 0.0) -> None:
        self._smoothing = smoothing
        self._means: dict[str, tuple[float, int]] = {}
        self._all = (MIDDLE, 0)

    def forecast(self, video: Video, day: int) -> Forecast:
        del day
        mean, _ = self._means.get(video.tenant, self._all)
        return Forecast(mean, mean)

    def learn(self, video: Video, outcome: float, day: int, served: Forecast) -> None:
        del day, served
        own = self._means.get(video.tenant, (MIDDLE, 0))
        self._means[video.tenant] = self._moved(own, outcome, self._smoothing)
        self._all = self._moved(self._all, outcome, 0.0)

    @staticmethod
    def _moved(mean: tuple[float, int], outcome: float, smoothing: float) -> tuple[float, int]:
        before, count = mean
        step = max(smoothing, 1 / (count + 1))
        return before + step * (outcome - before), count + 1


def hierarchy_keys(video: Video) -> tuple[EffectKey, ...]:
    """Name the effects of a plain hierarchy: everybody, category, tenant, both."""
    category = ("category", video.category)
    return GLOBAL, category, TENANT, ("tenant_category", video.category)


def hierarchy() -> Contender:
    """Return our arithmetic with four families: what words and forms add is the difference."""
    return OurLearner(Learner(min_word_tenants=1, keys=hierarchy_keys))


OURS = "ours"
CONTENDERS: dict[str, Callable[[], Contender]] = {
    "static": Static,
    "orig_loop": OriginalLoop,
    "ema": MovingAverage,
    "mean_tenant": TenantMean,
    "ema_tenant": lambda: TenantMean(SMOOTHING),
    "eb_hier": hierarchy,
    OURS: OurLearner,
}
