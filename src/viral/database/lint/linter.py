"""The lint of one revision: our rules, squawk's, and the waivers that its scripts give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.database.lint import squawk
from viral.database.lint.revision import Revision
from viral.database.lint.rules import CHECKS
from viral.database.lint.waivers import apply_waivers
from viral.errors import LintFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from viral.database.lint.findings import Finding

_SHOWN = 5


def lint_revision(scripts: Mapping[str, str]) -> list[Finding]:
    """Judge all scripts of a revision, file name to text, in the order they run.

    Raises BadScript where a script is not SQL: then nothing in it can be judged.
    """
    revision = Revision(scripts)
    breaches = [
        breach
        for statement in revision.statements
        for check in CHECKS
        for breach in check(statement, revision)
    ]
    breaches += squawk.check(scripts, revision)
    return apply_waivers(scripts, revision, breaches)


def require_clean(findings: Iterable[Finding]) -> None:
    """Refuse a revision that breaks a rule without a reason; name what comes first."""
    broken = [finding for finding in findings if not finding.is_waived]
    if not broken:
        return
    lines = [f"{finding} {finding.hint}" for finding in broken[:_SHOWN]]
    if more := len(broken) - _SHOWN:
        lines += [f"... and {more} more."] if more > 0 else []
    raise LintFailed("\n".join(lines))
