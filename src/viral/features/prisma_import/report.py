"""What became of the rows: counts by table, what was mended, and every reject with its reason."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from viral.errors import BadFile
from viral.features.prisma_import.shape import TO_FILES

if TYPE_CHECKING:
    from pathlib import Path


class Reject(NamedTuple):
    """A row that is left out; the value itself may be a secret and is not told."""

    table: str
    id: str
    column: str
    reason: str


@dataclass(slots=True)
class Counts:
    """The rows of one table."""

    source: int = 0
    imported: int = 0
    already_there: int = 0
    rejected: int = 0


@dataclass(slots=True)
class Report:
    """The result of one pass over the source.

    `mended` counts values that were set to null, shortened or replaced, by column and reason.
    """

    source: str
    is_dry_run: bool
    tables: dict[str, Counts] = field(default_factory=lambda: defaultdict(Counts))
    mended: Counter[str] = field(default_factory=Counter)
    rejects: list[Reject] = field(default_factory=list)
    extra_tables: list[str] = field(default_factory=list)
    extra_columns: list[str] = field(default_factory=list)
    partitions: list[str] = field(default_factory=list)
    seconds: float = 0

    def reject(self, table: str, row_id: str, column: str, reason: str) -> None:
        """Leave a row out."""
        self.tables[table].rejected += 1
        self.rejects.append(Reject(table, row_id, column, reason))

    def mend(self, table: str, column: str, reason: str) -> None:
        """Count a value that is not imported as it was."""
        self.mended[f"{table}.{column}: {reason}"] += 1

    def sum_up(self) -> None:
        """Complete the counts of tables that the source does not have as such."""
        for counts in self.tables.values():
            counts.source = max(
                counts.source, counts.imported + counts.already_there + counts.rejected
            )

    @property
    def rows(self) -> int:
        """How many rows this installation got."""
        return sum(counts.imported for name, counts in self.tables.items() if name not in TO_FILES)

    @property
    def document(self) -> dict[str, object]:
        """The report as JSON, without the rejects."""
        return {
            "source": self.source,
            "dry_run": self.is_dry_run,
            "tables": {name: asdict(counts) for name, counts in self.tables.items()},
            "mended": dict(sorted(self.mended.items())),
            "rejected": len(self.rejects),
            "extra_tables": self.extra_tables,
            "extra_columns": self.extra_columns,
            "partitions": self.partitions,
            "seconds": round(self.seconds, 1),
        }

    def write(self, folder: Path) -> None:
        """Write `report.json` and `rejects.jsonl` into a folder."""
        try:
            text = msgspec.json.format(msgspec.json.encode(self.document)).decode()
            (folder / "report.json").write_text(text + "\n", "utf-8")
            lines = msgspec.json.Encoder().encode_lines([each._asdict() for each in self.rejects])
            (folder / "rejects.jsonl").write_bytes(lines)
        except OSError as error:
            raise BadFile(
                f"The rows are in, but the report cannot be written: {error.strerror}.",
                hint="Run it again with --report FOLDER; what is in is left as it is.",
            ) from error
