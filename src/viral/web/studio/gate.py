"""Who may be in Studio, and when it writes: admins, on this machine, with the switch on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address

from litestar.handlers import BaseRouteHandler
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from viral.errors import NotAllowed
from viral.features.studio.shapes import Shape
from viral.features.users.sessions import Identity
from viral.runtime import Runtime
from viral.web.requests import Connection, WebRequest
from viral.web.site import Site

# Longer than any page needs that an index serves.
LONGEST_STATEMENT_MS = 15_000
_WRITING = b"writing"
_PURPOSE = "studio"


def studio_only(connection: Connection, handler: BaseRouteHandler) -> None:
    """Let in admins of the tenant and operators, from this machine."""
    if not _is_here(connection.client.host if connection.client else ""):
        raise NotAllowed(
            "Studio answers on this machine alone.",
            hint="From elsewhere: ssh -L 5555:127.0.0.1:5555, with the port of your Studio.",
        )
    if handler.opt.get("door") in {"open", "either"}:
        return
    if not may_enter(connection.user):
        raise NotAllowed(
            "Studio is for admins of the tenant that is open.",
            hint="Open another tenant in the dashboard, or ask an admin for the role.",
        )


def may_enter(identity: Identity | None) -> bool:
    """Tell whether somebody may see and change a tenant's tables."""
    return identity is not None and (identity.is_admin or identity.is_operator)


def may_read(shape: Shape, identity: Identity) -> bool:
    """Tell whether somebody sees a table's rows: the installation's are its operator's."""
    return not shape.why_unreadable or (shape.is_of_installation and identity.is_operator)


def is_writing(request: WebRequest) -> bool:
    """Tell whether this session has switched writing on; what was altered is none."""
    site: Site = request.app.state.site
    sealed = request.cookies.get(mode_cookie(site))
    return sealed is not None and site.seals.open(_PURPOSE, _owner(request), sealed) == _WRITING


def sealed_mode(request: WebRequest) -> str:
    """Return what the browser keeps of a session that writes: it holds for this one alone."""
    site: Site = request.app.state.site
    return site.seals.seal(_PURPOSE, _owner(request), _WRITING)


def mode_cookie(site: Site) -> str:
    return site.csrf_cookie.replace("csrf", "studio")


@asynccontextmanager
async def reading(
    runtime: Runtime, identity: Identity, shape: Shape | None = None
) -> AsyncIterator[AsyncSession]:
    """Open a transaction in which PostgreSQL itself refuses to write.

    It is the tenant's; for a table of the installation it is the system's, which no row of a
    tenant can be read in.
    """
    if shape is not None and shape.is_of_installation and may_read(shape, identity):
        opened = runtime.system.session_without_tenant()
    else:
        opened = runtime.app.tenant_session(identity.tenant_id)
    async with opened as session:
        await _bound(session, is_read_only=True)
        yield session


@asynccontextmanager
async def writing(
    request: WebRequest, runtime: Runtime, identity: Identity
) -> AsyncIterator[AsyncSession]:
    """Open a transaction of the tenant that may write; NotAllowed while Studio is read-only."""
    if not is_writing(request):
        raise NotAllowed("Studio is read-only.", hint="Allow changes at the top of the page first.")
    async with runtime.app.tenant_session(identity.tenant_id) as session:
        await _bound(session, is_read_only=False)
        yield session


async def _bound(session: AsyncSession, *, is_read_only: bool) -> None:
    """Limit a transaction in one round trip."""
    settings = [func.set_config("statement_timeout", str(LONGEST_STATEMENT_MS), True)]  # noqa: FBT003 - PostgreSQL's own argument
    if is_read_only:
        settings.append(func.set_config("transaction_read_only", "on", True))  # noqa: FBT003 - the same
    await session.execute(select(*settings))


def _owner(request: WebRequest) -> str:
    return request.auth or ""


def _is_here(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
