"""The lint over revisions of a history: what each does on its way up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.database.lint.linter import lint_revision

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from viral.database.history import Revision
    from viral.database.lint.findings import Finding


def upward_scripts(folder: Path) -> dict[str, str]:
    """Read the scripts of a revision's folder, all but the way back."""
    files = [path for path in sorted(folder.glob("*.sql")) if path.name != "down.sql"]
    return {path.name: path.read_text("utf-8") for path in files}


def lint_revisions(revisions: Iterable[Revision]) -> list[Finding]:
    """List what the revisions do that they should not, and that no waiver answers."""
    found = (lint_revision(upward_scripts(each.path.with_suffix(""))) for each in revisions)
    return [finding for findings in found for finding in findings if not finding.is_waived]
