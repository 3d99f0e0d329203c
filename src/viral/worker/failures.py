"""How an attempt that failed is put into words, and when it is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from viral.errors import (
    BadInput,
    NotFound,
    NothingToWriteAbout,
    QuotaExceeded,
    ServerError,
    ViralError,
)
from viral.worker.attempts import Ending, retry_delay_s

if TYPE_CHECKING:
    from viral.worker.attempts import Claim

log = structlog.get_logger(__name__)

# The same question gets the same answer: there is nothing to be tried again.
ANSWERS = (BadInput, NotFound, NothingToWriteAbout, QuotaExceeded)
LONGEST_FAILURE = 2000


def failed(claim: Claim, failure: str, *, may_retry: bool = True) -> Ending:
    """End an attempt with a failure."""
    log.info("job.failed", job_id=str(claim.id), job_type=claim.job_type, failure=failure)
    retry_s = retry_delay_s(claim.attempt) if may_retry else None
    return Ending(claim, failure=failure, retry_s=retry_s)


def words_of(error: BaseException) -> str:
    """Say of an error what may be stored: PostgreSQL takes neither NUL nor half a character."""
    if isinstance(error, ServerError):
        # Where the server is, is not a tenant's to read.
        return error.code
    words = type(error).__name__
    if isinstance(error, ViralError):
        words = f"{error.code}: {error.message}"
        # It stands where it is read by whoever asked.
        words += f" {error.hint}" if isinstance(error, ANSWERS) and error.hint else ""
    return words[:LONGEST_FAILURE].replace("\0", "?").encode(errors="replace").decode()
