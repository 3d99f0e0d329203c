"""GET /concepts: found again, compared, kept, taken along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal
from urllib.parse import urlencode
from uuid import UUID

from litestar import Response, get
from litestar.params import FromQuery, QueryParameter
from litestar.response import Redirect

from viral.errors import BadInput
from viral.features.generations.concepts import find_concept
from viral.features.generations.exports import export_concepts
from viral.features.generations.history import (
    LONGEST_WORD,
    MOST_WORDS,
    ConceptFilter,
    search_concepts,
)
from viral.features.reflexion.status import outcomes_of
from viral.features.tenants import own_tenant
from viral.schema.content import Concept
from viral.schema.vocabulary import category_of, platform_of
from viral.web.cursors import Place, cursor_at, place_of
from viral.web.dashboard.concepts import (
    CATEGORY_CHOICES,
    PLATFORM_CHOICES,
    Outcomes,
    concept_card,
    concept_cards,
)
from viral.web.dashboard.flashes import send_back
from viral.web.dashboard.rendering import render
from viral.web.dashboard.switcher import page_of, send_page
from viral.web.dashboard.views import Choice, ConceptCard, Flash
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.requests import WebRequest
from viral.web.site import Site

PAGE = "/concepts"
PURPOSE = "history cursor"
SHOWN = 24
MOST_EXPORTED = 10_000
STATUSES = (Choice("open", "Without results"), Choice("measured", "With results"))
LONGEST_SEARCH = MOST_WORDS * (LONGEST_WORD + 1)
COMPARED = 2
Search = Annotated[str, QueryParameter(max_length=LONGEST_SEARCH)]
Status = Literal["", "open", "measured"]


@dataclass(frozen=True, slots=True)
class Filters:
    """What the address asks for; empty texts ask for nothing."""

    q: str = ""
    category: str = ""
    platform: str = ""
    status: Status = ""
    only_favorites: bool = False

    @property
    def wanted(self) -> ConceptFilter:
        """The same for the search; raises BadInput for words that are none of ours."""
        return ConceptFilter(
            search=self.q,
            category=category_of(self.category) if self.category else None,
            only_favorites=self.only_favorites,
            platform=platform_of(self.platform) if self.platform else None,
            has_result=None if self.status == "" else self.status == "measured",
        )

    @property
    def query(self) -> dict[str, str]:
        """The same as an address has it."""
        asked = {
            "q": self.q,
            "category": self.category,
            "platform": self.platform,
            "status": self.status,
            "favorites": "yes" if self.only_favorites else "",
        }
        return {name: value for name, value in asked.items() if value}


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A page of concepts; `older_url` leads to the next one."""

    cards: tuple[ConceptCard, ...]
    filters: Filters
    view: Literal["cards", "table"]
    is_first: bool
    older_url: str | None
    categories: tuple[Choice, ...] = CATEGORY_CHOICES
    platforms: tuple[Choice, ...] = PLATFORM_CHOICES
    statuses: tuple[Choice, ...] = STATUSES

    @property
    def newest_url(self) -> str:
        return self._address()

    def view_url(self, view: str) -> str:
        return self._address(view=view)

    def export_url(self, format_name: str) -> str:
        return f"{PAGE}/export?{urlencode({**self.filters.query, 'format': format_name})}"

    def _address(self, view: str | None = None) -> str:
        query = _viewed(self.filters, view or self.view)
        return f"{PAGE}?{urlencode(query)}" if query else PAGE


@dataclass(frozen=True, slots=True)
class ComparePage:
    """Two concepts beside each other, scored for the same platform where both can be."""

    cards: tuple[ConceptCard, ConceptCard]
    platform: str


