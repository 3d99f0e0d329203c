"""The schema as pictures: everything is shown, nothing is covered, every line can be followed."""

from __future__ import annotations

import re
from itertools import combinations, pairwise
from random import Random
from xml.etree import ElementTree as ET

import pytest
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from viral.database.generate.diagram import svg_diagram
from viral.database.generate.entities import Entity, Group, schema_groups
from viral.database.generate.layout import Card, Layout, Link, Point, Sizes, arrange
from viral.database.generate.mermaid import changes_between, mermaid_diagram, outline_of
from viral.schema.tables import METADATA

SVG = "{http://www.w3.org/2000/svg}"
SIZES = Sizes(card_width=250, heading_height=60)


class Root(DeclarativeBase):
    """The root of the tables of these tests."""


class Author(Root):
    """Who writes."""

    __tablename__ = "authors"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)


class Book(Root):
    """What is <written>."""

    __tablename__ = "books"
    __table_args__ = ({"schema": "shelf"},)

    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id"))
    editor_id: Mapped[int | None] = mapped_column(ForeignKey("authors.id"), unique=True)


def library() -> list[Group]:
    entities = (
        Entity(Author, METADATA_OF["authors"]),
        Entity(Book, METADATA_OF["shelf.books"]),
    )
    return [Group("library", "Books & people.", entities)]


METADATA_OF = Root.metadata.tables


def texts_of(svg: str) -> list[str]:
    return [str(each.text) for each in ET.fromstring(svg).iter(f"{SVG}text")]


def pieces(points: tuple[Point, ...]) -> list[tuple[Point, Point]]:
    return [(start, end) for start, end in pairwise(points) if start != end]


def touches(piece: tuple[Point, Point], corner: Point, width: float, height: float) -> bool:
    """Tell whether a straight piece runs through the inside of a rectangle."""
    (x1, y1), (x2, y2) = piece
    x, y = corner
    return (
        min(x1, x2) < x + width - 1
        and max(x1, x2) > x + 1
        and min(y1, y2) < y + height - 1
        and max(y1, y2) > y + 1
    )


def lie_together(one: tuple[Point, Point], other: tuple[Point, Point]) -> bool:
    """Tell whether two pieces of one direction look like one line."""
    for along, across in ((0, 1), (1, 0)):
        if one[0][across] == one[1][across] and other[0][across] == other[1][across]:
            shared = min(max(end[along] for end in piece) for piece in (one, other))
            shared -= max(min(end[along] for end in piece) for piece in (one, other))
            return shared > 1 and abs(one[0][across] - other[0][across]) < 4
    return False


def random_layout(seed: int) -> tuple[list[Card], Layout]:
    random = Random(seed)
    sections = [
        [Card(f"table_{section}_{number}", random.randint(2, 20)) for number in range(count)]
        for section, count in enumerate(random.choices(range(1, 6), k=random.randint(2, 6)))
    ]
    cards = [card for section in sections for card in section]
    links = []
    for _ in range(random.randint(1, len(cards))):
        child = random.choice(cards)
        links.append(Link(child.name, random.randrange(child.rows), random.choice(cards).name))
    return cards, arrange(sections, list(dict.fromkeys(links)), SIZES)


def test_the_picture_names_every_table_and_every_column() -> None:
    texts = set(texts_of(svg_diagram(schema_groups())))

    expected = {
        name for table in METADATA.tables.values() for name in (str(table), *table.c.keys())
    }
    assert set() == expected - texts


def test_the_picture_runs_no_script_and_knows_light_and_dark() -> None:
    svg = svg_diagram(schema_groups())

    assert "prefers-color-scheme: dark" in svg
    assert not re.search(r"<script|\son\w+=|https?://(?!www\.w3\.org/2000/svg)", svg)


def test_the_picture_is_named_and_described_for_those_who_do_not_see_it() -> None:
    root = ET.fromstring(svg_diagram(library()))

    described = str(root.findtext(f"{SVG}desc"))
    assert root.attrib["aria-labelledby"] == "title desc"
    assert "library: authors, shelf.books" in described
    assert "shelf.books.author_id → authors" in described


def test_the_same_schema_gives_the_same_picture() -> None:
    assert svg_diagram(schema_groups()) == svg_diagram(schema_groups())


def test_what_a_class_says_is_written_as_text() -> None:
    svg = svg_diagram(library())

    assert "<title>What is &lt;written&gt;.</title>" in svg
    assert "Books & people." in texts_of(svg)


def test_keys_and_nulls_are_marked() -> None:
    texts = texts_of(svg_diagram(library()))

    books = texts[texts.index("shelf.books") :]
    assert ["PK", "id", "integer"] == books[1:4]
    assert ["FK", "author_id", "integer"] == books[4:7]
    assert ["FK", "editor_id", "integer?"] == books[7:10]


def test_a_line_to_the_tenants_is_a_tag() -> None:
    svg = svg_diagram(schema_groups())

    texts = texts_of(svg)
    assert "tenant" == texts[texts.index("videos") + 1]
    assert "tenant" != texts[texts.index("tenants") + 1]
    assert "→ tenants<" not in svg
    assert "videos.concept_id → concepts<" in svg


