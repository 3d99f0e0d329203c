"""Claims about videos: which hypotheses hold up beside placebos, and how bad adjustments end."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from random import Random
from statistics import fmean
from typing import TYPE_CHECKING

from learning_contenders import hierarchy

from viral.learner.contenders import OurLearner
from viral.learner.contrast import Residual, centre, contrast
from viral.learner.evaluation import live_through
from viral.learner.guard import Guard
from viral.learner.predicates import Between, Named, Predicate, fires, format_predicate
from viral.learner.video import words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viral.learner.history import History
    from viral.learner.video import Video

PLACEBOS = 300
PLACEBO_SHARES = (0.02, 0.05, 0.1, 0.2)
MOST_WORDS = 60
HOURS = tuple(Between("hour", first, first + 2) for first in range(0, 24, 3))
DURATIONS = tuple(Between("duration", 2**n - 1, 2 ** (n + 1) - 2) for n in range(2, 8))
# Points that somebody adds, without reason, to what is served.
WRONG_POINTS = (-10.0, 10.0, 20.0)


@dataclass(frozen=True, slots=True)
class Claim:
    """An accepted hypothesis: points when accepted, later ones, and what believing it gains."""

    text: str
    points: float
    later_points: float
    gain: float
    firings: int


@dataclass(frozen=True, slots=True)
class Claims:
    """Hypotheses and placebos on one task: how many were asked and accepted, and which held."""

    tested: int
    placebos_accepted: int
    accepted: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Rollback:
    """A wrong adjustment: the posts it touched until it was taken back; None if it was not."""

    name: str
    points: float
    posts: int | None
    harm: float


def tested_claims(history: History) -> Claims:
    """Test on the first half against a plain champion, and score what was accepted on the second.

    A placebo fires on videos drawn by lot, a given share of them.
    """
    run = live_through(history, hierarchy())
    videos = {entry.id: entry.video for entry in history.entries}
    scored = [(videos[one.id], one) for one in run.scored]
    centred = centre([Residual(v.tenant, one.actual - one.forecast.score) for v, one in scored])
    half = len(scored) // 2
    rng = Random(7)  # noqa: S311 - a bench has to repeat itself
    fooled = 0
    for number in range(PLACEBOS):
        share = PLACEBO_SHARES[number % len(PLACEBO_SHARES)]
        fired = [each for each in centred[:half] if rng.random() < share]
        fooled += contrast(fired, scope="shared").verdict == "accepted"
    predicates = _predicates([video for video, _ in scored[:half]])
    places: defaultdict[Predicate, list[int]] = defaultdict(list)
    for place, (video, _) in enumerate(scored):
        for predicate in _firing(predicates, video):
            places[predicate].append(place)
    accepted = []
    for predicate in predicates:
        found = contrast(
            [centred[place] for place in places[predicate] if place < half], scope="shared"
        )
        later = [centred[place].points for place in places[predicate] if place >= half]
        if found.verdict == "accepted" and later:
            gain = fmean(abs(points) - abs(points - found.effect) for points in later)
            text = format_predicate(predicate)
            accepted.append(Claim(text, found.effect, fmean(later), gain, len(later)))
    return Claims(len(predicates), fooled, tuple(accepted))


def wrong_adjustments(history: History) -> list[Rollback]:
    """Serve wrong points in the largest categories from the middle on, until the guard ends it.

    The version that holds them was published for the lead of our learner over the plain one.
    """
    champion = live_through(history, hierarchy()).scored
    ours = live_through(history, OurLearner()).scored
    videos = {entry.id: entry.video for entry in history.entries}
    half = len(ours) // 2
    earned = Guard()
    for before, after in zip(champion[:half], ours[:half], strict=True):
        earned = earned.observe(champion_error=before.error, challenger_error=after.error)
    largest = Counter(videos[one.id].category for one in ours).most_common(3)
    results = []
    for category, _ in largest:
        for points in WRONG_POINTS:
            guard, posts, harm = earned, 0, 0.0
            is_back = False
            for one in ours[half:]:
                if videos[one.id].category != category:
                    continue
                wrong = abs(min(max(one.forecast.score + points, 0), 100) - one.actual)
                guard = guard.observe(champion_error=one.error, challenger_error=wrong)
                posts, harm = posts + 1, harm + wrong - one.error
                if is_back := guard.verdict(is_published=True) == "roll back":
                    break
            results.append(Rollback(category, points, posts if is_back else None, harm / posts))
    return results


def _predicates(videos: Sequence[Video]) -> list[Predicate]:
    counts: Counter[str] = Counter()
    for video in videos:
        counts.update(words_of(video))
    words = [Named("word", word) for word, _ in counts.most_common(MOST_WORDS)]
    return [*words, *HOURS, *DURATIONS]


def _firing(predicates: Sequence[Predicate], video: Video) -> list[Predicate]:
    return [each for each in predicates if fires(each, video)]
