"""Away with the sample data: the demo tenant is erased, and the operator moves to another one."""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from litestar import post
from litestar.params import URLEncodedBody
from litestar.response import Redirect

from viral.errors import BadInput, NotAllowed, NotSignedIn
from viral.features.erasure import erase_tenant
from viral.features.tenants import create_tenant, own_tenant
from viral.features.users.members import add_member
from viral.features.users.sessions import Identity, list_own_tenants, switch_tenant
from viral.runtime import Runtime
from viral.servers import migrator_url
from viral.web.dependencies import Person, Wired
from viral.web.door import operators_only
from viral.web.forms import Form
from viral.web.requests import WebRequest
from viral.web.sign_in import keep_session

LONGEST_SLUG = 63


class RemovalForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the operator's own studio is called, where they are in no other one."""

    studio: str = ""


@post("/demo/remove", guards=[operators_only], include_in_schema=False)
async def remove_demo(
    request: WebRequest, runtime: Wired, identity: Person, data: URLEncodedBody[RemovalForm]
) -> Redirect:
    """Move this session to another tenant, which is made where there is none; erase the demo."""
    if request.auth is None:
        raise NotSignedIn("You are not signed in.")
    async with runtime.app.tenant_session(identity.tenant_id) as session:
        tenant = await own_tenant(session)
        slug, is_demo = tenant.slug, tenant.is_demo
    if not is_demo:
        raise NotAllowed("Only sample data is removed here.", hint="See `viral tenant erase`.")
    membership_id = await _other_tenant(runtime, identity) or await _own_studio(
        runtime, identity, data.studio.strip()
    )
    async with runtime.app.session_without_tenant() as session:
        moved = await switch_tenant(session, request.auth, membership_id)
    await erase_tenant(
        migrator_url(runtime.settings, runtime.secrets),
        runtime.settings.home,
        tenant_id=identity.tenant_id,
        slug=slug,
        now=runtime.clock(),
    )
    response = Redirect("/", status_code=303)
    keep_session(request, response, moved.token)
    return response


async def _other_tenant(runtime: Runtime, identity: Identity) -> UUID | None:
    async with runtime.app.tenant_session(identity.tenant_id) as session:
        tenants = await list_own_tenants(session, identity.credential)
    return next((each.membership_id for each in tenants if not each.is_current), None)


async def _own_studio(runtime: Runtime, identity: Identity, name: str) -> UUID:
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:LONGEST_SLUG]
    if not slug:
        raise BadInput(
            "Your studio needs a name.", hint="Write one with letters from a to z, or digits."
        )
    async with runtime.system.session_without_tenant() as session:
        tenant_id = await create_tenant(session, slug=slug, name=name, secrets=runtime.secrets)
        member = await add_member(
            session, tenant_id=tenant_id, user_id=identity.user_id, role="ADMIN"
        )
        return member.id


ROUTES: Final = (remove_demo,)
