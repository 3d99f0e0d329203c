"""Where the cards of a diagram stand, and the ways of the lines between them.

Cards stand in columns with gutters between them. All lines to one card form a net: in each gutter
it has one lane, and it passes a column through one gap between two cards. So lines of one net run
together like rails. Those of different nets cross; they lie on each other only where cards of one
height point at each other.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HEADER_HEIGHT = 36
ROW_HEIGHT = 20
CARD_END = 8
SECTION_SPACE = 24
GAP = 28
TRACK_STEP = 10
# From a card to its nearest lane or track: room for an arrow and a rounded corner.
CLEARANCE = 22
NARROWEST_GUTTER = 48
# Horizontal lines nearer than this look like one.
SEPARATE = 6
# A step smaller than this looks like a mistake; a gap has room to do without it.
SMALLEST_STEP = 7
COLOURS = 4

Side = Literal["left", "right"]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Card:
    """A table's place to be: only its size matters here."""

    name: str
    rows: int

    @property
    def height(self) -> int:
        """The whole card with its header."""
        return HEADER_HEIGHT + self.rows * ROW_HEIGHT + CARD_END


@dataclass(frozen=True, slots=True)
class Link:
    """A line from a row of one card to another card."""

    child: str
    row: int
    parent: str


@dataclass(frozen=True, slots=True)
class Sizes:
    """What depends on the texts: how wide a card and how high a section's heading is."""

    card_width: float
    heading_height: float


@dataclass(frozen=True, slots=True)
class Layout:
    """The finished drawing: corners of sections and cards, and the corners of every line.

    `colours` numbers the nets so that nets of one gutter differ as far as the colours go.
    """

    width: float
    height: float
    sections: tuple[Point, ...]
    cards: dict[str, Point]
    lines: dict[Link, tuple[Point, ...]]
    colours: dict[str, int]


@dataclass(slots=True)
class _Place:
    """A card in its column: `slot` counts from the top, `gap` lies below it."""

    card: Card
    column: int
    slot: int
    top: float = 0
    gap: float = 0


@dataclass(frozen=True, slots=True)
class _Stop:
    """Where a net leaves a gutter: towards which side, and at what height."""

    side: Side
    y: float


