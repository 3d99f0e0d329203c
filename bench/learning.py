"""Measures the learner on the development data: python bench/learning.py DATA_FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from viral.cli.evaluate import evaluate_platforms, print_tables
from viral.learner.evaluation import OURS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.learner.evaluation import Evaluation
    from viral.learner.measures import Measures

# Largest mean error by target; the goals of the learner's design, section 9.
MUST: dict[str, dict[str, float]] = {
    "tiktok2020.csv": {"eng": 13.2, "reach": 10.0},
    "yt_channels.csv": {"eng": 9.2, "reach": 15.5},
}
REPORTED = ("yt_trending2020.csv",)
LEAST_COVERAGE, LARGEST_COVERAGE = 0.77, 0.83


def main(arguments: list[str]) -> int:
    """Print all tables; 1 when a goal is missed, 2 when there are no data."""
    if len(arguments) != 1:
        print("Usage: python bench/learning.py DATA_FOLDER", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    missing = [name for name in (*MUST, *REPORTED) if not (folder / name).is_file()]
    if missing:
        print(f"Missing in {folder}: {', '.join(missing)}", file=sys.stderr)
        return 2
    misses: list[str] = []
    for name in (*MUST, *REPORTED):
        print(name)
        evaluations = evaluate_platforms(folder / name)
        print_tables(evaluations)
        for evaluation in evaluations.values():
            misses += _misses(name, evaluation)
    print("\n".join(misses) or "All goals are reached.")
    return 1 if misses else 0


def _misses(name: str, evaluation: Evaluation) -> Iterator[str]:
    goals = MUST.get(name, {})
    measured: dict[str, Measures] = {
        target.target: target.learners[OURS] for target in evaluation.targets
    }
    for target, limit in goals.items():
        measures = measured.get(target)
        if measures is None:
            yield f"MISSED: {name} {target} was not measured"
            continue
        if measures.mae > limit:
            yield f"MISSED: {name} {target} MAE {measures.mae:.2f}, goal {limit}"
        if not LEAST_COVERAGE <= (measures.coverage or 0) <= LARGEST_COVERAGE:
            yield f"MISSED: {name} {target} coverage {measures.coverage}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
