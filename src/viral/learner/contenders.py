"""What the evaluation asks of a learner, and ours in that form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from viral.learner.learner import Learner

if TYPE_CHECKING:
    from viral.learner.video import Video


@dataclass(frozen=True, slots=True)
class Forecast:
    """A score, the unclipped value that ranks candidates, and an interval where there is one."""

    score: float
    rank: float
    interval: tuple[float, float] | None = None


class Contender(Protocol):
    """A way to predict scores and to learn from outcomes."""

    def forecast(self, video: Video, day: int) -> Forecast: ...

    def learn(self, video: Video, outcome: float, day: int, served: Forecast) -> None: ...


class OurLearner:
    """The additive effects of this package, in their live state."""

    def __init__(self, learner: Learner | None = None) -> None:
        # All rows belong to the person who runs the evaluation, so no word can betray another
        # tenant. Waiting for five tenants costs 16 channels .35 MAE and .02 pair accuracy (reach).
        self._learner = learner or Learner(min_word_tenants=1)

    def forecast(self, video: Video, day: int) -> Forecast:
        prediction = self._learner.predict(video, day)
        return Forecast(prediction.score, prediction.mean, (prediction.low, prediction.high))

    def learn(self, video: Video, outcome: float, day: int, served: Forecast) -> None:
        self._learner.update(video, outcome, day, served=served.interval)
