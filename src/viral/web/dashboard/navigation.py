"""The pages of the rail, by what a person comes for; a page that is not here has no entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Entry:
    """A page of the rail: `key` is pressed after H, and `is_in_bar` puts it at a phone's foot."""

    name: str
    label: str
    path: str
    icon: str
    key: str | None = None
    is_in_bar: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Entries that belong together."""

    label: str
    entries: tuple[Entry, ...]


NAVIGATION: Final = (
    Group(
        "Create",
        (
            Entry("home", "Home", "/", "home", key="h", is_in_bar=True),
            Entry("trends", "Trends", "/trends", "trends", key="t"),
            Entry("generate", "Generate", "/generate", "generate", key="g", is_in_bar=True),
            Entry("history", "History", "/concepts", "concepts", key="y", is_in_bar=True),
        ),
    ),
    Group(
        "Learn",
        (
            Entry("performance", "Performance", "/performance", "performance", key="p"),
            Entry("reflexion", "Reflexion", "/reflexion", "learning", key="r", is_in_bar=True),
        ),
    ),
    Group(
        "Operate",
        (
            Entry("jobs", "Jobs", "/jobs", "jobs", key="j"),
            Entry("metrics", "Metrics", "/metrics", "metrics", key="m"),
            Entry("keys", "API keys", "/settings/keys", "api-keys", key="k"),
            Entry("settings", "Settings", "/settings/people", "settings", key="s"),
        ),
    ),
)
