"""The frame of every page of Studio: database, tenant, tables, and what may be done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TypeAlias
from uuid import UUID

from litestar import MediaType, Response
from litestar.di import NamedDependency, Provide
from litestar.params import SkipValidation
from sqlalchemy.ext.asyncio import AsyncSession

from viral.features.studio.shapes import Shape, shapes
from viral.features.tenants import own_tenant
from viral.features.users.sessions import Identity, list_own_tenants
from viral.runtime import Runtime
from viral.schema.security import APP, SYSTEM
from viral.web import dependencies
from viral.web.dashboard.flashes import forget_flashes
from viral.web.dashboard.switcher import page_of
from viral.web.dashboard.views import Page, TenantOption
from viral.web.dependencies import Person, Wired
from viral.web.requests import WebRequest
from viral.web.studio.gate import is_writing, may_read, reading
from viral.web.studio.rendering import render

_HUES = 6
_GROUPS = {
    "tenants": "People",
    "content": "Content",
    "publishing": "Publishing",
    "results": "Results",
    "learning": "Learning",
    "operations": "Operations",
}


@dataclass(frozen=True, slots=True)
class TableLink:
    """A table in the list of tables."""

    name: str
    is_readable: bool
    is_read_only: bool


@dataclass(frozen=True, slots=True)
class TableGroup:
    """Tables that belong together."""

    name: str
    tables: tuple[TableLink, ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around every page; `hue` (0..5) is the tenant's colour."""

    page: Page
    database: str
    tenant_id: UUID
    tenant: str
    hue: int
    tenants: tuple[TenantOption, ...]
    groups: tuple[TableGroup, ...]
    is_writing: bool
    role: str
    address: str


Framed: TypeAlias = NamedDependency[SkipValidation[Frame]]


async def open_frame(request: WebRequest, runtime: Wired, identity: Person) -> Frame:
    """Read the frame in a transaction that has ended when the page opens its own."""
    async with reading(runtime, identity) as session:
        return await provide_frame(request, runtime, identity, session)


async def provide_frame(
    request: WebRequest, runtime: Runtime, identity: Identity, session: AsyncSession
) -> Frame:
    """Read what the frame shows; the notes that wait are taken with it."""
    tenant = await own_tenant(session)
    page = await page_of(request, identity, session, tenant, now=runtime.clock())
    # Studio is for admins; this list knows in which tenants they are.
    choices = await list_own_tenants(session, identity.credential) if request.auth else []
    query = request.url.query
    may = {
        str(each.membership_id) for each in choices if each.role == "ADMIN" or identity.is_operator
    }
    branch = f" ({page.branch})" if page.branch else ""
    return Frame(
        page=page,
        database=runtime.urls.app.database + branch,
        tenant_id=tenant.id,
        tenant=tenant.name,
        hue=tenant.id.int % _HUES,
        tenants=tuple(each for each in page.tenants if each.membership_id in may),
        groups=groups(identity),
        is_writing=is_writing(request),
        role=APP,
        address=request.url.path + (f"?{query}" if query else ""),
    )


def reader_of(frame: Frame, shape: Shape) -> Frame:
    """Name the role that reads a table's rows."""
    return replace(frame, role=SYSTEM) if shape.is_of_installation else frame


def groups(identity: Identity) -> tuple[TableGroup, ...]:
    """List the tables as the schema's files group them."""
    return tuple(
        TableGroup(
            _GROUPS[group],
            tuple(
                TableLink(each.name, may_read(each, identity), each.is_read_only) for each in tables
            ),
        )
        for group, tables in groupby(shapes(), lambda each: each.group)
    )


def show(
    request: WebRequest, template: str, frame: Frame, *, status: int = 200, **context: object
) -> Response[str]:
    """Answer with a page in the frame."""
    html = render(template, frame=frame, page=frame.page, **context)
    response = Response(html, media_type=MediaType.HTML, status_code=status)
    forget_flashes(request, response)
    return response


DEPENDENCIES = {
    # Pages open their own transactions, so that a statement that fails is theirs to explain.
    **{name: each for name, each in dependencies.DEPENDENCIES.items() if name != "session"},
    "frame": Provide(open_frame),
}
