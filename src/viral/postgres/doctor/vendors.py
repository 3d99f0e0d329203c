"""Services outside: whether a key that is set is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.errors import VendorError, VendorRefused
from viral.postgres.doctor.check import Check, Finding, error, ok, skipped, warning

if TYPE_CHECKING:
    from viral.postgres.doctor.check import Patient


async def look_at_claude(patient: Patient) -> list[Finding]:
    """Ask Claude whether the key and the models are taken, at no cost."""
    if patient.claude is None:
        return skipped("claude", "The settings could not be read.")
    try:
        is_set = await patient.claude()
    except VendorRefused as refusal:
        return error("claude", refusal.message, refusal.hint)
    except VendorError as failure:
        return warning("claude", failure.message, failure.hint)
    if not is_set:
        return ok("claude", "No key is set: critiques and concepts are written offline.")
    return ok("claude", "The key is taken, and the models are known.")


CHECKS = (Check("claude", look_at_claude, ("settings",)),)
