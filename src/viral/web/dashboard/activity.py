"""Settings, activity: the audit log, for admins."""

from __future__ import annotations

from typing import Final, get_args
from urllib.parse import urlencode

from litestar import Response, get
from litestar.params import FromQuery

from viral.features.audit import Action, list_entries
from viral.features.tenants import own_tenant
from viral.features.users.members import emails_of
from viral.schema.tenants import AuditEntry
from viral.web.cursors import Place, cursor_at, place_of
from viral.web.dashboard.rendering import render
from viral.web.dashboard.switcher import page_of, send_page
from viral.web.dashboard.views import ActivityPage, ActivityRow
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.door import admins_only
from viral.web.requests import WebRequest
from viral.web.site import Site

PAGE = "/settings/activity"
PURPOSE = "activity cursor"
ROWS_SHOWN = 50
_ACTIONS = get_args(Action)


@get(PAGE, guards=[admins_only], include_in_schema=False)
async def show_activity(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    session: Transaction,
    action: FromQuery[str] = "",
    cursor: FromQuery[str | None] = None,
) -> Response[str]:
    """Show who did what, newest first."""
    site: Site = request.app.state.site
    entries = await list_entries(
        session,
        limit=ROWS_SHOWN + 1,
        action=action or None,
        before=place_of(site, identity.tenant_id, cursor, purpose=PURPOSE),
    )
    rest, entries = entries[ROWS_SHOWN:], entries[:ROWS_SHOWN]
    older_url = None
    if rest:
        last = Place(entries[-1].created_at, entries[-1].id)
        older = cursor_at(site, identity.tenant_id, last, purpose=PURPOSE)
        older_url = f"{PAGE}?{urlencode({'action': action, 'cursor': older})}"
    emails = await emails_of(session, {each.user_id for each in entries if each.user_id})
    shown = ActivityPage(
        rows=tuple(
            _row(each, emails[each.user_id] if each.user_id else "the system") for each in entries
        ),
        actions=_ACTIONS,
        action=action,
        is_first=cursor is None,
        older_url=older_url,
    )
    tenant = await own_tenant(session)
    page = await page_of(request, identity, session, tenant, now=runtime.clock())
    return send_page(request, render("activity.html", page=page, activity=shown))


def _row(entry: AuditEntry, who: str) -> ActivityRow:
    return ActivityRow(
        made_at=entry.created_at,
        who=who,
        action=entry.action,
        subject=entry.subject,
        details=tuple((name, str(value)) for name, value in entry.details.items()),
        address=entry.address,
    )


ROUTES: Final = (show_activity,)
