"""What the doctor says of Claude."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from viral.errors import VendorRefused, VendorUnreachable, ViralError
from viral.postgres.doctor.check import Patient, State
from viral.postgres.doctor.vendors import look_at_claude


@pytest.mark.parametrize(
    ("answer", "state", "cause"),
    [
        (True, "ok", "The key is taken, and the models are known."),
        (False, "ok", "No key is set: critiques and concepts are written offline."),
        (VendorRefused("It refuses.", hint="Correct it."), "error", "It refuses."),
        (VendorUnreachable("It is busy.", hint="Later."), "warning", "It is busy."),
    ],
    ids=str,
)
async def test_the_doctor_tells_no_key_a_taken_one_a_refused_one_and_no_answer(
    answer: ViralError | bool,  # noqa: FBT001 - a column of the table above
    state: State,
    cause: str,
) -> None:
    async def asked() -> bool:
        if isinstance(answer, ViralError):
            raise answer
        return answer

    patient = Patient(clock=lambda: datetime.now(UTC), claude=asked)

    (finding,) = await look_at_claude(patient)

    assert (state, cause) == (finding.state, finding.cause)
