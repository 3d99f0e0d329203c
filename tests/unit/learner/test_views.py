"""What is served and what was served before, overrides of a tenant, and hypotheses."""

from __future__ import annotations

from dataclasses import replace

import pytest
from past_videos import START_DAY, make_video, teach

from viral.learner.effects import Effect
from viral.learner.families import GLOBAL, TENANT, TRUST
from viral.learner.learner import Learner
from viral.learner.terms import View

GUESS = ("hypothesis", "hour:6..12")


def override(published: float, former: float | None = None) -> Effect:
    return Effect(0.0, 0.0, 0, 0, published, former=former, is_override=True)


def mean_of(learner: Learner, view: View, *, tenant: str = "a", title: str = "") -> float:
    return learner.predict(make_video(tenant, title=title), START_DAY, view=view).mean


def test_the_former_view_is_what_was_published_before() -> None:
    learner = Learner()
    teach(learner, make_video(), 80)
    learner.shared[GLOBAL].published, learner.shared[GLOBAL].former = 61.0, 50.0
    learner.tenants["a"][TENANT].published = 4.0

    assert mean_of(learner, "published") == 65
    # What has no former value was published the same.
    assert mean_of(learner, "former") == 54


def test_a_stranger_starts_at_the_former_level_in_the_former_view() -> None:
    learner = Learner()
    teach(learner, make_video(), 80)
    level = learner.shared["newcomer", ""]
    level.published, level.former = 7.0, 3.0

    assert mean_of(learner, "published", tenant="new") == 57
    assert mean_of(learner, "former", tenant="new") == 53


def test_the_newcomers_former_level_is_everybodys() -> None:
    learner = Learner()
    teach(learner, make_video(), 80)
    level = learner.shared["newcomer", ""]
    level.published, level.former = 7.0, 3.0

    means = learner.update(make_video("new"), 70, START_DAY).means

    assert (means.shared_former, means.own_former) == (53, 57)


def test_a_tenants_override_is_served_to_it_alone() -> None:
    learner = Learner()
    teach(learner, make_video("a"), 80)
    teach(learner, make_video("b"), 80)
    learner.shared["category", "food"].published = 9.0
    live = mean_of(learner, "live")

    learner.tenants["a"]["category", "food"] = override(2.0, former=1.0)

    assert mean_of(learner, "published") == 52
    assert mean_of(learner, "former") == 51
    assert mean_of(learner, "published", tenant="b") == 59
    assert mean_of(learner, "live") == live


def test_a_word_is_overridden_under_its_hash() -> None:
    learner = Learner(word_key=lambda word: f"hash of {word}", min_word_tenants=1)
    teach(learner, make_video(title="cake"), 80)
    learner.shared["word", "hash of cake"].published = 9.0
    assert mean_of(learner, "published", title="cake") == 59

    learner.tenants["a"]["word", "hash of cake"] = override(1.0)

    assert mean_of(learner, "published", title="cake") == 51


def test_a_counter_of_contributions_overrides_nothing() -> None:
    learner = Learner()
    teach(learner, make_video(), 80)
    learner.shared["category", "food"].published = 9.0

    assert learner.tenants["a"]["category", "food"].n == 1
    assert mean_of(learner, "published") == 59


def test_an_override_learns_as_the_row_that_it_stands_for() -> None:
    plain, overridden = Learner(), Learner()
    overridden.tenants["a"] = {("category", "food"): override(2.0)}
    for learner in (plain, overridden):
        teach(learner, make_video(), 80, times=3)

    assert overridden.shared == plain.shared
    assert overridden.tenants["a"]["category", "food"].n == 3


def test_an_update_tells_what_each_view_foretold() -> None:
    learner = Learner()
    teach(learner, make_video(), 80, times=4)
    learner.shared[GLOBAL].published, learner.shared[GLOBAL].former = 61.0, 55.0
    learner.tenants["a"][GUESS] = Effect(3.0, 4.0, 1, START_DAY, 2.0, former=0.5)
    video = replace(make_video(), hypotheses=(GUESS,))
    live = learner.predict(video, START_DAY).mean
    former = learner.predict(video, START_DAY, view="former").mean

    means = learner.update(video, 70, START_DAY).means

    assert (means.live, means.published, former) == (live, 63, 55.5)
    assert (means.shared_former, means.own_former) == (57, 61.5)
    assert means.plain == pytest.approx(means.live - 3)


def test_the_former_trust_in_words_is_everybodys() -> None:
    learner = Learner(min_word_tenants=1)
    video = make_video(title="cake")
    teach(learner, video, 80, times=2)
    learner.shared["word", "cake"].published = 4.0
    own = learner.tenants["a"]["tenant_word", "cake"]
    own.published, own.former = 8.0, 2.0
    trust = learner.shared[TRUST]
    trust.published, trust.former = 0.5, 1.0
    former = mean_of(learner, "former", title="cake")

    means = learner.update(video, 70, START_DAY).means

    assert (means.published, means.shared_former, means.own_former) == (56, 62, 53)
    assert former == 56


@pytest.mark.parametrize(
    ("family", "points"), [("hypothesis_low", 2.0), ("hypothesis", 4.0), ("hypothesis_high", 6.0)]
)
def test_confidence_says_how_far_a_hypothesis_may_go_and_never_where_it_starts(
    family: str, points: float
) -> None:
    learner = Learner()
    video = replace(make_video(), hypotheses=((family, "hour:6..12"),))
    before = learner.parts(video, START_DAY)[-1]

    teach(learner, video, 100)

    assert (before.points, before.variance) == (0, points**2)
    assert 0 < learner.tenants["a"][family, "hour:6..12"].mean < points
