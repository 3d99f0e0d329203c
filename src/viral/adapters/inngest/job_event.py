"""The event that stands for a job's turn, as it goes out and as it comes back in a call.

Source: github.com/inngest/inngest, docs/SDK_SPEC.md, 1.3.4 (events) and 4.4.1 (calls).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal
from uuid import UUID  # noqa: TC003 - msgspec reads annotations at run time

import msgspec

from viral.adapters.inngest.app import EVENT
from viral.errors import BadInput


@dataclass(frozen=True, slots=True)
class JobEvent:
    """A job's turn to run; the attempt, counted from 1, fences its completion."""

    job_id: UUID
    attempt: int

    def document(self) -> dict[str, object]:
        """Write the event; this is all of a job that leaves this installation.

        The id makes sending again harmless: Inngest drops an id that it saw within a day. The
        attempt is in it, because the queue's own next attempt has to get through.
        """
        return {
            "id": f"{self.job_id}-{self.attempt}",
            "name": EVENT,
            "data": {"job_id": str(self.job_id), "attempt": self.attempt},
        }


class _Data(msgspec.Struct, frozen=True):
    job_id: UUID
    attempt: Annotated[int, msgspec.Meta(ge=1, lt=2**31)]


class _Event(msgspec.Struct, frozen=True):
    name: Literal["viral/job"]
    data: _Data


class _Call(msgspec.Struct, frozen=True):
    event: _Event


def read_call(body: bytes) -> JobEvent:
    """Read which job a call is about; BadInput when it is about none.

    The attempt is the event's, not the number of calls that Inngest made for it: when an answer is
    lost, the same attempt is called again.
    """
    try:
        data = msgspec.json.decode(body, type=_Call).event.data
    except msgspec.DecodeError:
        raise BadInput(
            f"The call is not about an event {EVENT} with a job's id and attempt.",
            hint="Jobs are started by the queue; no other event runs one.",
        ) from None
    return JobEvent(data.job_id, data.attempt)
