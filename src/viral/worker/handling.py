"""What a handler is given, and how one is declared."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import msgspec

from viral.errors import BadInput, TenantContextMissing
from viral.features.jobs.effects import once
from viral.features.jobs.types import JobType

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.runtime import Runtime
    from viral.worker.attempts import Claim

Outcome = dict[str, object]
_H = TypeVar("_H", bound="Callable[..., object]")


@dataclass(frozen=True, slots=True)
class Handled:
    """A type of job and the function that does it."""

    job_type: JobType
    function: Callable[..., object]


class JobLost(Exception):
    """The job was canceled, or went to another worker; what is handed in now is refused."""


HANDLERS: dict[str, Handled] = {}


def job(of: JobType | str, *, payload: type[msgspec.Struct] | None = None) -> Callable[[_H], _H]:
    """Declare the handler of a type of job.

    `@job(REFLEXION)`, or for a type that nobody else names `@job("resize", payload=Picture)`. It
    is called with the job at work and, where its type has one, the payload; what it returns, a
    JSON object or None, is the job's result. It may run more than once for the same job: calls to
    the outside go through `AtWork.once`.
    """
    job_type = of if isinstance(of, JobType) else JobType(of, payload=payload)

    def register(function: _H) -> _H:
        HANDLERS[job_type.name] = Handled(job_type, function)
        return function

    return register


@dataclass(slots=True)
class AtWork:
    """One attempt at a job, as its handler sees it. `tenant_id` is None for system jobs."""

    id: UUID
    tenant_id: UUID | None
    attempt: int
    runtime: Runtime
    report: Callable[[int], Awaitable[None]]

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction of the job's tenant."""
        async with self.runtime.app.tenant_session(self._tenant()) as session:
            yield session

    async def progress(self, percent: int) -> None:
        """Say how far the job is. An attempt that lost its job ends here."""
        await self.report(percent)

    async def once(
        self,
        name: str,
        act: Callable[[str], Awaitable[Outcome]],
        look_up: Callable[[str], Awaitable[Outcome | None]],
    ) -> Outcome:
        """Have an effect outside at most once over all attempts of this job.

        Both functions get the effect's key, to be given to the other side as its idempotency key;
        `look_up` says what came of an effect that a former attempt may have had.
        """
        return await once(
            self.runtime.app,
            self._tenant(),
            job_id=self.id,
            key=f"{self.id}:{name}",
            act=act,
            look_up=look_up,
        )

    def _tenant(self) -> UUID:
        if self.tenant_id is None:
            raise TenantContextMissing("A system job has no tenant.")
        return self.tenant_id


def decoded(handled: Handled, claim: Claim) -> tuple[msgspec.Struct, ...]:
    """Read a payload by its type; raise BadInput for one that this type does not take."""
    expected = handled.job_type.payload
    if expected is None:
        if claim.payload is not None:
            raise BadInput("the payload is not one of this job")
        return ()
    try:
        return (msgspec.json.decode(claim.payload or "{}", type=expected),)
    except msgspec.ValidationError as error:
        raise BadInput(f"the payload of a {claim.job_type} is wrong: {error}") from error
