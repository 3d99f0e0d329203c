"""What the guards of `viral reflexion` wait for, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.cli.output import out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SURE_Z = 1.64


def show_guards(own: object, shared: object) -> None:
    """Say of each platform what the next publication needs, and how the newest does."""
    assert isinstance(own, list)
    assert isinstance(shared, list)
    if not own:
        return
    out.print("What is learnt is served once it is proven:")
    platforms = {each["platform"]: each for each in shared}
    for each in own:
        out.print(f"  {each['platform']}, your own effects: {guard_in_words(each)}")
        together = platforms.get(each["platform"])
        if together is not None:
            out.print(
                f"  {each['platform']}, version {together['version']} of all tenants:"
                f" {guard_in_words(together)}"
            )


def guard_in_words(each: Mapping[str, float]) -> str:
    """Say what a guard waits for: results, or a lead that is beyond chance."""
    if each["needed"]:
        waits = f"{each['needed']:,} more results until the next"
    elif each["lead_z"] < SURE_Z:
        waits = f"the next waits for a lead beyond chance ({each['lead']:+.1f} points, z"
        waits += f" {each['lead_z']:.1f} of {SURE_Z})"
    else:
        waits = f"the next is proven ({each['lead']:+.1f} points)"
    if not each["watched"]:
        return f"{waits}."
    return (
        f"{waits}; the newest has {each['watched_lead']:+.1f} points of lead over"
        f" {each['watched']:,} results."
    )


def guards_table(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """Give one line a guard."""
    return [f"  {row['platform']:<10} {guard_in_words(row)}" for row in rows]
