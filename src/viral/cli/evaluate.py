"""`viral reflexion evaluate`: how well past videos could have been predicted."""

from __future__ import annotations

import csv
import json
import os
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from viral.cli.output import err, progress_bar
from viral.errors import BadFile
from viral.features.performance.files import ResultRow, read_results
from viral.learner.evaluation import OURS, Evaluation, TargetEvaluation, evaluate
from viral.learner.history import PastVideo
from viral.learner.video import Video

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from viral.features.performance.files import Reject

# Fewer videos have no quantiles to speak of.
LEAST_ROWS = 20
REJECTS_SHOWN = 20
BAR_LENGTH = 40
ONE_TENANT = "one"
AGE_NAMES = {"n0": "1st", "n1_4": "2-5", "n5_19": "6-20", "n20": "21+"}
PREDICTION_COLUMNS = ("id", "target", "actual", "score", "low", "high")
CANDIDATE_COLUMNS = ("set", "id", "target", "actual", "score")
TARGET_NAMES = {"eng": "engagement", "reach": "reach"}


def evaluate_files(
    file: Path,
    after: Path | None,
    predictions: Path | None,
    *,
    as_json: bool,
    candidates: Path | None = None,
) -> None:
    """Evaluate a file of results, print the figures, and write the predictions where asked."""
    evaluations = evaluate_platforms(file, after)
    targets = [target for each in evaluations.values() for target in each.targets]
    if predictions is not None:
        _write_rows(predictions, PREDICTION_COLUMNS, targets, _prediction_rows)
    if candidates is not None:
        _write_rows(candidates, CANDIDATE_COLUMNS, targets, _candidate_rows)
    if as_json:
        print_json(evaluations)
    else:
        print_tables(evaluations)


def evaluate_platforms(file: Path, after: Path | None = None) -> dict[str, Evaluation]:
    """Run the protocol once for each platform in the file; platforms have learners of their own."""
    rows = past_videos(file)
    earlier = past_videos(after) if after else {}
    evaluations: dict[str, Evaluation] = {}
    for platform in sorted(rows):
        asked, lived = rows[platform], earlier.get(platform, [])
        if len(lived or asked) < LEAST_ROWS:
            err.print(
                f"{platform}: {len(lived or asked)} videos are too few, skipped.", markup=False
            )
            continue
        step = f"Learning {platform}"
        with progress_bar(step) as advance:
            evaluations[platform] = evaluate(asked, lived, partial(advance, step))
    if not evaluations:
        raise BadFile(
            f"{file} has {sum(map(len, rows.values()))} usable videos;"
            f" {LEAST_ROWS} of one platform are needed.",
            hint="Name the file of your earlier results with --after.",
        )
    return evaluations


def past_videos(file: Path) -> dict[str, list[PastVideo]]:
    """Read a file of results, by platform; of several observations of a video the last counts."""
    videos: dict[str, list[PastVideo]] = {}
    for row in _latest(_read(file)):
        videos.setdefault(row.platform, []).append(_past_video(row))
    return videos


def _read(file: Path) -> list[ResultRow]:
    step = f"Reading {file.name}"
    with progress_bar(step) as advance:
        results = read_results(file, progress=partial(advance, step))
    _name_rejects(file, results.rejects)
    return results.rows


def _name_rejects(file: Path, rejects: Sequence[Reject]) -> None:
    if not rejects:
        return
    err.print(f"{file}: {len(rejects)} rows cannot be used.", markup=False)
    for reject in rejects[:REJECTS_SHOWN]:
        where = f"  line {reject.line}" + (f", {reject.column}" if reject.column else "")
        err.print(f"{where}: {reject.value!r} {reject.reason}", markup=False)
    if len(rejects) > REJECTS_SHOWN:
        err.print(f"  ... and {len(rejects) - REJECTS_SHOWN} more.", markup=False)


