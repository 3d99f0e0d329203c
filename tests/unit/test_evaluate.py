"""`viral reflexion evaluate`, without a database."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from viral.cli.evaluate import evaluate_files
from viral.errors import BadFile

HEADER = "id,platform,published_at,views,likes,title"


def write_results(path: Path, first: int, last: int, *, platform: str = "tiktok") -> Path:
    lines = [
        f"{platform}{n},{platform},2026-01-{1 + n // 10:02}T10:00:00Z,"
        f"{1000 + 37 * n % 900},{n % 50},cake {n % 3}"
        for n in range(first, last)
    ]
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def predictions_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as opened:
        return list(csv.DictReader(opened))


def test_json_on_stdout_holds_the_figures_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_results(tmp_path / "a.csv", 0, 100)

    evaluate_files(file, None, None, as_json=True)

    figures = json.loads(capsys.readouterr().out)
    assert set(figures) == {"tiktok"}
    assert figures["tiktok"]["eng"]["scored"] == 90
    assert set(figures["tiktok"]["reach"]["learners"]) == {"ours", "orig_loop", "ema", "static"}


def test_tables_name_every_learner_and_the_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate_files(write_results(tmp_path / "a.csv", 0, 100), None, None, as_json=False)

    shown = capsys.readouterr().out
    assert "tiktok, engagement: 90 videos" in shown
    assert "80 % interval: holds" in shown
    assert all(name in shown for name in ("ours", "orig_loop", "ema", "static", "█"))


def test_predictions_hold_a_row_for_each_scored_video_and_target(tmp_path: Path) -> None:
    file = write_results(tmp_path / "a.csv", 0, 100)

    evaluate_files(file, None, tmp_path / "p.csv", as_json=True)

    rows = predictions_of(tmp_path / "p.csv")
    assert len(rows) == 180
    assert list(rows[0]) == ["id", "target", "actual", "score", "low", "high"]
    assert all(
        0 <= float(row["low"]) <= float(row["score"]) <= float(row["high"]) <= 100 for row in rows
    )


def test_candidates_come_in_fives_as_foretold_on_the_first_ones_day(tmp_path: Path) -> None:
    file = write_results(tmp_path / "a.csv", 0, 200)

    evaluate_files(file, None, tmp_path / "p.csv", as_json=True, candidates=tmp_path / "c.csv")

    rows = predictions_of(tmp_path / "c.csv")
    served = {(row["target"], row["id"]): row for row in predictions_of(tmp_path / "p.csv")}
    assert list(rows[0]) == ["set", "id", "target", "actual", "score"]
    assert rows
    assert set(Counter((row["target"], row["set"]) for row in rows).values()) == {5}
    for row in rows:
        one = served[row["target"], row["id"]]
        assert row["actual"] == one["actual"]
        assert (row["set"] != row["id"]) or row["score"] == one["score"]


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    file = write_results(tmp_path / "a.csv", 0, 100)

    evaluate_files(file, None, tmp_path / "p.csv", as_json=True)
    evaluate_files(file, None, tmp_path / "q.csv", as_json=True)

    assert (tmp_path / "p.csv").read_bytes() == (tmp_path / "q.csv").read_bytes()


def test_after_an_earlier_file_every_row_is_scored(tmp_path: Path) -> None:
    earlier = write_results(tmp_path / "earlier.csv", 0, 100)
    file = write_results(tmp_path / "a.csv", 100, 110)

    evaluate_files(file, earlier, tmp_path / "p.csv", as_json=True)

    ids = [row["id"] for row in predictions_of(tmp_path / "p.csv") if row["target"] == "reach"]
    assert ids == [f"tiktok{number}" for number in range(100, 110)]


def test_platforms_are_evaluated_apart_and_small_ones_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_results(tmp_path / "a.csv", 0, 60)
    for platform, count in (("youtube", 40), ("instagram", 5)):
        other = write_results(tmp_path / "b.csv", 0, count, platform=platform)
        file.write_text(file.read_text() + other.read_text().split("\n", 1)[1])

    evaluate_files(file, None, None, as_json=True)

    output = capsys.readouterr()
    assert set(json.loads(output.out)) == {"tiktok", "youtube"}
    assert "instagram: 5 videos are too few" in output.err


def test_of_several_observations_the_last_one_counts(tmp_path: Path) -> None:
    file = write_results(tmp_path / "a.csv", 0, 100)
    header, *lines = file.read_text().splitlines()
    twice = [f"{line},{day}" for day in ("2026-01-20", "2026-02-20") for line in lines]
    file.write_text("\n".join([f"{header},observed_on", *twice]))

    evaluate_files(file, None, tmp_path / "p.csv", as_json=True)

    assert len(predictions_of(tmp_path / "p.csv")) == 180


def test_rejected_rows_are_counted_and_named_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_results(tmp_path / "a.csv", 0, 100)
    file.write_text(file.read_text() + "x,tiktok,2026-01-01,-5,,[b]\n" * 30)

    evaluate_files(file, None, None, as_json=True)

    shown = capsys.readouterr().err
    assert "30 rows cannot be used." in shown
    assert "line 102, views: '-5' is negative" in shown
    assert "... and 10 more." in shown


def test_too_few_rows_are_refused(tmp_path: Path) -> None:
    file = write_results(tmp_path / "a.csv", 0, 19)

    with pytest.raises(BadFile, match="has 19 usable videos; 20 of one platform are needed"):
        evaluate_files(file, None, None, as_json=True)


def test_predictions_that_cannot_be_written_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    file = write_results(tmp_path / "a.csv", 0, 30)
    (tmp_path / "p").mkdir()

    with pytest.raises(BadFile, match="cannot be written"):
        evaluate_files(file, None, tmp_path / "p", as_json=True)
    with pytest.raises(BadFile, match="cannot be written"):
        evaluate_files(file, None, tmp_path / "no" / "p.csv", as_json=True)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "p"]
