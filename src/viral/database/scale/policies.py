"""Policies in the form that Citus takes: without sub-selects.

On one machine `(SELECT viral.tenant_id())` is evaluated once for a statement. Citus refuses every
sub-select in a policy of its tables, so the direct call takes its place there, and a condition
`column IN (SELECT ...)` becomes a comparison with what a function of ours returns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from viral.database.scale.plan import Policy

# As pg_get_expr prints it, with and without its pretty form.
_TENANT = re.compile(r"\(\s*SELECT viral\.tenant_id\(\) AS tenant_id\)")
_DIRECT = "viral.tenant_id()"
_LIST = re.compile(r"\A\((?P<column>\w+) IN \((?P<query>\s*SELECT .*)\)\)\Z", re.DOTALL)
_PLAIN = re.compile(r"\A[a-z_][a-z0-9_]{0,62}\Z")
_SUB_SELECT = re.compile(r"\bSELECT\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Listing:
    """A function that returns what a sub-select listed, to be compared with a column."""

    function: str
    column: str
    query: str


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A policy's conditions without sub-selects, and the function that they call, if any."""

    shows: str | None
    takes: str | None
    listing: Listing | None = None


def without_sub_selects(policy: Policy) -> Rewritten | str | None:
    """Rewrite a policy: None when nothing is in the way, a text when something has no other form.

    The text is the condition, on one line.
    """
    if not (_has_sub_select(policy.shows) or _has_sub_select(policy.takes)):
        return None
    shows, takes = _direct(policy.shows), _direct(policy.takes)
    if not (_has_sub_select(shows) or _has_sub_select(takes)):
        return Rewritten(shows, takes)
    found = _LIST.match(shows or "")
    function = f"{policy.table.rpartition('.')[2]}_{policy.name}"
    if found is None or takes is not None or not _PLAIN.match(function):
        return " ".join(str(takes or shows).split())
    listing = Listing(f"viral.{function}()", found["column"], found["query"].strip())
    return Rewritten(f"({listing.column} = ANY ({listing.function}))", None, listing)


def _direct(condition: str | None) -> str | None:
    return None if condition is None else _TENANT.sub(_DIRECT, condition)


def _has_sub_select(condition: str | None) -> bool:
    return condition is not None and _SUB_SELECT.search(condition) is not None
