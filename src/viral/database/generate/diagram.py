"""The schema as a picture: an SVG of all tables, in light and dark, with text as text."""

from __future__ import annotations

import textwrap
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

from viral.database.generate.entities import (
    TENANTS,
    foreign_keys,
    pointing_column,
    type_name,
)
from viral.database.generate.layout import (
    HEADER_HEIGHT,
    ROW_HEIGHT,
    Card,
    Layout,
    Link,
    Sizes,
    arrange,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Column, Table

    from viral.database.generate.entities import Entity, Group
    from viral.database.generate.layout import Point

TITLE = "The schema of Viral Dashboard"
LEGEND = (
    ("key", "PK", "primary key"),
    ("foreign", "FK", "foreign key"),
    ("column", "?", "may be null"),
)
LINE_MEANING = "from a column to the table that it names"
TAG_MEANING = "belongs to a tenant; the line to tenants is not drawn"
MARGIN = 32
TOP = 136
CORNER = 8
DOT = 3
TAG_WIDTH = 52
MARK_WIDTH = 26
PADDING = 12
NARROWEST_CARD = 240
# The widest mean advances of a character in the usual system fonts, at our sizes.
NAME_ADVANCE = 7.6
TYPE_ADVANCE = 7.3
SMALL_ADVANCE = 6.6
SMALL_LINE = 16
HEADING_HEIGHT = 36
# Text stands on its baseline, this much below the middle of its line.
BASELINE = 4.5

STYLE = """
svg { --bg: #f7f7f8; --card: #ffffff; --head: #f0f0f2; --edge: #e3e3e8; --text: #17181c;
  --muted: #5c5f6a; --accent: #5b3df5; --tint: #ebe7fe; --line1: #5b3df5; --line2: #b45309;
  --line3: #0e7c86; --line4: #be185d; }
@media (prefers-color-scheme: dark) {
  svg { --bg: #0e0f12; --card: #16181d; --head: #1e2027; --edge: #2a2d36; --text: #ecedf1;
    --muted: #a0a4b0; --accent: #9d8bff; --tint: #2b2645; --line1: #9d8bff; --line2: #f2a541;
    --line3: #3fc6cf; --line4: #f472b6; }
}
text { font: 400 13px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  fill: var(--text); }
.page { fill: var(--bg); }
.title { font-size: 24px; font-weight: 650; letter-spacing: -0.02em; }
.section { font-size: 16px; font-weight: 600; letter-spacing: -0.01em; }
.name { font-weight: 600; }
.small { font-size: 12px; fill: var(--muted); }
.type { font: 400 12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  fill: var(--muted); text-anchor: end; }
.key { font-size: 12px; font-weight: 600; fill: var(--accent); }
.foreign { font-size: 12px; font-weight: 500; fill: var(--muted); }
.chip { fill: var(--tint); }
.tag { font-size: 12px; font-weight: 500; fill: var(--accent); text-anchor: middle; }
.card { fill: var(--card); stroke: var(--edge); }
.head { fill: var(--head); }
.halo { fill: none; stroke: var(--bg); stroke-width: 6; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.net:hover .line { stroke-width: 3; }
.c1 { stroke: var(--line1); } .c2 { stroke: var(--line2); }
.c3 { stroke: var(--line3); } .c4 { stroke: var(--line4); }
.end.c1 { fill: var(--line1); } .end.c2 { fill: var(--line2); }
.end.c3 { fill: var(--line3); } .end.c4 { fill: var(--line4); }
.end { stroke: none; }
"""


def svg_diagram(groups: Sequence[Group]) -> str:
    """Draw all tables as cards, and the foreign keys between them as lines."""
    entities = {each.name: each for group in groups for each in group.entities}
    links = {link: label for entity in entities.values() for link, label in _links(entity.table)}
    sizes = _sizes(groups)
    layout = arrange(
        [[Card(each.name, len(each.table.columns)) for each in group.entities] for group in groups],
        list(links),
        sizes,
    )
    width, height = layout.width + 2 * MARGIN, layout.height + TOP + MARGIN
    left = MARGIN + layout.sections[0][0]
    return "\n".join(
        [
            _opening(width, height),
            f'<title id="title">{TITLE}</title>',
            f'<desc id="desc">{_described(groups, links)}</desc>',
            f"<style>{STYLE}</style>",
            f'<rect class="page" width="{_n(width)}" height="{_n(height)}"/>',
            *_legend(left, len(entities), len(links)),
            f'<g transform="translate({MARGIN} {TOP})">',
            *_nets(layout, links),
            *_headings(groups, layout, sizes),
            *(
                line
                for each in entities.values()
                for line in _card(each, layout.cards[each.name], sizes.card_width)
            ),
            "</g>",
            "</svg>",
            "",
        ]
    )


def _opening(width: float, height: float) -> str:
    size = f'width="{_n(width)}" height="{_n(height)}" viewBox="0 0 {_n(width)} {_n(height)}"'
    names = 'role="img" aria-labelledby="title desc"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {names}>'


def _links(table: Table) -> Iterator[tuple[Link, str]]:
    """Yield the lines that leave a table; those to the tenants are a tag on its card."""
    rows = {column.name: row for row, column in enumerate(table.columns)}
    for key in foreign_keys(table):
        if key.referred_table.name != TENANTS:
            column = pointing_column(key).name
            parent = str(key.referred_table)
            yield Link(str(table), rows[column], parent), f"{table}.{column} → {parent}"


def _sizes(groups: Sequence[Group]) -> Sizes:
    """Return sizes in which every name stands beside its type, and every heading is whole."""
    widest = max(
        len(column.name) * NAME_ADVANCE + len(_typed(column)) * TYPE_ADVANCE
        for group in groups
        for entity in group.entities
        for column in entity.table.columns
    )
    width = max(NARROWEST_CARD, round(widest + MARK_WIDTH + 3 * PADDING))
    lines = max(len(_wrapped(group.meaning, width)) for group in groups)
    return Sizes(card_width=width, heading_height=HEADING_HEIGHT + lines * SMALL_LINE)


def _wrapped(words: str, width: float) -> list[str]:
    return textwrap.wrap(words, round(width / SMALL_ADVANCE))


def _typed(column: Column[object]) -> str:
    return type_name(column) + "?" * bool(column.nullable)


def _described(groups: Sequence[Group], links: dict[Link, str]) -> str:
    tables = "; ".join(
        f"{group.name}: {', '.join(each.name for each in group.entities)}" for group in groups
    )
    return escape(f"Tables by group. {tables}. Foreign keys: {', '.join(links.values())}.")


def _legend(left: float, tables: int, lines: int) -> Iterator[str]:
    yield _text(left, 52, "title", TITLE)
    said = f"{tables} tables, {lines} foreign keys between them. Written by viral generate."
    yield _text(left, 78, "small", said)
    x, y = left, 108
    for style, mark, meaning in LEGEND:
        yield _text(x, y, style, mark)
        yield _text(x + 24, y, "small", meaning)
        x += 24 + len(meaning) * SMALL_ADVANCE + 24
    middle = y - BASELINE
    yield f'<path class="line c1" d="M{_n(x)} {_n(middle)}h40"/>'
    yield _dot((x, middle), (x + 40, middle), 1)
    yield _arrow((x, middle), (x + 40, middle), 1)
    yield _text(x + 50, y, "small", LINE_MEANING)
    x += 50 + len(LINE_MEANING) * SMALL_ADVANCE + 24
    yield from _tag(x, middle)
    yield _text(x + TAG_WIDTH + 8, y, "small", TAG_MEANING)


def _nets(layout: Layout, links: dict[Link, str]) -> Iterator[str]:
    parents = sorted({link.parent for link in links}, key=lambda name: layout.cards[name])
    for parent in parents:
        colour = layout.colours[parent] + 1
        drawn = {link: layout.lines[link] for link in links if link.parent == parent}
        yield '<g class="net">'
        for points in drawn.values():
            yield f'<path class="halo" d="{_rounded(points)}"/>'
        for link, points in drawn.items():
            yield (
                f'<path class="line c{colour}" d="{_rounded(points)}">'
                f"<title>{escape(links[link])}</title></path>"
            )
            yield _dot(points[0], points[1], colour)
        for before, end in sorted({points[-2:] for points in drawn.values()}):
            yield _arrow(before, end, colour)
        yield "</g>"


def _headings(groups: Sequence[Group], layout: Layout, sizes: Sizes) -> Iterator[str]:
    for group, (x, y) in zip(groups, layout.sections, strict=True):
        yield _text(x, y + 16, "section", group.name.capitalize())
        for number, line in enumerate(_wrapped(group.meaning, sizes.card_width)):
            yield _text(x, y + HEADING_HEIGHT + number * SMALL_LINE, "small", line)


def _card(entity: Entity, corner: Point, width: float) -> Iterator[str]:
    x, y = corner
    columns = list(entity.table.columns)
    height = Card(entity.name, len(columns)).height
    has_tenant = any(key.referred_table.name == TENANTS for key in foreign_keys(entity.table))
    yield "<g>"
    yield f"<title>{escape(entity.meaning)}</title>"
    yield (
        f'<rect class="card" x="{_n(x + 0.5)}" y="{_n(y + 0.5)}" width="{_n(width - 1)}"'
        f' height="{height - 1}" rx="10"/>'
    )
    yield _head(x, y, width)
    yield _text(x + PADDING, y + HEADER_HEIGHT / 2 + BASELINE, "name", entity.name)
    if has_tenant:
        yield from _tag(x + width - TAG_WIDTH - 12, y + HEADER_HEIGHT / 2)
    for number, column in enumerate(columns):
        middle = y + HEADER_HEIGHT + (number + 0.5) * ROW_HEIGHT
        yield from _row(x, middle, column, width)
    yield "</g>"


def _head(x: float, y: float, width: float) -> str:
    inner = _n(width - 20)
    return (
        f'<path class="head" d="M{_n(x + 1)} {_n(y + HEADER_HEIGHT)}v-{HEADER_HEIGHT - 10}'
        f'a9 9 0 0 1 9 -9h{inner}a9 9 0 0 1 9 9v{HEADER_HEIGHT - 10}z"/>'
    )


def _row(x: float, middle: float, column: Column[object], width: float) -> Iterator[str]:
    y = middle + BASELINE
    if column.primary_key:
        yield _text(x + PADDING, y, "key", "PK")
    elif column.foreign_keys:
        yield _text(x + PADDING, y, "foreign", "FK")
    yield _text(x + PADDING + MARK_WIDTH, y, "column", column.name)
    yield _text(x + width - PADDING, y, "type", _typed(column))


def _tag(x: float, middle: float) -> Iterator[str]:
    size = f'width="{TAG_WIDTH}" height="18" rx="9"'
    yield f'<rect class="chip" x="{_n(x)}" y="{_n(middle - 9)}" {size}/>'
    yield _text(x + TAG_WIDTH / 2, middle + BASELINE - 0.5, "tag", "tenant")


def _dot(start: Point, after: Point, colour: int) -> str:
    x = start[0] + (DOT if after[0] > start[0] else -DOT)
    return f'<circle class="end c{colour}" cx="{_n(x)}" cy="{_n(start[1])}" r="{DOT}"/>'


def _arrow(before: Point, end: Point, colour: int) -> str:
    back = -8 if end[0] > before[0] else 8
    return f'<path class="end c{colour}" d="M{_pair(end)}l{back} -4.5v9z"/>'


def _rounded(points: Sequence[Point]) -> str:
    """Write a line of straight pieces whose corners are rounded."""
    corners = [point for point, after in pairwise(points) if point != after]
    corners.append(points[-1])
    path = [f"M{_n(corners[0][0])} {_n(corners[0][1])}"]
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        radius = min(CORNER, _distance(before, corner) / 2, _distance(corner, after) / 2)
        entry, leave = _towards(corner, before, radius), _towards(corner, after, radius)
        path.append(f"L{_pair(entry)}Q{_pair(corner)} {_pair(leave)}")
    path.append(f"L{_pair(corners[-1])}")
    return "".join(path)


def _distance(a: Point, b: Point) -> float:
    return abs(a[0] - b[0]) + abs(a[1] - b[1])


def _towards(start: Point, goal: Point, length: float) -> Point:
    share = length / _distance(start, goal)
    return (
        start[0] + (goal[0] - start[0]) * share,
        start[1] + (goal[1] - start[1]) * share,
    )


def _text(x: float, y: float, style: str, content: str) -> str:
    return f'<text class="{style}" x="{_n(x)}" y="{_n(y)}">{escape(content)}</text>'


def _pair(point: Point) -> str:
    return f"{_n(point[0])} {_n(point[1])}"


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
