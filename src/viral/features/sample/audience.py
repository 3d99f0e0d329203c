"""A made-up audience with tastes of its own, which the learner can find out from results."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import exp, log, log2
from random import Random
from typing import TYPE_CHECKING, TypeVar

from viral.schema.vocabulary import CATEGORIES, PLATFORMS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_K = TypeVar("_K")

HOOK_TYPES = (
    "question",
    "bold-claim",
    "list",
    "mistake",
    "story",
    "challenge",
    "secret",
    "comparison",
)

# Words that titles and hashtags of short videos often hold.
_WORDS = (
    "beginners",
    "challenge",
    "couples",
    "family",
    "help",
    "home",
    "mistake",
    "secret",
    "simple",
    "students",
    "taught",
    "tips",
    "vs",
    "why",
    "without",
    "wrong",
)

_WORD = re.compile(r"[a-z0-9]+")

_VIEWS_MIN = 300
_VIEWS_MAX = 400_000
_RATE_MIN = 0.01
_RATE_MAX = 0.18
_RATE_USUAL = 0.055
_FOLLOWERS = (3_000, 40_000)
_FOLLOWERS_MAX = 80_000
# A year about doubles the followers.
_GROWTH_PER_DAY = 0.0019
_GROWTH_FROM = 20_400  # days since 1970: November 2025
_SECONDS_PER_DAY = 86_400
_VIEWS_PER_FOLLOWER = 0.4

# Noise, as standard deviations: of log views, of the logit of the engagement rate.
_REACH_NOISE = 0.45
_RATE_NOISE = 0.30
# Now and then a video is passed on far beyond its followers, or reaches nobody.
_LUCK_CHANCE = 0.06
_REACH_LUCK = 2.6
_RATE_LUCK = 1.2


@dataclass(frozen=True, slots=True)
class Counts:
    """What a platform reports of one post, and the account's followers at that time."""

    views: int
    likes: int
    comments: int
    shares: int
    followers: int


@dataclass(frozen=True, slots=True)
class Taste:
    """What one property of a video adds to log views and to the logit of engagement."""

    reach: float = 0.0
    rate: float = 0.0


_NEUTRAL = Taste()


class SampleAudience:
    """One hidden truth for each seed: the effects add up, noise hides them."""

    def __init__(self, seed: int) -> None:
        rng = Random(seed)  # noqa: S311  (invented tastes, nothing secret)
        self._categories = _tastes(CATEGORIES, 1.0, 0.7, rng)
        self._hooks = _tastes(HOOK_TYPES, 1.8, 1.1, rng)
        self._hours = _tastes(range(8), 0.5, 0.25, rng)
        self._weekdays = _tastes(range(7), 0.2, 0.1, rng)
        self._durations = _tastes(range(2, 6), 2.0, 1.3, rng)
        self._words = _tastes(_WORDS, 0.4, 0.25, rng)
        platforms: tuple[str, ...] = PLATFORMS
        self._platforms = _tastes(platforms, 1.3, 0.7, rng)
        self._followers = {platform: rng.randint(*_FOLLOWERS) for platform in platforms}

    def results(
        self,
        *,
        category: str,
        hook_type: str,
        platform: str,
        published_at: datetime,
        duration_s: int,
        hashtags: Sequence[str],
        title: str,
        rng: Random,
    ) -> Counts:
        """Answer a post with what its audience made of it."""
        tastes = (
            self._categories.get(category, _NEUTRAL),
            self._hooks.get(hook_type, _NEUTRAL),
            self._platforms.get(platform, _NEUTRAL),
            self._hours[published_at.hour // 3],
            self._weekdays[published_at.weekday()],
            self._durations[_duration_bin(duration_s)],
            _many_tags(len(hashtags)),
            *(self._words[word] for word in _known_words(title, hashtags)),
        )
        followers = self._followers_at(platform, published_at)
        luck = rng.choice((-1, 1)) if rng.random() < _LUCK_CHANCE else 0
        reach = sum(taste.reach for taste in tastes) + _REACH_LUCK * luck
        views = _views(followers, reach, rng)
        rate = _rate(sum(taste.rate for taste in tastes) + _RATE_LUCK * luck, rng)
        return _counts(views, rate, followers, rng)

    def _followers_at(self, platform: str, moment: datetime) -> int:
        start = self._followers.get(platform, _FOLLOWERS[0])
        days = moment.timestamp() / _SECONDS_PER_DAY - _GROWTH_FROM
        grown = start * exp(_GROWTH_PER_DAY * max(-365.0, min(365.0, days)))
        return int(min(max(grown, _FOLLOWERS[0]), _FOLLOWERS_MAX))


def _tastes(keys: Sequence[_K], reach: float, rate: float, rng: Random) -> dict[_K, Taste]:
    """Spread the keys evenly over -reach..reach and -rate..rate, in an order of the seed's own."""
    # One order for both, so that a favorite shows in either goal.
    order = rng.sample(range(len(keys)), k=len(keys))
    half = (len(keys) - 1) / 2
    return {
        key: Taste(reach * (place - half) / half, rate * (place - half) / half)
        for key, place in zip(keys, order, strict=True)
    }


def _duration_bin(duration_s: int) -> int:
    """Double the length, next bin: the bins of the learner, ends joined."""
    return min(max(int(log2(1 + max(duration_s, 0))), 2), 5)


def _many_tags(count: int) -> Taste:
    """Five hashtags suit this audience; each one more or less costs a little reach."""
    return Taste(reach=-0.06 * abs(count - 5))


def _known_words(title: str, hashtags: Sequence[str]) -> list[str]:
    found = {*_WORD.findall(title.lower()), *hashtags}
    return [word for word in _WORDS if word in found]


def _views(followers: int, reach: float, rng: Random) -> int:
    views = followers * _VIEWS_PER_FOLLOWER * exp(reach + rng.gauss(0, _REACH_NOISE))
    return round(min(max(views, _VIEWS_MIN), _VIEWS_MAX))


def _rate(taste: float, rng: Random) -> float:
    logit = log(_RATE_USUAL / (1 - _RATE_USUAL)) + taste + rng.gauss(0, _RATE_NOISE)
    return min(max(1 / (1 + exp(-logit)), _RATE_MIN), _RATE_MAX)


def _counts(views: int, rate: float, followers: int, rng: Random) -> Counts:
    """Split the engagement: mostly likes, some comments and shares."""
    engaged = round(views * rate)
    comments = round(engaged * rng.uniform(0.04, 0.10))
    shares = round(engaged * rng.uniform(0.05, 0.12))
    return Counts(views, engaged - comments - shares, comments, shares, followers)
