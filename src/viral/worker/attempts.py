"""What a worker and the queue tell each other: claims, endings, and the calls that carry them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple
from uuid import UUID

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viral.database.engine import Database
    from viral.features.jobs.types import JobType

FIRST_RETRY_S = 5.0
LONGEST_RETRY_S = 3600.0
_START = UUID(int=0)
_EXCHANGE = (
    "SELECT id, tenant_id, job_type, attempt, crashes, has_payload, place"
    " FROM viral.exchange_jobs($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
)
RELEASE = "SELECT viral.release_jobs($1, $2, $3)"


class Claim(NamedTuple):
    """A job that a worker holds. `attempt` fences what it hands in; `crashes` make it a suspect."""

    id: UUID
    tenant_id: UUID | None
    job_type: str
    attempt: int
    crashes: int
    has_payload: bool


class Ending(NamedTuple):
    """How an attempt ended: an outcome in JSON, or a failure, tried again after `retry_s`."""

    claim: Claim
    outcome: str | None = None
    failure: str | None = None
    retry_s: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What an exchange brought: new claims, refused attempts, and whether more may wait."""

    claims: list[Claim]
    refused: list[UUID]
    has_more: bool


class Exchange:
    """One lane's way to the queue; it remembers how far round the ring of tenants it came."""

    # What makes claims that are not ended somebody else's: worker, jobs, attempts.
    give_back: ClassVar[str] = RELEASE

    def __init__(
        self, worker: Database, worker_id: UUID, queue: str, limits: JobType | None
    ) -> None:
        self._worker = worker
        self.worker_id = worker_id
        self._queue = queue
        rate = None if limits is None else limits.rate
        self._limits = (
            None if limits is None else limits.running_limit,
            None if rate is None else rate.limit,
            None if rate is None else rate.span,
        )
        self._after = _START

    def kept(self) -> list[Claim]:
        """Return claims of this worker that the lane is not given yet."""
        return []

    async def __call__(
        self, endings: Sequence[Ending], wanted: int, *, may_suspect: bool = True
    ) -> Answer:
        """Hand in what ended and take up to `wanted` jobs, in one round trip and one commit.

        One of them may be a suspect, whose process died in the middle of it.
        """
        rows = await self._worker.call(
            _EXCHANGE,
            self.worker_id,
            [ending.claim.id for ending in endings],
            [ending.claim.attempt for ending in endings],
            [ending.outcome for ending in endings],
            [ending.failure for ending in endings],
            [ending.retry_s for ending in endings],
            self._queue,
            wanted,
            self._after,
            *self._limits,
            may_suspect,
        )
        claims, refused, has_more = [], [], False
        for *claim, place in rows:
            if place is not None:
                self._after, has_more = place, claim[3] == 1
            elif claim[3] == 0:
                refused.append(claim[0])
            else:
                claims.append(Claim(*claim))
        return Answer(claims, refused, has_more)


def retry_delay_s(attempt: int) -> float:
    """Return the wait before the next attempt: doubled each time, spread by half to both sides."""
    delay: float = min(FIRST_RETRY_S * 2 ** (attempt - 1), LONGEST_RETRY_S)
    return delay * random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, keeps no secret


def encoded(outcome: object) -> str:
    """Encode what a handler returned; raises TypeError for what is no JSON."""
    return msgspec.json.encode({} if outcome is None else outcome).decode()
