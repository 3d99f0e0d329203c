"""What types of jobs there are: their payload, their lane, and how often they may be tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID  # noqa: TC003 - msgspec reads the annotations

import msgspec

from viral.schema.vocabulary import Platform  # noqa: TC001 - msgspec reads the annotations

if TYPE_CHECKING:
    from datetime import timedelta

DEFAULT_QUEUE = "default"
MAX_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Rate:
    """So many starts in a span."""

    limit: int
    span: timedelta


@dataclass(frozen=True, slots=True)
class JobType:
    """A type of job. Without a `payload` its jobs carry none.

    A type with limits has a queue of its own: `running_limit` jobs of a tenant run at once, and no
    more start than its `rate` allows. An `is_cpu_bound` handler is a plain function that is run in
    a process of its own. `time_limit_s` ends an attempt, and so does the end of the process.
    """

    name: str
    payload: type[msgspec.Struct] | None = None
    queue: str = DEFAULT_QUEUE
    max_attempts: int = MAX_ATTEMPTS
    time_limit_s: float = 600.0
    running_limit: int | None = None
    rate: Rate | None = None
    is_cpu_bound: bool = False

    def __post_init__(self) -> None:
        if self.queue == DEFAULT_QUEUE and (self.running_limit is not None or self.rate):
            # Whoever is at a limit is passed over as a whole, without a look at each job.
            object.__setattr__(self, "queue", self.name)


REFLEXION = JobType("reflexion", time_limit_s=3600.0)


class ConceptsOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many concepts a person wants, and of what; the same seed and history give the same.

    With a trend they are all about it.
    """

    count: int
    category: str | None = None
    platform: Platform | None = None
    trend_id: UUID | None = None
    seed: int | None = None
    user_id: UUID | None = None


GENERATION = JobType("generate-concepts", payload=ConceptsOrder, time_limit_s=1800.0)