def _latest(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """Keep the last observation of each video, in the place of its first."""
    latest: dict[tuple[str, str], ResultRow] = {}
    for row in rows:
        key = (row.platform, row.external_id)
        if key not in latest or latest[key].observed_on < row.observed_on:
            latest[key] = row
    return list(latest.values())


def _past_video(row: ResultRow) -> PastVideo:
    video = Video(
        tenant=row.tenant or ONE_TENANT,
        category=row.category,
        published_at=row.published_at,
        title=row.title,
        tags=row.tags,
        duration_s=row.duration_s,
        followers=row.followers,
        sound=row.sound,
        hook_type=row.hook_type,
    )
    return PastVideo(row.external_id, video, row.views, _engagement_rate(row))


def _engagement_rate(row: ResultRow) -> float | None:
    # Hidden likes are no zero likes. Comments and shares are missing for whole platforms.
    if row.likes is None:
        return None
    interactions = row.likes + (row.comments or 0) + (row.shares or 0)
    return interactions / row.views if row.views else 0.0


def _write_rows(
    path: Path,
    columns: tuple[str, ...],
    targets: Sequence[TargetEvaluation],
    rows: Callable[[TargetEvaluation], Iterator[tuple[object, ...]]],
) -> None:
    """Write the rows of all targets; the file appears whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", newline="", encoding="utf-8") as opened:
            writer = csv.writer(opened)
            writer.writerow(columns)
            for target in targets:
                writer.writerows(rows(target))
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise BadFile(f"{path} cannot be written: {error.strerror}.") from error


def _prediction_rows(target: TargetEvaluation) -> Iterator[tuple[object, ...]]:
    for one in target.scored:
        assert one.forecast.interval is not None  # ours always has one
        yield (one.id, target.target, one.actual, one.forecast.score, *one.forecast.interval)


def _candidate_rows(target: TargetEvaluation) -> Iterator[tuple[object, ...]]:
    """Give five rows a set, named after its first video: all five as foretold on its day."""
    for each in target.sets:
        for one, actual, score in zip(each.ids, each.outcomes, each.scores, strict=True):
            yield (each.ids[0], one, target.target, actual, score)


def print_json(evaluations: dict[str, Evaluation]) -> None:
    """Print one object: platform, target, learner, figures."""
    figures = {
        platform: {target.target: _figures(target) for target in evaluation.targets}
        for platform, evaluation in evaluations.items()
    }
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


def _figures(target: TargetEvaluation) -> dict[str, object]:
    learners = {name: asdict(measures) for name, measures in target.learners.items()}
    return {
        "scored": len(target.scored),
        "random_regret5": target.random_regret5,
        "learners": learners,
    }


def print_tables(evaluations: dict[str, Evaluation]) -> None:
    """Print a table for each platform and target, our interval, and the errors as bars."""
    console = Console()
    for platform, evaluation in evaluations.items():
        for target in evaluation.targets:
            console.print(_table(platform, target))
            _print_interval(console, target)
            _print_bars(console, target)


def _table(platform: str, target: TargetEvaluation) -> Table:
    name = TARGET_NAMES[target.target]
    table = Table(
        title=f"{platform}, {name}: {len(target.scored)} videos",
        title_justify="left",
        caption="Last columns: MAE by which of its tenant's videos it was.",
        caption_justify="left",
        box=SIMPLE_HEAD,
    )
    ages = target.learners[OURS].mae_by_age
    table.add_column("learner", no_wrap=True)
    for column in ("MAE", "Spearman", "pairs", "regret", *(AGE_NAMES[age] for age in ages)):
        table.add_column(column, justify="right")
    for learner, measures in target.learners.items():
        table.add_row(
            learner,
            f"{measures.mae:.2f}",
            _shown(measures.spearman, 2),
            _shown(measures.pair_accuracy, 3),
            _shown(measures.regret5, 2),
            *(f"{measures.mae_by_age[age]:.1f}" for age in ages),
            style="bold" if learner == OURS else "",
        )
    return table


def _shown(figure: float | None, digits: int) -> str:
    return "-" if figure is None else f"{figure:.{digits}f}"


def _print_interval(console: Console, target: TargetEvaluation) -> None:
    ours = target.learners[OURS]
    line = f"80 % interval: holds {100 * (ours.coverage or 0):.1f} %, {_shown(ours.width, 1)} wide."
    if target.random_regret5 is not None:
        line += f" A blind pick of 5 regrets {target.random_regret5:.2f}."
    console.print(line, highlight=False)


def _print_bars(console: Console, target: TargetEvaluation) -> None:
    block = "█" if console.encoding.startswith("utf") else "#"
    worst = max(measures.mae for measures in target.learners.values()) or 1.0
    for learner, measures in target.learners.items():
        bar = block * round(BAR_LENGTH * measures.mae / worst)
        console.print(f"{learner:>10} {bar} {measures.mae:.2f}", highlight=False)
    console.print()
