"""Writes what a run found into its page: tables between marks, pictures beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

WIDTH, NAME_WIDTH, BAR_HEIGHT, GAP, HEAD = 720, 150, 18, 6, 34
# Both pages, light and dark, show the same file: it asks for itself.
STYLE = """\
text{font:13px system-ui,sans-serif;fill:#1f2328}
.head{font-weight:600}
.bar{fill:#8c959f}
.ours{fill:#0969da}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.bar{fill:#6e7681}.ours{fill:#4493f8}}"""


@dataclass(frozen=True, slots=True)
class Bars:
    """One group of bars: its title and each one's value."""

    title: str
    values: Mapping[str, float]


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lay out a table of Markdown; numbers are right-aligned, figures come as text."""
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def fill(page: Path, sections: Mapping[str, str]) -> None:
    """Put each section between its marks, `<!-- name -->` and `<!-- end of name -->`."""
    text = page.read_text()
    for name, section in sections.items():
        marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        found = marks.search(text)
        if found is None:
            raise SystemExit(f"{page} has no section {name}.")
        before, after = text[: found.end(1)], text[found.start(2) :]
        text = f"{before}{section}\n{after}"
    page.write_text(text)


def draw_bars(path: Path, groups: Sequence[Bars], *, ours: str, title: str, unit: str) -> None:
    """Draw horizontal bars, ours in colour, with every value in words for who cannot see them."""
    largest = max(max(group.values.values()) for group in groups)
    parts: list[str] = []
    y = 0
    for group in groups:
        parts.append(f'<text class="head" x="0" y="{y + 20}">{escape(group.title)}</text>')
        y += HEAD
        for name, value in group.values.items():
            length = (WIDTH - NAME_WIDTH - 60) * max(value, 0) / largest
            kind = "ours" if name == ours else "bar"
            middle = y + BAR_HEIGHT - 5
            parts.append(
                f'<text x="{NAME_WIDTH - 8}" y="{middle}" text-anchor="end">{escape(name)}</text>'
                f'<rect class="{kind}" x="{NAME_WIDTH}" y="{y}" width="{length:.1f}"'
                f' height="{BAR_HEIGHT}" rx="2"/>'
                f'<text x="{NAME_WIDTH + length + 6:.1f}" y="{middle}">{value:.1f}{unit}</text>'
            )
            y += BAR_HEIGHT + GAP
    picture = "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            *parts,
            "</svg>\n",
        ]
    )
    path.parent.mkdir(exist_ok=True)
    path.write_text(picture)
