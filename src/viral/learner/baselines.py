"""The specification's own algorithms, re-implemented to be measured beside ours."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from viral.learner.contenders import Forecast

if TYPE_CHECKING:
    from viral.learner.video import Video

# A file of results says nothing of trends: their mean is a good trend's, the other weights are 1.
TREND = 75.0
SMOOTHING = 0.3
FIRST_AVERAGE = 50.0
LEAST_GAP = 20.0
ACCURATE_SHARE = 0.2
# Gap as a share of the prediction, and the step of the weight beyond it.
STEPS = ((0.40, 0.20), (0.25, 0.15), (0.15, 0.10))
LEAST_WEIGHT, LARGEST_WEIGHT = 0.5, 2.0


class Static:
    """The weighted trend alone: learns nothing."""

    def forecast(self, video: Video, day: int) -> Forecast:
        del video, day
        return Forecast(TREND, TREND)

    def learn(self, video: Video, outcome: float, day: int, served: Forecast) -> None:
        """Ignore the outcome."""


class MovingAverage:
    """The last few outcomes of a category, whoever had them."""

    def __init__(self) -> None:
        self._averages: dict[str, float] = {}

    def forecast(self, video: Video, day: int) -> Forecast:
        del day
        average = self._averages.get(video.category, FIRST_AVERAGE)
        return Forecast(average, average)

    def learn(self, video: Video, outcome: float, day: int, served: Forecast) -> None:
        del day, served
        before = self._averages.get(video.category, outcome)
        self._averages[video.category] = before + SMOOTHING * (outcome - before)


class OriginalLoop:
    """A weight for each category, moved by single large misses as if every critique said "high"."""

    def __init__(self) -> None:
        self._weights: defaultdict[str, float] = defaultdict(lambda: 1.0)

    def forecast(self, video: Video, day: int) -> Forecast:
        del day
        score = min(100.0, TREND * self._weights[video.category])
        return Forecast(score, score)

    def learn(self, video: Video, outcome: float, day: int, served: Forecast) -> None:
        del served
        predicted = self.forecast(video, day).score
        share = abs(outcome - predicted) / predicted
        if abs(outcome - predicted) <= LEAST_GAP:
            return
        step = next((step for least, step in STEPS if share > least), 0.0)
        # The original asks for "over-predicted" only, so an "accurate" miss raises the weight.
        is_over = outcome < predicted and share > ACCURATE_SHARE
        weight = self._weights[video.category] * (1 - step if is_over else 1 + step)
        self._weights[video.category] = min(max(weight, LEAST_WEIGHT), LARGEST_WEIGHT)
