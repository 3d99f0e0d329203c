"""The kinds of sources, and what each allows: data of `kinds.toml`, each with its day."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from viral.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

_DAY = timedelta(days=1)
LONGEST_WAIT = _DAY
# 2^10 times the shortest interval is more than a day.
_MOST_DOUBLINGS = 10
_SECTION = re.compile(r"[A-Za-z0-9_]{1,50}", re.ASCII)
_REGION = re.compile(r"[A-Z]{2}", re.ASCII)
DEFAULT_REGION = "US"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What one kind of source is, where it is, and how often it may be asked."""

    name: str
    title: str
    url: str
    checked_on: date
    interval_minutes: int
    calls_a_day: int
    pause_s: float
    most_items: int
    full: float
    note: str
    token_url: str = ""
    resets_in: str = ""
    needs: tuple[str, ...] = ()
    section: str = ""
    sections: Mapping[str, str] = field(default_factory=dict)

    def interval(self, sources: int) -> timedelta:
        """Give the shortest time between two calls of a source, where so many share the quota."""
        shortest = timedelta(minutes=self.interval_minutes)
        return max(shortest, _DAY * sources / self.calls_a_day) if self.calls_a_day else shortest

    def back_off(self, sources: int, *, failures: int) -> timedelta:
        """Give the time to wait after so many failures in a row: doubled each time, a day at most.

        None of the source's own intervals is cut short by that.
        """
        interval = self.interval(sources)
        doubled: timedelta = interval * 2 ** min(failures, _MOST_DOUBLINGS)
        return max(interval, min(doubled, LONGEST_WAIT))

    def address(self, *, section: str | None, region: str | None) -> str:
        """Give the address of a section of a region; BadInput when the kind has no such section."""
        section = section or self.section
        if self.sections:
            known = self.sections.get(section)
            if known is None:
                raise BadInput(
                    f"{self.name} has no section {section[:50]!r}.",
                    hint=f"Choose {', '.join(self.sections)}.",
                )
            section = known
        elif section and not _SECTION.fullmatch(section):
            raise BadInput(
                f"{section[:50]!r} is no section.", hint="Write letters, digits and _ only."
            )
        return self.url.format(section=section, region=region_of(region or DEFAULT_REGION))


def region_of(name: str) -> str:
    """Read a country by its two letters (ISO 3166)."""
    region = name.strip().upper()
    if not _REGION.fullmatch(region):
        raise BadInput(f"{name[:50]!r} is no region.", hint="Write two letters, such as US or DE.")
    return region


def kind_of(name: str) -> Kind:
    """Read a kind's name."""
    kind = kinds().get(name.strip().lower())
    if kind is None:
        raise BadInput(
            f"There is no kind of source {name[:50]!r}.", hint=f"Choose {', '.join(kinds())}."
        )
    return kind


@cache
def kinds() -> Mapping[str, Kind]:
    """Read all kinds by name."""
    text = (files("viral.features.trends") / "kinds.toml").read_text("utf-8")
    return {
        name: Kind(name=name, **entry | {"needs": tuple(entry.get("needs", ()))})
        for name, entry in tomllib.loads(text).items()
    }
