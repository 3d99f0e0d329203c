"""Settings, API keys: made, shown once, revoked."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath, URLEncodedBody
from litestar.response import Redirect
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from viral.features.tenants import own_tenant
from viral.features.usage.requests import KeyUse
from viral.features.users.api_keys import create_key, list_keys, revoke_key
from viral.features.users.members import emails_of
from viral.features.users.sessions import Identity
from viral.runtime import Runtime
from viral.schema.tenants import ApiKey
from viral.schema.vocabulary import SCOPES, Scope
from viral.web.dashboard.flashes import send_back
from viral.web.dashboard.metrics import SPANS, read_use
from viral.web.dashboard.rendering import render
from viral.web.dashboard.switcher import page_of, send_page
from viral.web.dashboard.views import Choice, Flash, KeyRow, KeysPage, ShownOnce
from viral.web.deeds import note_deed
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.door import require_admin
from viral.web.forms import Form
from viral.web.requests import WebRequest

PAGE = "/settings/keys"
SLOWEST_SHOWN = 5
Days = Literal["30", "90", "365", "never"]
_LIFETIMES: dict[Days, str] = {
    "30": "30 days",
    "90": "90 days",
    "365": "A year",
    "never": "As long as it is not revoked",
}
_SCOPES: dict[Scope, str] = {
    "read": "Read concepts, results and what was learned",
    "write": "Generate, add results, learn and undo",
    "admin": "Change people, keys and the plan",
}


class KeyForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What will use the key, what it may, and for how long. A form sends one scope as text."""

    name: str
    days: Days
    scopes: tuple[Scope, ...] | Scope = ()


@get(PAGE, include_in_schema=False)
async def show_keys(
    request: WebRequest, runtime: Wired, identity: Person, session: Transaction
) -> Response[str]:
    """Show the keys of the tenant that are not revoked."""
    return await _page(request, runtime, identity, session)


@post(PAGE, opt={"page": PAGE}, include_in_schema=False)
async def make_key(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    session: Transaction,
    data: URLEncodedBody[KeyForm],
) -> Response[str]:
    """Make a key of the person and show it; it is in this one answer and nowhere else."""
    now = runtime.clock()
    scopes = (data.scopes,) if isinstance(data.scopes, str) else data.scopes
    if "admin" in scopes:
        require_admin(identity)
    _, key = await create_key(
        session,
        identity.credential,
        name=data.name,
        scopes=scopes,
        expires_at=None if data.days == "never" else now + timedelta(days=int(data.days)),
        now=now,
        pepper=runtime.secrets.pepper,
    )
    await note_deed(
        request, session, identity, "made key", data.name.strip(), scopes=" ".join(sorted(scopes))
    )
    shown = ShownOnce(key, data.name.strip())
    return await _page(request, runtime, identity, session, key=shown)


@post("/settings/keys/{key_id:uuid}/revoke", opt={"page": PAGE}, include_in_schema=False)
async def take_key_back(
    request: WebRequest,
    identity: Person,
    session: Transaction,
    key_id: FromPath[UUID],
    data: URLEncodedBody[Form],  # noqa: ARG001 - its shape is checked
) -> Redirect:
    """Let a key open nothing: one's own, or as an admin."""
    await revoke_key(session, identity.credential, key_id)
    found = await session.execute(select(ApiKey.user_id, ApiKey.name).where(ApiKey.id == key_id))
    owner_id, name = found.one()
    if owner_id != identity.user_id:
        require_admin(identity)
    await note_deed(request, session, identity, "revoked key", name)
    return send_back(request, Flash("success", f"The key {name} opens nothing any more."))


async def _page(
    request: WebRequest,
    runtime: Runtime,
    identity: Identity,
    session: AsyncSession,
    *,
    key: ShownOnce | None = None,
) -> Response[str]:
    now = runtime.clock()
    tenant = await own_tenant(session)
    page = await page_of(request, identity, session, tenant, now=now)
    keys = await list_keys(session)
    use = await read_use(runtime, identity.tenant_id, SPANS["7d"], now=now)
    emails = await emails_of(session, {each.user_id for each in keys})
    shown = KeysPage(
        keys=tuple(
            _row(each, emails[each.user_id], identity, use.keys.get(each.id), now=now)
            for each in keys
        ),
        slowest=use.endpoints[:SLOWEST_SHOWN],
        scopes=tuple(
            Choice(each, _SCOPES[each]) for each in SCOPES if each != "admin" or identity.is_admin
        ),
        lifetimes=tuple(Choice(days, label) for days, label in _LIFETIMES.items()),
        key=key,
    )
    html = render("keys.html", page=page, keys=shown)
    return send_page(request, html, status=200 if key is None else 201)


def _row(
    key: ApiKey, owner: str, identity: Identity, use: KeyUse | None, *, now: datetime
) -> KeyRow:
    return KeyRow(
        id=str(key.id),
        name=key.name,
        prefix=key.prefix,
        scopes=tuple(each for each in SCOPES if each in key.scopes),
        owner=owner,
        made_at=key.created_at,
        last_used_at=key.last_used_at,
        calls=use.calls if use else (),
        expires_at=key.expires_at,
        is_expired=key.expires_at is not None and key.expires_at <= now,
        may_revoke=identity.is_admin or key.user_id == identity.user_id,
    )


ROUTES: Final = (show_keys, make_key, take_key_back)
