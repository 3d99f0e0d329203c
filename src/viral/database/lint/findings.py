"""What the lint says about a migration: a rule, a place, what is wrong, what to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule; a waived one carries the reason that its script gives."""

    rule: str
    script: str
    line: int
    message: str
    hint: str
    is_waived: bool = False
    reason: str | None = None

    def __str__(self) -> str:
        waived = f" (waived: {self.reason})" if self.is_waived else ""
        return f"{self.script}, line {self.line}: {self.rule}: {self.message}{waived}"
