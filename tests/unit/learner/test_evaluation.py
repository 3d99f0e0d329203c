"""The protocol, on made-up histories and, where they are, on the development data."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from past_videos import make_history, make_video

from viral.cli.evaluate import evaluate_platforms
from viral.learner.contenders import Forecast
from viral.learner.evaluation import OURS, Evaluation, TargetEvaluation, evaluate
from viral.learner.history import PastVideo, Target, build_history
from viral.learner.measures import Scored, measure, spearman

DATA = Path(os.environ.get("VIRAL_BENCH_DATA") or Path(__file__).parents[4] / "shared" / "data")


def on(target: Target, evaluation: Evaluation) -> TargetEvaluation:
    return next(one for one in evaluation.targets if one.target == target)


def test_ours_beats_the_original_where_tenants_differ() -> None:
    reach = on("reach", evaluate(make_history()))

    ours = reach.learners[OURS]
    assert ours.mae < 0.6 * min(reach.learners[name].mae for name in ("ema", "static"))
    assert ours.pair_accuracy is not None
    assert ours.pair_accuracy > 0.7


def test_two_evaluations_are_equal() -> None:
    assert evaluate(make_history()) == evaluate(make_history())


def test_the_first_tenth_is_not_scored() -> None:
    reach = on("reach", evaluate(make_history(200)))

    assert [one.id for one in reach.scored] == [f"v{number}" for number in range(20, 200)]


def test_after_earlier_videos_all_rows_are_scored() -> None:
    history = make_history(200)

    reach = on("reach", evaluate(history[100:], history[:100]))

    assert [one.id for one in reach.scored] == [f"v{number}" for number in range(100, 200)]


def test_earlier_videos_define_the_scores() -> None:
    history = make_history(200)
    best_of_all = replace(history[150], id="best", views=10**9)

    reach = on("reach", evaluate([best_of_all], history[:100]))

    assert [one.actual for one in reach.scored] == [100.0]


def test_a_video_in_both_files_is_not_learnt_beforehand() -> None:
    history = make_history(100)

    assert on("reach", evaluate(history[50:], history)) == on(
        "reach", evaluate(history[50:], history[:50])
    )


def test_outcomes_are_learnt_after_two_days() -> None:
    days = (0, 1, 2, 2, 9)
    history = [
        PastVideo(f"v{place}", make_video(day=day), 10**place, None)
        for place, day in enumerate(days)
    ]

    reach = on("reach", evaluate(history))

    scores = [one.forecast.score for one in reach.scored]
    assert scores[0] == scores[1] == 50
    assert scores[2] == scores[3] < 50


def test_rows_without_an_engagement_rate_are_left_out_of_engagement() -> None:
    history = [replace(past, engagement_rate=None) for past in make_history(100)]

    evaluation = evaluate(history)

    assert [one.target for one in evaluation.targets] == ["reach"]


def test_the_order_is_by_publication_then_as_given() -> None:
    history = make_history(40)

    entries = build_history("reach", list(reversed(history))).entries

    assert [entry.id for entry in entries[:4]] == ["v3", "v2", "v1", "v0"]


def test_progress_reaches_its_end() -> None:
    steps: list[tuple[int, int]] = []

    evaluate(make_history(50), progress=lambda done, total: steps.append((done, total)))

    assert steps[-1] == (400, 400)


def test_equal_values_share_their_rank() -> None:
    assert spearman([(1, 10), (1, 20), (2, 30)]) == pytest.approx(0.866, abs=0.001)
    assert spearman([(1, 1), (1, 2)]) is None


def test_errors_are_told_apart_by_the_tenants_age() -> None:
    scored = [Scored("x", 10.0 * age, Forecast(0, 0, (0, 30)), age) for age in (0, 1, 5, 20)]

    measures = measure(scored, [])

    assert measures.mae_by_age == {"n0": 0, "n1_4": 10, "n5_19": 50, "n20": 200}
    assert (measures.mae, measures.coverage, measures.width) == (65, 0.5, 30)


@pytest.mark.parametrize(
    ("name", "eng", "reach"), [("tiktok2020.csv", 13.2, 10.0), ("yt_channels.csv", 9.2, 15.5)]
)
def test_the_goals_hold_on_the_development_data(name: str, eng: float, reach: float) -> None:
    if not (DATA / name).is_file():
        pytest.skip(f"no {name} in {DATA}; name the folder in VIRAL_BENCH_DATA")

    (evaluation,) = evaluate_platforms(DATA / name).values()

    for target in evaluation.targets:
        ours = target.learners[OURS]
        assert ours.mae <= {"eng": eng, "reach": reach}[target.target]
        assert ours.coverage is not None
        assert 0.77 <= ours.coverage <= 0.83