class _Plan:
    """The drawing while it grows: columns, then heights, then lanes, then widths."""

    def __init__(
        self, sections: Sequence[Sequence[Card]], links: Sequence[Link], sizes: Sizes
    ) -> None:
        self.sections = sections
        self.sizes = sizes
        self.nets: dict[str, list[Link]] = defaultdict(list)
        for link in links:
            self.nets[link.parent].append(link)
        self.columns = _columns(sections, links, sizes)
        self.places = {
            card.name: _Place(card, column, slot)
            for column, members in enumerate(self.columns)
            for slot, card in enumerate(card for number in members for card in sections[number])
        }
        self.section_tops: dict[int, float] = {}
        self.tracks: dict[tuple[int, int], list[str]] = defaultdict(list)
        self.heights: dict[tuple[int, str], float] = {}
        self.lanes: dict[int, list[str]] = {}
        self.height = 0.0

    def stack(self) -> None:
        """Give every card its height on the page; gaps are as high as their tracks need."""
        first = max((len(self.tracks[column, 0]) for column in range(len(self.columns))), default=0)
        for members in self.columns:
            y = float(first * TRACK_STEP)
            for order, number in enumerate(members):
                self.section_tops[number] = y = y + (SECTION_SPACE if order else 0)
                y += self.sizes.heading_height
                for card in self.sections[number]:
                    y = self._stand(self.places[card.name], y)
            self.height = max(self.height, y)

    def _stand(self, place: _Place, y: float) -> float:
        place.top = y
        bottom = y + place.card.height
        tracks = len(self.tracks[place.column, place.slot + 1])
        place.gap = bottom + GAP / 2
        return bottom + max(GAP, GAP + (tracks - 1) * TRACK_STEP)

    def choose_gaps(self) -> None:
        """Choose for every net the gaps through which it passes columns: those of least detour."""
        for parent in sorted(self.nets, key=self._order):
            for column in self._passed_columns(parent):
                gaps = self._gaps(column)
                wanted = [self.port(parent), *map(self.exit, self._beyond(parent, column))]
                nearest = min(gaps, key=lambda gap: _detour(gaps[gap], wanted))
                self.tracks[column, nearest].append(parent)

    def _order(self, name: str) -> tuple[float, str]:
        return self.places[name].top, name

    def _passed_columns(self, parent: str) -> list[int]:
        columns = [self.places[link.child].column for link in self.nets[parent]]
        own = self.places[parent].column
        return [
            column
            for column in range(len(self.columns))
            if min(columns) < column < own or own < column < max(columns)
        ]

    def _beyond(self, parent: str, column: int) -> Iterator[Link]:
        own = self.places[parent].column
        for link in self.nets[parent]:
            child = self.places[link.child].column
            if own < column < child or child < column < own:
                yield link

    def port(self, parent: str) -> float:
        """Return the height at which lines reach a card."""
        return self.places[parent].top + HEADER_HEIGHT / 2

    def exit(self, link: Link) -> float:
        """Return the height at which a line leaves its row; several lines of a row part."""
        rows = sorted(
            other.parent
            for links in self.nets.values()
            for other in links
            if (other.child, other.row) == (link.child, link.row)
        )
        spread = rows.index(link.parent) - (len(rows) - 1) / 2
        middle = HEADER_HEIGHT + (link.row + 0.5) * ROW_HEIGHT
        return self.places[link.child].top + middle + spread * (SEPARATE + 2)

    def level_tracks(self) -> None:
        """Give every net its height in the columns that it passes, without tiny steps between."""
        for (column, gap), nets in sorted(self.tracks.items()):
            top = self._gaps(column)[gap]
            for number, parent in enumerate(nets):
                height = top + number * TRACK_STEP
                before = self.heights.get((column - 1, parent))
                if before is not None and abs(before - height) < SMALLEST_STEP:
                    height = before
                self.heights[column, parent] = height

    def _gaps(self, column: int) -> dict[int, float]:
        below = {
            place.slot + 1: place.gap for place in self.places.values() if place.column == column
        }
        return {0: 0.0, **below}

    def way(self, link: Link) -> list[tuple[int, _Stop, _Stop]]:
        """Return the gutters that a line passes, with its way in and out of each."""
        child, parent = self.places[link.child].column, self.places[link.parent].column
        start, end = self.exit(link), self.port(link.parent)
        if child == parent:
            return [(child, _Stop("right", start), _Stop("right", end))]
        step, gutter = (-1, child) if child > parent else (1, child + 1)
        back: Side = "right" if child > parent else "left"
        ahead: Side = "left" if child > parent else "right"
        way = []
        y = start
        for column in range(child + step, parent, step):
            through = self.heights[column, link.parent]
            way.append((gutter, _Stop(back, y), _Stop(ahead, through)))
            y, gutter = through, gutter + step
        way.append((gutter, _Stop(back, y), _Stop(ahead, end)))
        return way

    def choose_lanes(self) -> None:
        """Order the nets of every gutter so that few lines cross and none lie on each other."""
        stops: dict[int, dict[str, set[_Stop]]] = defaultdict(lambda: defaultdict(set))
        for parent, links in self.nets.items():
            for link in links:
                for gutter, entry, leave in self.way(link):
                    stops[gutter][parent] |= {entry, leave}
        for gutter, nets in stops.items():
            order: list[str] = []
            for parent in sorted(nets, key=self._order):
                orders = [
                    [*order[:place], parent, *order[place:]] for place in range(len(order) + 1)
                ]
                order = min(orders, key=lambda each: _crossings([nets[net] for net in each]))
            self.lanes[gutter] = order

    def finish(self) -> Layout:
        """Turn the order of lanes into widths, and everything into points."""
        lefts, gutters, width = self._widths()
        return Layout(
            width=width,
            height=self.height,
            sections=tuple(
                (lefts[column], self.section_tops[number])
                for number in range(len(self.sections))
                for column, members in enumerate(self.columns)
                if number in members
            ),
            cards={name: (lefts[place.column], place.top) for name, place in self.places.items()},
            lines={
                link: tuple(self._points(link, lefts, gutters))
                for links in self.nets.values()
                for link in links
            },
            colours=self._colours(),
        )

    def _colours(self) -> dict[str, int]:
        colours: dict[str, int] = {}
        for parent in sorted(self.nets, key=self._order):
            nearness = [0.0] * COLOURS
            for lanes in self.lanes.values():
                if parent in lanes:
                    for other in lanes:
                        if other in colours:
                            distance = abs(lanes.index(other) - lanes.index(parent))
                            nearness[colours[other]] += 1 / distance
            colours[parent] = nearness.index(min(nearness))
        return colours

    def _widths(self) -> tuple[list[float], list[float], float]:
        lefts: list[float] = []
        gutters: list[float] = []
        x = 0.0
        for gutter in range(len(self.columns) + 1):
            lanes = len(self.lanes.get(gutter, ()))
            gutters.append(x + CLEARANCE)
            is_outer = gutter in {0, len(self.columns)}
            least = 0 if is_outer else NARROWEST_GUTTER
            needed = 2 * CLEARANCE + (lanes - 1) * TRACK_STEP if lanes else 0
            x += max(least, needed)
            if gutter < len(self.columns):
                lefts.append(x)
                x += self.sizes.card_width
        return lefts, gutters, x

    def _points(
        self, link: Link, lefts: Sequence[float], gutters: Sequence[float]
    ) -> Iterator[Point]:
        way = self.way(link)
        first, last = way[0], way[-1]
        yield self._edge(lefts, first[0], first[1].side), first[1].y
        for gutter, entry, leave in way:
            lane = gutters[gutter] + self.lanes[gutter].index(link.parent) * TRACK_STEP
            yield lane, entry.y
            yield lane, leave.y
        yield self._edge(lefts, last[0], last[2].side), last[2].y

    def _edge(self, lefts: Sequence[float], gutter: int, side: Side) -> float:
        return lefts[gutter] if side == "right" else lefts[gutter - 1] + self.sizes.card_width