@get(PAGE, include_in_schema=False)
async def show_history(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    session: Transaction,
    q: Search = "",
    category: FromQuery[str] = "",
    platform: FromQuery[str] = "",
    status: FromQuery[Status] = "",
    favorites: FromQuery[str] = "",
    view: FromQuery[Literal["cards", "table"]] = "cards",
    cursor: FromQuery[str | None] = None,
) -> Response[str]:
    """Show generated concepts, newest first, those that the filters in the address leave."""
    site: Site = request.app.state.site
    filters = Filters(q.strip(), category, platform, status, bool(favorites))
    before = place_of(site, identity.tenant_id, cursor, purpose=PURPOSE)
    found = await search_concepts(session, filters.wanted, limit=SHOWN + 1, before=before)
    rest, found = found[SHOWN:], found[:SHOWN]
    older_url = None
    if rest:
        last = Place(found[-1].created_at, found[-1].id)
        older = cursor_at(site, identity.tenant_id, last, purpose=PURPOSE)
        older_url = f"{PAGE}?{urlencode({**_viewed(filters, view), 'cursor': older})}"
    outcomes = await outcomes_of(session, [each.id for each in found])
    shown = HistoryPage(
        cards=tuple(
            concept_card(each, outcomes, filters.platform) for each in found if each.predictions
        ),
        filters=filters,
        view=view,
        is_first=cursor is None,
        older_url=older_url,
    )
    tenant = await own_tenant(session)
    page = await page_of(request, identity, session, tenant, now=runtime.clock())
    return send_page(request, render("history.html", page=page, history=shown))


@get(f"{PAGE}/compare", include_in_schema=False)
async def compare(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    session: Transaction,
    a: FromQuery[UUID | None] = None,
    b: FromQuery[UUID | None] = None,
    pick: FromQuery[list[UUID] | None] = None,
) -> Response[str] | Redirect:
    """Show two concepts beside each other; `pick` is how the boxes of the history ask."""
    if pick is not None and len(pick) == COMPARED:
        return Redirect(f"{PAGE}/compare?a={pick[0]}&b={pick[1]}")
    if a is None or b is None:
        return send_back(request, Flash("info", "Choose two concepts, then compare them."), PAGE)
    first, second = await find_concept(session, a), await find_concept(session, b)
    outcomes = await outcomes_of(session, [a, b])
    tenant = await own_tenant(session)
    page = await page_of(request, identity, session, tenant, now=runtime.clock())
    shown = _comparison(first, second, outcomes)
    return send_page(request, render("compare.html", page=page, compare=shown))


@get(f"{PAGE}/export", include_in_schema=False)
async def export(
    session: Transaction,
    format: FromQuery[Literal["csv", "json"]] = "csv",  # noqa: A002 - its name in the address
    q: Search = "",
    category: FromQuery[str] = "",
    platform: FromQuery[str] = "",
    status: FromQuery[Status] = "",
    favorites: FromQuery[str] = "",
) -> Response[str]:
    """Give the newest 10,000 of the filtered concepts as CSV, or as JSON, one object a line."""
    wanted = Filters(q.strip(), category, platform, status, bool(favorites)).wanted
    parts = export_concepts(session, wanted, form=format, most=MOST_EXPORTED)
    return Response(
        "".join([text async for text, _ in parts]),
        media_type="text/csv" if format == "csv" else "application/x-ndjson",
        headers={"Content-Disposition": f'attachment; filename="concepts.{format}"'},
    )


def _viewed(filters: Filters, view: str) -> dict[str, str]:
    return filters.query if view == "cards" else {**filters.query, "view": view}


def _comparison(first: Concept, second: Concept, outcomes: Outcomes) -> ComparePage:
    """Compare on the platform where the two together do best: scores of others are no match."""
    scores = [{each.platform: each.score for each in one.predictions} for one in (first, second)]
    if not all(scores):
        raise BadInput("A concept without a prediction cannot be compared.")
    shared = scores[0].keys() & scores[1].keys()
    best = max(sorted(shared), key=lambda name: scores[0][name] + scores[1][name], default="")
    if not best:
        cards = concept_cards([first, second], outcomes)
        return ComparePage((cards[0], cards[1]), "")
    return ComparePage(
        (concept_card(first, outcomes, best), concept_card(second, outcomes, best)), best
    )


ROUTES: Final = (show_history, compare, export)
