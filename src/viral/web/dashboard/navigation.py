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


@dataclass(frozen=True, slots=True)
class Tab:
    """A page below Settings, with its heading as label."""

    label: str
    path: str
    is_for_admins: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """What keys do: pressed together, or one after the other where they are `in_turn`."""

    keys: tuple[str, ...]
    does: str
    in_turn: bool = False


NAVIGATION: Final = (
    Group(
        "Create",
        (
            Entry("home", "Home", "/", "home", key="h", is_in_bar=True),
            Entry("trends", "Trends", "/trends", "trends", key="t"),
            Entry("generate", "Generate", "/generate", "generate", key="g", is_in_bar=True),
            Entry("history", "History", "/concepts", "concepts", key="y", is_in_bar=True),
            Entry("experiments", "Experiments", "/experiments", "experiments", key="x"),
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
TABS: Final = (
    Tab("People", "/settings/people"),
    Tab("Account", "/settings/account"),
    Tab("Activity", "/settings/activity", is_for_admins=True),
)
# What static/keys.js does; every page shows this one list.
KEYS: Final = (
    (
        "Everywhere",
        (
            Key(("Ctrl", "K"), "Find pages, concepts and actions"),
            Key(("/",), "Search in this page"),
            Key(("G",), "Generate concepts"),
            Key(("T",), "Switch between light and dark"),
            Key(("?",), "Show this list"),
            Key(("Esc",), "Close what lies on top"),
        ),
    ),
    (
        "In lists",
        (
            Key(("J",), "Next row or card"),
            Key(("K",), "The one before"),
            Key(("Enter",), "Open it"),
            Key(("F",), "Make it a favourite"),
        ),
    ),
    ("On a chart", (Key(("←", "→"), "Read it, point by point", in_turn=True),)),
    (
        "Go to",
        tuple(
            Key(("H", entry.key.upper()), entry.label, in_turn=True)
            for group in NAVIGATION
            for entry in group.entries
            if entry.key
        ),
    ),
)