def arrange(sections: Sequence[Sequence[Card]], links: Sequence[Link], sizes: Sizes) -> Layout:
    """Place sections of cards and lead the lines between them."""
    plan = _Plan(sections, links, sizes)
    plan.stack()
    plan.choose_gaps()
    plan.stack()
    plan.level_tracks()
    plan.choose_lanes()
    return plan.finish()


def _columns(
    sections: Sequence[Sequence[Card]], links: Sequence[Link], sizes: Sizes
) -> list[list[int]]:
    """Give each section a column; one without lines stands below the shortest."""
    linked = {name for link in links for name in (link.child, link.parent)}
    columns: list[list[int]] = []
    single = []
    for number, cards in enumerate(sections):
        if any(card.name in linked for card in cards) or not columns:
            columns.append([number])
        else:
            single.append(number)
    heights = [
        sizes.heading_height + sum(card.height + GAP for card in cards) for cards in sections
    ]
    for number in single:
        min(columns, key=lambda column: sum(heights[each] for each in column)).append(number)
    return columns


def _detour(y: float, wanted: Sequence[float]) -> float:
    return sum(abs(y - each) for each in wanted)


def _crossings(nets: Sequence[set[_Stop]]) -> int:
    """Count how often nets cross when their lanes stand in this order, left to right."""
    return sum(_pair_crossings(left, right) for left, right in combinations(nets, 2))


def _pair_crossings(left: set[_Stop], right: set[_Stop]) -> int:
    outward = [stop.y for stop in left if stop.side == "right"]
    inward = [stop.y for stop in right if stop.side == "left"]
    crossed = sum(_spans(right, y) for y in outward) + sum(_spans(left, y) for y in inward)
    covered = sum(abs(a - b) < SEPARATE for a in outward for b in inward)
    return crossed + 100 * covered


def _spans(net: set[_Stop], y: float) -> bool:
    heights = [stop.y for stop in net]
    return min(heights) - SEPARATE < y < max(heights) + SEPARATE
