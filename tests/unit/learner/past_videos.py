"""Videos and histories for the learner's tests: plain functions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

from viral.learner.history import PastVideo
from viral.learner.learner import Learner
from viral.learner.video import Video

START = datetime(2026, 1, 5, 10, tzinfo=UTC)
START_DAY = START.toordinal()


def make_video(
    tenant: str = "a",
    *,
    category: str = "food",
    day: int = 0,
    title: str = "",
    tags: tuple[str, ...] = (),
    duration_s: int | None = None,
    followers: int | None = None,
    sound: str | None = None,
    hook_type: str | None = None,
) -> Video:
    published_at = START + timedelta(days=day)
    return Video(
        tenant, category, published_at, title, tags, duration_s, followers, sound, hook_type
    )


def teach(learner: Learner, video: Video, outcome: float, *, times: int = 1) -> None:
    for _ in range(times):
        learner.update(video, outcome, START_DAY)


def make_history(count: int = 300, *, seed: int = 7) -> list[PastVideo]:
    """Ten tenants of different levels; the word "cake" is worth four times the views."""
    rng = Random(seed)
    history = []
    for position in range(count):
        tenant = rng.randrange(10)
        word = rng.choice(("cake", "soup", "bread"))
        views = int(10_000 * (1 + tenant) * (4 if word == "cake" else 1) * rng.uniform(0.7, 1.4))
        video = make_video(f"t{tenant}", day=position // 4, title=f"my {word}")
        history.append(PastVideo(f"v{position}", video, views, rng.random() / 10))
    return history


def live_through(learner: Learner, history: list[PastVideo]) -> list[float]:
    """Predict, then learn, one video at a time; give the predictions."""
    means = []
    for past in history:
        day = past.video.published_at.toordinal()
        means.append(learner.predict(past.video, day).mean)
        learner.update(past.video, past.views / 10_000, day)
    return means
