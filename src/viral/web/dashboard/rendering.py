"""Turning view models into pages: the template environment, its filters and its assets."""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Final

import jinja2
from markupsafe import Markup, escape

from viral.features.scoring.labels import points
from viral.schema.vocabulary import PLATFORM_NAMES
from viral.web.dashboard import charts
from viral.web.dashboard.navigation import KEYS, NAVIGATION, TABS
from viral.web.dashboard.views import Contribution, Failure

TEMPLATES_FOLDER: Final = Path(__file__).parent / "templates"
STATIC_FOLDER: Final = Path(__file__).parent / "static"

_MINUS: Final = "\N{MINUS SIGN}"
_MINUTE_S: Final = 60
_NEAR_DAYS: Final = {-1: "yesterday", 0: "today", 1: "tomorrow"}


@cache
def environment() -> jinja2.Environment:
    """Build the environment: everything is escaped, and a missing name is an error."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        commands=commands,
        count=count,
        day=day,
        duration=duration,
        number=number,
        platform_name=platform_name,
        points=points,
        sentence=sentence,
        when=when,
    )
    made.tests["failed"] = _has_failed
    offered: dict[str, object] = {
        "asset": asset,
        "key_list": KEYS,
        "meter": charts.meter,
        "navigation": NAVIGATION,
        "score_ring": charts.score_ring,
        "sparkline": charts.sparkline,
        "tabs": TABS,
        "why_rows": why_rows,
    }
    # pyrefly takes the type of `globals` from Jinja's own few defaults.
    made.globals.update(offered)  # pyrefly: ignore[no-matching-overload]
    return made


def render(template: str, **context: object) -> str:
    """Render a template of this folder."""
    return environment().get_template(template).render(context)


@cache
def asset(name: str) -> str:
    """Give the address of a static file, with its content's hash: it may be cached for ever."""
    digest = hashlib.sha256((STATIC_FOLDER / name).read_bytes()).hexdigest()
    return f"/static/{name}?v={digest[:12]}"


def number(value: float, digits: int = 0) -> str:
    """Write 1204 as 1,204, with a real minus sign."""
    text = f"{value:,.{digits}f}"
    is_zero = not any(digit in text for digit in "123456789")
    return (text.lstrip("-") if is_zero else text).replace("-", _MINUS)


def count(value: int, noun: str, plural: str | None = None) -> str:
    """Write 1 result, 4 results, 1,204 results."""
    return f"{value:,} {noun if value == 1 else plural or noun + 's'}"


def duration(seconds: int) -> str:
    """Write 32 s, 2 min or 1 min 5 s."""
    minutes, rest = divmod(seconds, _MINUTE_S)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def day(value: datetime, now: datetime) -> str:
    """Write today, yesterday, tomorrow, Tue 24 Nov, or 24 Nov 2025 in another year."""
    local = value.astimezone(now.tzinfo)
    apart = (local.date() - now.date()).days
    if apart in _NEAR_DAYS:
        return _NEAR_DAYS[apart]
    if local.year == now.year:
        return f"{local:%a} {local.day} {local:%b}"
    return f"{local.day} {local:%b %Y}"


def when(value: datetime, now: datetime) -> str:
    """Write a day with its time: today 14:05, Tue 24 Nov 18:00."""
    return f"{day(value, now)} {value.astimezone(now.tzinfo):%H:%M}"


def platform_name(value: str) -> str:
    """Write a platform as its owner does."""
    return PLATFORM_NAMES.get(value, sentence(value))


def sentence(value: str) -> str:
    """Begin with a capital letter and leave the rest."""
    return value[:1].upper() + value[1:]


def commands(value: str) -> Markup:
    """Set what stands between backticks in a message as code, and escape all of it."""
    plain, *rest = value.split("`")
    if len(rest) % 2:
        return escape(value)
    pairs = zip(rest[::2], rest[1::2], strict=True)
    return escape(plain) + Markup("").join(
        Markup("<code>{}</code>{}").format(command, after) for command, after in pairs
    )


def why_rows(
    starting_point: float, why: tuple[Contribution, ...], score: float
) -> tuple[list[tuple[str, Markup, float]], float]:
    """Give label, bar and points of each contribution, and the rounded start.

    Rounded start and rounded points add up to the rounded score exactly.
    """
    start, *rounded = charts.balanced([starting_point, *(each.points for each in why)], total=score)
    bars = charts.contribution_bars(rounded)
    rows = [(each.label, bar, value) for each, bar, value in zip(why, bars, rounded, strict=True)]
    return rows, start


def _has_failed(value: object) -> bool:
    return isinstance(value, Failure)
