"""What the guards of `viral reflexion` wait for, as a table of words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.cli.output import out, print_table
from viral.learner.guard import LEAST_Z

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from viral.features.reflexion.report import OwnGuard
    from viral.features.reflexion.shared_guard import SharedStanding


def show_guards(own: Sequence[OwnGuard], shared: Sequence[SharedStanding] = ()) -> None:
    """Say of each platform what the next publication waits for, and how the newest does."""
    if not own:
        return
    out.print("What is learnt is served once it is proven to predict better:")
    columns = ("  platform", "effects", "next is served", "newest gains, in points")
    print_table(columns, _rows(own, {each.platform: each for each in shared}))


def next_in_words(*, needed: int, lead: float, z: float) -> str:
    """Say what a guard waits for: results, or a lead that is beyond chance."""
    if needed:
        return f"after {needed:,} results"
    if z < LEAST_Z:
        return f"once sure ({lead:+.1f}, z {z:.1f} of {LEAST_Z})"
    return f"proven ({lead:+.1f})"


def _rows(
    own: Sequence[OwnGuard], shared: dict[str, SharedStanding]
) -> Iterator[tuple[str, str, str, str]]:
    for each in own:
        waits = next_in_words(needed=each.needed, lead=each.lead, z=each.lead_z)
        gains = _gains(each.watched, each.watched_lead)
        yield f"  {each.platform}", "yours", waits, gains
        together = shared.get(each.platform)
        if together is None:
            continue
        whose = f"all, version {together.version}" if together.version else "all, none yet"
        lead, watch = together.challenger, together.published
        waits = next_in_words(needed=together.needed, lead=lead.guard.mean, z=lead.z)
        gains = "-" if watch is None else _gains(watch.guard.results, watch.guard.mean)
        yield f"  {each.platform}", whose, waits, gains


def _gains(results: int, lead: float) -> str:
    return f"{lead:+.1f} over {results:,} results" if results else "-"
