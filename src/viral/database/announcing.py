"""News of what changed, sent after the commit: ids and kinds, never content.

A session notices by itself which tables its transaction wrote (`note_rows`, `note_statement`).
That is sent on one channel once it is committed, at most every 50 ms by a process, and once for
each tenant and kind: a NOTIFY in the transaction itself would take a lock of the whole server.
Nobody may rely on it, and news of another tenant that somebody makes up do no more than let that
tenant's pages look again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias
from uuid import UUID  # noqa: TC003 - msgspec reads the annotations

import msgspec
from sqlalchemy.sql.dml import UpdateBase

from viral.database.waking import Coalesced

if TYPE_CHECKING:
    from sqlalchemy.orm import ORMExecuteState, Session

    from viral.database.calls import Calls

Kind: TypeAlias = Literal[
    "concepts", "jobs", "trends", "results", "reflexion", "keys", "people", "quota"
]
CHANNEL: Final = "viral_news"
PAUSE_S: Final = 0.05
# A payload of NOTIFY is shorter than 8000 bytes (PostgreSQL manual, NOTIFY); one piece has 96.
PIECES_AT_ONCE: Final = 80

# What a page that shows such rows is to be told. The log is written with every deed of people.
KINDS: Final[dict[str, tuple[Kind, ...]]] = {
    "trends": ("trends",),
    "trend_sources": ("trends",),
    "concepts": ("concepts", "quota"),
    "concept_variants": ("concepts",),
    "experiments": ("concepts",),
    "performance_feedback": ("results",),
    "self_critiques": ("reflexion",),
    "reflexion_insights": ("reflexion",),
    "scoring_adjustments": ("reflexion",),
    "job_queue": ("jobs",),
    "tenants": ("quota",),
    "api_keys": ("keys",),
    "memberships": ("people",),
    "invitations": ("people",),
    "audit_log": ("people", "keys"),
}
# Rows of everybody's: news of them have no tenant.
SHARED: Final = frozenset({"trends", "trend_sources"})
# In a session's `info`: what its transaction changed. None where nobody is to be told.
NEWS: Final = "news"


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """Something changed: of one tenant, or of all; one row, or several where `id` is None."""

    tenant_id: UUID | None
    kind: Kind
    id: UUID | None = None


class News:
    """What changed, each tenant and kind once."""

    def __init__(self) -> None:
        self._pieces: dict[tuple[UUID | None, Kind], UUID | None] = {}

    def __len__(self) -> int:
        return len(self._pieces)

    def add(self, tenant_id: UUID | None, kind: Kind, row_id: UUID | None = None) -> None:
        """Note a change; of two rows neither is named."""
        key = tenant_id, kind
        self._pieces[key] = row_id if self._pieces.get(key, row_id) == row_id else None

    def take(self) -> list[Piece]:
        """Return what was noted, and forget it."""
        taken = [Piece(*key, row_id) for key, row_id in self._pieces.items()]
        self._pieces.clear()
        return taken


class Announcing:
    """Sends news of one role's transactions."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._news = News()
        self._sending = Coalesced(self._send, self._news, pause_s=PAUSE_S)

    def announce(self, piece: Piece) -> None:
        """Tell who listens, at once or 50 ms after the last time."""
        self._news.add(piece.tenant_id, piece.kind, piece.id)
        self._sending.soon()

    async def close(self) -> None:
        """Send what is left, and stop."""
        await self._sending.close()

    async def _send(self) -> None:
        pieces = self._news.take()
        # Ids and kinds hold no quote; `pg_notify`, which takes parameters, is nobody's to call.
        payloads = [
            msgspec.json.encode(pieces[start : start + PIECES_AT_ONCE]).decode()
            for start in range(0, len(pieces), PIECES_AT_ONCE)
        ]
        await self._calls.run(";".join(f"NOTIFY {CHANNEL}, '{each}'" for each in payloads))


def pieces_of(payload: str) -> list[Piece]:
    """Read what was sent; nothing where somebody else sent something else."""
    try:
        return msgspec.json.decode(payload, type=list[Piece])
    except msgspec.DecodeError:
        return []


def note_rows(session: Session) -> None:
    """Notice the rows that a flush wrote."""
    if session.info.get(NEWS) is None:
        return
    for row in (*session.new, *session.dirty, *session.deleted):
        table = row.__tablename__
        owner = row.id if table == "tenants" else getattr(row, "tenant_id", None)
        for kind in KINDS.get(table, ()):
            _add(session, table, kind, tenant_id=owner, row_id=getattr(row, "id", None))


def note_statement(state: ORMExecuteState) -> None:
    """Notice the table that a statement writes."""
    if state.session.info.get(NEWS) is None or not isinstance(state.statement, UpdateBase):
        return
    table = state.statement.entity_description["table"].name
    for kind in KINDS.get(table, ()):
        _add(state.session, table, kind)


def _add(
    session: Session,
    table: str,
    kind: Kind,
    *,
    tenant_id: UUID | None = None,
    row_id: UUID | None = None,
) -> None:
    tenant_id = tenant_id or session.info.get("tenant_id")
    if table in SHARED:
        session.info[NEWS].add(None, kind)
    elif tenant_id is not None:
        # Whose it is, a statement of the system's does not say: those pages look again later.
        session.info[NEWS].add(tenant_id, kind, row_id)
