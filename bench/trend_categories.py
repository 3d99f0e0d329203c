"""Measures the guess of categories on the development data: python bench/trend_categories.py DATA.

Where that data names a category of its own, it is mapped to ours; the rest says how often the
lexicon is silent. Rows are split by a checksum of their id: words were added to the lexicon with an
eye on one half, and the figures to quote are those of the other.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from viral.features.trends.categories import guess_category
from viral.schema.vocabulary import CATEGORIES

if TYPE_CHECKING:
    from collections.abc import Iterator

# Our category for each of theirs; what stands in no list has no counterpart here.
SETS: dict[str, dict[str, str]] = {
    "tiktok2020.csv": {name: name for name in CATEGORIES},
    "yt_trending2020.csv": {
        "music": "music",
        "gaming": "gaming",
        "sports": "fitness",
        "news_politics": "news",
        "comedy": "absurd",
        "science_tech": "tech",
        "film_animation": "cartoon",
        "autos": "luxury",
    },
    "yt_channels.csv": dict.fromkeys(("powerbi_excel", "sql", "python", "ml", "genai"), "tech"),
}
SILENT = "(silent)"


@dataclass
class Half:
    """What was guessed of the rows of one half."""

    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    sure: Counter[bool] = field(default_factory=Counter)
    unmapped: Counter[bool] = field(default_factory=Counter)
    missed: list[tuple[str, str, str]] = field(default_factory=list)


def main(arguments: list[str]) -> int:
    """Print the tables of both halves; `--misses` lists what went wrong in the first."""
    folders = [Path(each) for each in arguments if not each.startswith("-")]
    if len(folders) != 1 or not all((folders[0] / name).is_file() for name in SETS):
        print(f"Give the folder that holds {', '.join(SETS)}.", file=sys.stderr)
        return 2
    for name, ours in SETS.items():
        halves = measure(folders[0] / name, ours)
        for label, half in zip(("read", "unread"), halves, strict=True):
            report(f"{name}, the half that was {label}", half)
        if "--misses" in arguments:
            for truth, guess, text in halves[0].missed[:60]:
                print(f"{truth:14}{guess:14}{text[:150]}")
    return 0


def measure(path: Path, ours: dict[str, str]) -> tuple[Half, Half]:
    """Guess every row that has words."""
    halves = (Half(), Half())
    for row in _rows(path):
        half = halves[crc32(row["id"].encode()) % 2]
        tags = [tag for tag in row["tags"].split("|") if tag]
        guess = guess_category(row["title"], tags)
        is_silent = guess.confidence == "low"
        truth = ours.get(row["category"])
        if truth is None:
            half.unmapped[is_silent] += 1
            continue
        given = SILENT if is_silent else guess.category
        half.pairs[truth, given] += 1
        if guess.confidence == "high":
            half.sure[truth == given] += 1
        if truth != given:
            half.missed.append((truth, given, f"{row['title']} # {row['tags']}"))
    return halves


def report(label: str, half: Half) -> None:
    """Print accuracy, the majority's, and each category's precision and recall."""
    total = half.pairs.total()
    right = sum(number for (truth, given), number in half.pairs.items() if truth == given)
    truths: Counter[str] = Counter()
    guesses: Counter[str] = Counter()
    for (truth, given), number in half.pairs.items():
        truths[truth] += number
        guesses[given] += number
    majority, most = truths.most_common(1)[0]
    spoken = total - guesses[SILENT]
    print(f"\n{label}: {total:,} rows of a known category")
    print(
        f"  accuracy {right / total:.1%} ({right / spoken:.1%} of the {spoken / total:.1%} with"
        f" a known word); always {majority!r}: {most / total:.1%}"
    )
    print(f"  sure: {half.sure.total() / total:.1%}, right in {_share(half.sure):.1%} of them")
    print(f"  rows of no category of ours: {half.unmapped.total():,}, silent", end=" ")
    print(f"in {_share(half.unmapped):.1%}")
    print(f"  {'category':14}{'rows':>7}{'precision':>11}{'recall':>8}")
    for name in CATEGORIES:
        if truths[name]:
            hits = half.pairs[name, name]
            precision = hits / guesses[name] if guesses[name] else 0.0
            print(f"  {name:14}{truths[name]:7}{precision:11.1%}{hits / truths[name]:8.1%}")


def _share(counted: Counter[bool]) -> float:
    return counted[True] / counted.total() if counted else 0.0


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["title"].strip() or row["tags"].strip():
                yield row


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
