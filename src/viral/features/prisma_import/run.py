"""One pass over the source: read, map, store; a dry run stops before storing."""

from __future__ import annotations

from hmac import digest
from time import monotonic
from typing import TYPE_CHECKING, TextIO

import msgspec

from viral.errors import BadFile
from viral.features.jobs import queue as jobs
from viral.features.prisma_import import (
    content,
    learning,
    operations,
    people,
    publishing,
    results,
)
from viral.features.prisma_import.fields import Unusable
from viral.features.prisma_import.report import Report
from viral.features.prisma_import.shape import COLUMNS, TO_FILES
from viral.features.prisma_import.source import open_source, read_row
from viral.features.prisma_import.steps import Known
from viral.schema.results import PerformanceFeedback

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from viral.database.engine import Database
    from viral.features.prisma_import.source import PrismaSource
    from viral.features.prisma_import.steps import Entry, Step
    from viral.features.prisma_import.target import Target

    Progress = Callable[[str, int, int | None], None]

# In this order nothing refers to what comes later.
STEPS: tuple[Step, ...] = (
    *people.STEPS,
    *content.STEPS,
    *publishing.STEPS,
    *results.STEPS,
    *learning.STEPS,
    *operations.STEPS,
)


async def import_prisma(
    source_url: str,
    target: Target,
    *,
    pepper: bytes,
    now: datetime,
    folder: Path | None,
    progress: Progress,
) -> Report:
    """Copy what a source has and this installation lacks; without a folder only count it.

    A row's id here follows from its id there, and rows that are here stay as they are: a second
    run changes nothing, and one that was killed is resumed by running it again.
    """
    began = monotonic()
    async with open_source(source_url) as source:
        report = Report(source.name, is_dry_run=folder is None)
        report.extra_tables, report.extra_columns = source.extra_tables, source.extra_columns
        for table in COLUMNS:
            report.tables[table].source = await source.count(table)
        taken, slugs = await target.taken()
        known = Known(
            report=report,
            now=now,
            key_hmac=lambda key: digest(pepper, key.encode(), "sha256"),
            taken=taken,
            slugs=slugs,
        )
        for step in STEPS:
            await _run_step(step, source, target, known, progress=progress)
        for table in TO_FILES:
            await _write_lines(table, source, folder, report)
    report.sum_up()
    report.seconds = monotonic() - began
    return report


async def learn_later(system: Database, report: Report) -> None:
    """Have the learner take the imported results in."""
    results = report.tables[PerformanceFeedback.__tablename__]
    if results.imported or results.already_there:
        async with system.session_without_tenant() as session:
            await jobs.ask_for_all(session)


async def _run_step(
    step: Step, source: PrismaSource, target: Target, known: Known, *, progress: Progress
) -> None:
    report = known.report
    total = report.tables[step.name].source or None
    done = 0
    async for batch in source.batches(step.rows, order=step.order):
        entries: list[Entry] = []
        for row_id, text in batch:
            try:
                entries += step.make(read_row(step.name, row_id, text), known)
            except Unusable as refused:
                report.reject(step.name, row_id, refused.column, refused.reason)
        await target.store(entries, step.tables, report=report)
        done += len(batch)
        progress(step.name, done, total)


async def _write_lines(
    table: str, source: PrismaSource, folder: Path | None, report: Report
) -> None:
    """Keep a table that has no counterpart here as JSON lines."""
    try:
        if folder is None:
            await _copy_lines(table, source, None, report)
            return
        with (folder / f"{table}.jsonl").open("w", encoding="utf-8") as file:
            await _copy_lines(table, source, file, report)
    except OSError as error:
        raise BadFile(
            f"{folder} cannot be written: {error.strerror}.",
            hint="Run it again with --report FOLDER; what is in is left as it is.",
        ) from error


async def _copy_lines(
    table: str, source: PrismaSource, file: TextIO | None, report: Report
) -> None:
    async for batch in source.batches(f'SELECT * FROM "{table}"', order="id"):  # noqa: S608 - a name of ours
        for row_id, text in batch:
            try:
                row = read_row(table, row_id, text)
            except Unusable as refused:
                report.reject(table, row_id, refused.column, refused.reason)
                continue
            report.tables[table].imported += 1
            if file is not None:
                file.write(msgspec.json.encode(row.values).decode() + "\n")
