"""What a worker and the queue tell each other: claims, endings, and the calls that carry them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, NamedTuple
from uuid import UUID

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg import Record

    from viral.database.engine import Database
    from viral.features.jobs.types import JobType

FIRST_RETRY_S = 5.0
LONGEST_RETRY_S = 3600.0
# What a handler without a result has as its own.
NO_RESULT = "{}"
_START = UUID(int=0)
_ROWS = "SELECT id, tenant_id, job_type, attempt, crashes, has_payload, payload, place FROM"
_EXCHANGE = (
    f"{_ROWS} viral.exchange_jobs($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
)
_RESERVE = f"{_ROWS} viral.reserve_jobs($1, $2, $3, $4, $5, $6)"
# Of so many tenants, those served last, payloads come with the claims.
_NEAR = 16
_BEGIN = "SELECT viral.begin_jobs($1, $2, $3, $4)"
RELEASE = "SELECT viral.release_jobs($1, $2, $3)"


class Claim(NamedTuple):
    """A job that a worker holds. `attempt` fences what it hands in; `crashes` make it a suspect.

    The payload, in JSON, is None where it is to be read, or there is none.
    """

    id: UUID
    tenant_id: UUID | None
    job_type: str
    attempt: int
    crashes: int
    has_payload: bool
    payload: str | None = None


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
        self._near: list[UUID] = []

    def kept(self) -> list[Claim]:
        """Return claims of this worker that the lane is not given yet."""
        return []

    @property
    def may_reserve(self) -> bool:
        """Tell whether jobs can be taken by `reserve`: those of a limited type are counted."""
        return not any(self._limits)

    async def __call__(
        self, endings: Sequence[Ending], wanted: int, *, may_suspect: bool = True
    ) -> Answer:
        """Hand in what ended and take up to `wanted` jobs, in one round trip and one commit.

        One of them may be a suspect, whose process died in the middle of it.
        """
        is_failed = any(ending.failure is not None for ending in endings)
        has_results = any(ending.outcome != NO_RESULT for ending in endings)
        return self._answer(
            await self._worker.call(
                _EXCHANGE,
                self.worker_id,
                [ending.claim.id for ending in endings],
                [ending.claim.attempt for ending in endings],
                # The driver takes its time over arrays, and most of these say nothing.
                [ending.outcome for ending in endings] if has_results else None,
                [ending.failure for ending in endings] if is_failed else None,
                [ending.retry_s for ending in endings] if is_failed else None,
                self._queue,
                wanted,
                self._after,
                *self._limits,
                may_suspect,
                self._contexts(),
            )
        )

    async def reserve(self, wanted: int, *, may_suspect: bool) -> Answer:
        """Take up to `wanted` jobs without marking them; call `begin` from time to time."""
        return self._answer(
            await self._worker.call(
                _RESERVE,
                self.worker_id,
                self._queue,
                wanted,
                self._after,
                may_suspect,
                self._contexts(),
            )
        )

    async def begin(self, held: Sequence[Claim], *, after_s: float) -> None:
        """Mark as running what is held since longer than `after_s`, where it was reserved."""
        await self._worker.call(
            _BEGIN, self.worker_id, self._queue, [claim.id for claim in held], timedelta(0, after_s)
        )

    def _contexts(self) -> list[str]:
        return [self._worker.context(tenant_id) for tenant_id in self._near]

    def _answer(self, rows: Sequence[Record]) -> Answer:
        claims, refused, has_more = [], [], False
        for row in rows:
            if row["place"] is not None:
                has_more = row["attempt"] == 1
                # Where nobody was left out, the next round may begin anywhere: at the start, which
                # is found by one look.
                self._after = row["place"] if has_more else _START
            elif row["attempt"] == 0:
                refused.append(row["id"])
            else:
                claims.append(Claim(*row[:-1]))
        served = {claim.tenant_id for claim in claims if claim.tenant_id is not None}
        self._near = [*(each for each in self._near if each not in served), *served][-_NEAR:]
        return Answer(claims, refused, has_more)


def retry_delay_s(attempt: int) -> float:
    """Return the wait before the next attempt: doubled each time, spread by half to both sides."""
    delay: float = min(FIRST_RETRY_S * 2 ** (attempt - 1), LONGEST_RETRY_S)
    return delay * random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, keeps no secret


def encoded(outcome: object) -> str:
    """Encode what a handler returned; raises TypeError for what is no JSON."""
    return NO_RESULT if outcome is None else msgspec.json.encode(outcome).decode()
