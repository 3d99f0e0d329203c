"""GET /diagram: the tables and their references, each a link to its rows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final
from xml.etree import ElementTree as ET

from litestar import Response, get
from markupsafe import Markup

from viral.database.generate.diagram import svg_diagram
from viral.database.generate.entities import foreign_keys, schema_groups
from viral.web.dependencies import Person, Wired
from viral.web.requests import WebRequest
from viral.web.studio.gate import reading
from viral.web.studio.shell import provide_frame, show

PAGE = "/diagram"
_SVG: Final = "http://www.w3.org/2000/svg"
_NAMES: Final = {"s": _SVG}
# The drawing's own classes are those of the dashboard too: here each has a name of its own.
_PREFIX: Final = "er-"


@dataclass(frozen=True, slots=True)
class TableRow:
    """A table in words, for who does not see the picture."""

    name: str
    address: str
    meaning: str
    columns: int
    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Diagram:
    """The picture, its size in user units, and the same in words."""

    picture: Markup
    width: int
    height: int
    rows: tuple[TableRow, ...]


@get(PAGE, include_in_schema=False)
async def show_diagram(request: WebRequest, runtime: Wired, identity: Person) -> Response[str]:
    """Show the schema as a picture that can be searched, and as a list."""
    async with reading(runtime, identity) as session:
        frame = await provide_frame(request, runtime, identity, session)
    return show(request, "console/diagram.html", frame, diagram=diagram())


@cache
def diagram() -> Diagram:
    """Draw the models once: they change with a release."""
    groups = schema_groups()
    root = ET.fromstring(svg_diagram(groups))  # noqa: S314 - written by this program
    _leave_the_drawing(root)
    names = {each.name: each for group in groups for each in group.entities}
    for card in root.iter(f"{{{_SVG}}}g"):
        if (name := _table_of(card)) in names:
            _link(card, name)
    for element in root.iter():
        if classes := element.get("class"):
            element.set("class", " ".join(_PREFIX + each for each in classes.split()))
    width, height = int(root.attrib.pop("width")), int(root.attrib.pop("height"))
    root.set("class", "er")
    # A picture with links in it: a group, whose parts are read one by one.
    root.set("role", "group")
    for part in (*root.findall("s:title", _NAMES), *root.findall("s:desc", _NAMES)):
        part.set("id", f"er-{part.get('id')}")
    root.set("aria-labelledby", "er-title")
    ET.register_namespace("", _SVG)
    return Diagram(
        Markup(ET.tostring(root, encoding="unicode")),  # noqa: S704 - every text is escaped by it
        width,
        height,
        tuple(
            TableRow(
                each.name,
                address_of(each.name),
                each.meaning,
                len(each.table.columns),
                tuple(sorted({str(key.referred_table) for key in foreign_keys(each.table)})),
            )
            for each in names.values()
        ),
    )


def address_of(table: str) -> str:
    """Return where the rows of a table are shown."""
    return f"/tables/{table}"


def _leave_the_drawing(root: ET.Element) -> None:
    """Take out style and legend: the page has its own, and a policy that lets no other in."""
    for child in list(root):
        if child.tag not in {f"{{{_SVG}}}g", f"{{{_SVG}}}title", f"{{{_SVG}}}desc"}:
            root.remove(child)
    drawing = next(child for child in root if child.tag == f"{{{_SVG}}}g")
    _, top = re.findall(r"[\d.]+", drawing.get("transform", "translate(0 0)"))
    left, _, width, height = root.get("viewBox", "0 0 0 0").split()
    # The room of the legend, but for a margin.
    shift = float(top) - 32
    root.set("viewBox", f"{left} {shift:.0f} {width} {float(height) - shift:.0f}")
    root.set("height", f"{float(height) - shift:.0f}")


def _table_of(element: ET.Element) -> str:
    name = element.find("s:text[@class='name']", _NAMES)
    return "" if name is None else name.text or ""


def _link(card: ET.Element, name: str) -> None:
    """Make the head of a card the link, and note what the card is found by."""
    columns = [each.text or "" for each in card.findall("s:text[@class='column']", _NAMES)]
    card.set("class", "table")
    card.set("data-words", " ".join([name, *columns]))
    card.set("data-name", name)
    link = ET.Element(f"{{{_SVG}}}a", {"href": address_of(name), "class": "link"})
    for style in ("head", "name"):
        part = card.find(f"*[@class='{style}']")
        assert part is not None
        place = list(card).index(part)
        card.remove(part)
        link.append(part)
    card.insert(place, link)