@pytest.mark.parametrize("seed", range(40))
def test_no_line_runs_over_a_card(seed: int) -> None:
    cards, layout = random_layout(seed)

    covered = [
        (link, card.name)
        for link, points in layout.lines.items()
        for piece in pieces(points)
        for card in cards
        if touches(piece, layout.cards[card.name], SIZES.card_width, card.height)
    ]

    assert [] == covered


@pytest.mark.parametrize("seed", range(40))
def test_no_line_runs_over_a_heading(seed: int) -> None:
    _, layout = random_layout(seed)

    covered = [
        (link, corner)
        for link, points in layout.lines.items()
        for piece in pieces(points)
        for corner in layout.sections
        if touches(piece, corner, SIZES.card_width, SIZES.heading_height)
    ]

    assert [] == covered


@pytest.mark.parametrize("seed", range(40))
def test_lines_to_different_cards_do_not_lie_on_each_other(seed: int) -> None:
    _, layout = random_layout(seed)

    merged = [
        (one, other)
        for (one, points), (other, others) in combinations(layout.lines.items(), 2)
        if one.parent != other.parent
        for piece in pieces(points)
        for another in pieces(others)
        if lie_together(piece, another)
    ]

    assert [] == merged


@pytest.mark.parametrize("seed", range(40))
def test_every_line_leads_from_its_row_to_its_card_within_the_page(seed: int) -> None:
    cards, layout = random_layout(seed)

    rows = {card.name: card.rows for card in cards}
    for link, points in layout.lines.items():
        child, parent = layout.cards[link.child], layout.cards[link.parent]
        assert points[0][0] in {child[0], child[0] + SIZES.card_width}
        assert points[-1][0] in {parent[0], parent[0] + SIZES.card_width}
        row = (points[0][1] - child[1] - 36) / 20
        assert link.row <= row < link.row + 1 <= rows[link.child]
        assert all(0 <= x <= layout.width and 0 <= y <= layout.height for x, y in points)


def test_a_section_without_lines_stands_below_the_shortest_column() -> None:
    sections = [[Card("a", 9)], [Card("b", 2)], [Card("c", 1)]]

    layout = arrange(sections, [Link("b", 0, "a")], SIZES)

    assert layout.cards["c"][0] == layout.cards["b"][0]
    assert layout.cards["c"][1] > layout.cards["b"][1]


def test_a_line_that_passes_two_columns_takes_no_tiny_step_between_them() -> None:
    sections = [
        [Card("filler", 13), Card("parent", 2)],
        [Card("high", 15)],
        [Card(f"low{number}", 1) for number in range(4)],
        [Card("child", 20)],
    ]
    links = [Link("high", 0, "high"), Link("low0", 0, "low0"), Link("child", 15, "parent")]

    layout = arrange(sections, links, SIZES)

    heights = [y for _, y in layout.lines[links[2]]]
    assert layout.cards["low0"][0] > layout.cards["high"][0]
    assert 3 == len(set(heights))


def test_every_heading_has_its_room_above_the_cards() -> None:
    layout = arrange([[Card("a", 1)], [Card("b", 9)], [Card("c", 1)]], [Link("a", 0, "b")], SIZES)

    rooms = [layout.cards[name][1] - y for name, (_, y) in zip("abc", layout.sections, strict=True)]
    assert [60, 60, 60] == rooms


def test_lines_that_run_side_by_side_have_different_colours() -> None:
    sections = [[Card("a", 3), Card("b", 3)], [Card("c", 3)]]

    layout = arrange(sections, [Link("c", 0, "a"), Link("c", 1, "b")], SIZES)

    assert layout.colours["a"] != layout.colours["b"]


def test_mermaid_shows_keys_nulls_and_how_many_rows_belong_together() -> None:
    diagram = mermaid_diagram(library())

    assert '  "shelf.books" {' in diagram
    assert "    integer id PK\n" in diagram
    assert "    varchar email UK\n" in diagram
    assert '    integer editor_id FK, UK "may be null"\n' in diagram
    assert '  authors ||--o{ "shelf.books" : author_id\n' in diagram
    assert '  authors |o--o| "shelf.books" : editor_id\n' in diagram


def test_the_outline_is_read_back_from_mermaid() -> None:
    outline = outline_of(mermaid_diagram(schema_groups()))

    assert {str(table) for table in METADATA.tables.values()} == set(outline)
    assert {"user_id": 'uuid FK "may be null"', "amount": "integer"}.items() <= outline[
        "quota_ledger"
    ].items()


def test_changes_name_tables_and_columns_that_came_went_and_changed() -> None:
    before = {"a": {"id": "uuid PK", "size": "integer", "mood": "text"}, "b": {}}
    after = {"a": {"id": "uuid PK", "size": "bigint", "hue": "text"}, "c": {}}

    assert [
        "column a.size changed: integer -> bigint",
        "column a.mood removed",
        "column a.hue added: text",
        "table b removed",
        "table c added",
    ] == list(changes_between(before, after))
