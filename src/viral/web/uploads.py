"""Results that arrive over HTTP: read by the reader of files, stored, and handed to learning."""

from __future__ import annotations

import asyncio
import tempfile
from datetime import datetime
from pathlib import Path

from litestar.datastructures import UploadFile
from sqlalchemy.ext.asyncio import AsyncSession

from viral.errors import BadFile
from viral.features.jobs.queue import ask_for_reflexion
from viral.features.performance.files import ResultsFile, read_results
from viral.features.performance.imports import ImportReport, import_results

LARGEST_BYTES = 50_000_000
_SUFFIXES = frozenset({".csv", ".json", ".jsonl", ".ndjson"})


async def read_upload(file: UploadFile, *, now: datetime) -> ResultsFile:
    """Read an uploaded file; its name says its format and is used for nothing else."""
    suffix = Path(file.filename).suffix.lower()
    content = await file.read()
    return await read_content(
        content, suffix=suffix if suffix in _SUFFIXES else ".csv", name="The file", now=now
    )


async def read_content(content: bytes, *, suffix: str, name: str, now: datetime) -> ResultsFile:
    """Read results from bytes, off the event loop."""
    return await asyncio.to_thread(_read, content, suffix, name, now)


async def take_in(session: AsyncSession, found: ResultsFile, *, data_source: str) -> ImportReport:
    """Store results of the session's tenant and ask for learning from them."""
    report = await import_results(session, found.rows, data_source=data_source)
    report.rejects = sorted([*found.rejects, *report.rejects], key=lambda each: each.line)
    if report.stored:
        await ask_for_reflexion(session)
    return report


def _read(content: bytes, suffix: str, name: str, now: datetime) -> ResultsFile:
    with tempfile.NamedTemporaryFile(suffix=suffix) as file:
        file.write(content)
        file.flush()
        try:
            return read_results(Path(file.name), today=now.date())
        except BadFile as error:
            # Where we keep it for a moment says nothing to the sender.
            raise BadFile(error.message.replace(file.name, name), hint=error.hint) from error
