"""The rows of a grid as a file, streamed in one moment of the database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal
from uuid import UUID

from litestar import post
from litestar.params import FromPath
from litestar.response import Stream

from viral.errors import BadInput
from viral.features.audit import note
from viral.features.studio.export import Format, export_rows
from viral.features.studio.rows import Query, condition
from viral.features.studio.shapes import Shape
from viral.runtime import Runtime
from viral.web.dependencies import Person, Wired
from viral.web.requests import WebRequest
from viral.web.studio.changes import author_of
from viral.web.studio.grid import read_query
from viral.web.studio.row import readable_shape

_TYPES: dict[Format, str] = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


@post("/tables/{name:str}/export", include_in_schema=False, status_code=200)
async def export(
    request: WebRequest, runtime: Wired, identity: Person, name: FromPath[str]
) -> Stream:
    """Send the rows that pass the filters, and note who took them."""
    shape = readable_shape(name, identity)
    form = await request.form()
    kind = _format(str(form.get("form", "")))
    query = read_query([str(each) for each in form.getall("where", [])], "")
    for each in query.filters:
        condition(shape, each)
    author = author_of(request, identity)
    async with runtime.app.tenant_session(identity.tenant_id) as session:
        await note(
            session,
            "exported rows",
            shape.name,
            user_id=author.user_id,
            address=author.address,
            format=kind,
            filters=len(query.filters) or None,
        )
    return Stream(
        _rows(runtime, identity.tenant_id, shape, query, kind),
        media_type=_TYPES[kind],
        headers={"Content-Disposition": f'attachment; filename="{shape.name}.{kind}"'},
    )


async def _rows(
    runtime: Runtime, tenant_id: UUID, shape: Shape, query: Query, kind: Format
) -> AsyncIterator[bytes]:
    # Rows of the installation are added alone: one statement's moment is as good as another's.
    opened = (
        runtime.system.session_without_tenant()
        if shape.is_of_installation
        else runtime.app.tenant_snapshot(tenant_id)
    )
    async with opened as session:
        async for part in export_rows(session, shape, tenant_id, query, kind):
            yield part


def _format(text: str) -> Literal["csv", "json"]:
    match text:
        case "csv" | "json":
            return text
    raise BadInput("An export is csv or json.")
