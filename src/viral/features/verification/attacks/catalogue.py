"""The rules of the live catalogue: what no single attack would show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.database.validate.live import live_rules
from viral.features.verification.verdicts import (
    Attack,
    Family,
    Target,
    Verdict,
    held,
    leaked,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.features.verification.arena import Arena

# Rules about speed and storage: nothing passes the wall by them.
_NOT_OF_THE_WALL = {"reference-without-index", "index-not-leakproof", "index-invalid"}


async def keep_rule(arena: Arena, target: Target) -> Verdict:
    """Look for what breaks a rule."""
    found = [finding for finding in arena.findings if finding.rule == target.object]
    if not found:
        return held("nothing breaks it")
    rest = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return leaked(f"{found[0].object} {found[0].message}{rest}; {found[0].hint}")


def _rules(_arena: Arena) -> Iterator[Target]:
    for rule in live_rules():
        if rule.name not in _NOT_OF_THE_WALL:
            yield Target("PUBLIC", rule.name)


CATALOGUE = Family(
    "Rules of the catalogue",
    (
        Attack(
            "A45",
            "what no single attack shows: owners, default privileges, PUBLIC, settings of roles",
            "nothing breaks the rule",
            "The wall stands on these rules; a table made tomorrow may stand without them.",
            "See `viral validate --db`.",
            _rules,
            keep_rule,
        ),
    ),
)
