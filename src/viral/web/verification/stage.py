"""The application at work for one run: who is signed in, and what must not come out of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import NamedTuple
from uuid import UUID

import msgspec
import structlog
from litestar import Litestar

from viral.database.tenancy import token_hash
from viral.features.users.members import add_member
from viral.features.users.sessions import make_sign_in_link, open_session
from viral.features.verification.arena import Arena
from viral.features.verification.parties import Party
from viral.features.verification.planting import hold_learning_back
from viral.runtime import Runtime
from viral.web.site import Site
from viral.web.verification.visitor import NO_BODY, Body, Reply, Visitor
from viral.web.verification.ways import Way, ways_of

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
# Where those are sent who are not signed in.
DOOR = {"/", "/sign-in"}
_WORD = re.compile(r"'(verify-[0-9a-z-]+)'")


class Told(NamedTuple):
    """What an answer tells: in full, and by its shape."""

    full: tuple[object, ...]
    shape: tuple[object, ...]


@dataclass(slots=True)
class Stage:
    """An application that runs in this process; `begin` signs both sides in to it."""

    application: Litestar
    logs: list[Mapping[str, object]]
    ways: dict[str, Way] = field(init=False)
    arena: Arena = field(init=False)
    attacker: Visitor = field(init=False)
    victim: Visitor | None = field(init=False, default=None)
    # What the victim alone holds: its ids, and texts of its rows.
    marks: set[str] = field(init=False)
    # Keys, passwords and sessions: no answer and no log holds them.
    secrets: set[str] = field(init=False)
    # What attacker and victim were shown on a way, while the victim got more rows.
    growth: dict[str, list[tuple[str, str]]] = field(init=False, default_factory=dict)
    # What random ids were answered.
    nobody: dict[str, Told] = field(init=False, default_factory=dict)
    # The digest of what must not change, as it was last.
    standing: object = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.ways = ways_of(self.application)

    @property
    def site(self) -> Site:
        site = self.application.state.site
        assert isinstance(site, Site)
        return site

    @property
    def runtime(self) -> Runtime:
        runtime = self.application.state.runtime
        assert isinstance(runtime, Runtime)
        return runtime

    async def begin(self, arena: Arena) -> Stage:
        """Sign both sides in, once a run; a tenant that exists is left alone."""
        if getattr(self, "arena", None) is arena:
            return self
        self.arena = arena
        self.growth, self.nobody = {}, {}
        self.standing = None
        self.marks = marks_of(arena.victim) - marks_of(arena.attacker)
        self.secrets = _secrets_of(self.runtime, arena)
        await hold_learning_back(arena)
        self.attacker = await self._signed_in(arena.attacker)
        self.victim = await self._signed_in(arena.victim) if arena.victim.is_made else None
        return self

    def stranger(self) -> Visitor:
        """Come as somebody without a session."""
        return Visitor(self.application, self.site.csrf_cookie)

    async def ask(
        self,
        way: Way,
        *,
        identity: UUID,
        word: str = "",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body = NO_BODY,
        method: str | None = None,
    ) -> Reply:
        """Go a way as the attacker; where a request before ended its session, with a new one."""
        path = way.address(identity, word)
        for is_first in (True, False):
            reply = await self.attacker.ask(
                method or way.method, path, query=query, headers=headers, body=body
            )
            is_over = self.site.session_cookie in reply.cookies
            is_out = is_first and not way.is_public and leads_out(reply)
            if is_over or is_out:
                self.attacker = await self._signed_in(self.arena.attacker)
            if not is_out:
                break
        return reply

    def note_in(self, reply: Reply) -> Mapping[str, object]:
        """Open the note that a page leaves for the attacker's next one."""
        sealed = reply.cookies.get(self.site.flash_cookie, "")
        token = self.attacker.cookies[self.site.session_cookie]
        content = self.site.seals.open("flash", token, sealed) if sealed else None
        return {} if content is None else msgspec.json.decode(content, type=dict[str, object])

    async def _signed_in(self, party: Party) -> Visitor:
        """Open a session as an admin of the party's tenant, by the product's own functions."""
        async with self.runtime.system.session_without_tenant() as session:
            await add_member(
                session, tenant_id=party.tenant_id, user_id=party.user_id, role="ADMIN"
            )
            link = await make_sign_in_link(
                session, tenant_id=party.tenant_id, user_id=party.user_id, now=datetime.now(UTC)
            )
        async with self.runtime.app.session_without_tenant() as session:
            token = (await open_session(session, link)).token
        self.secrets |= {link, token, token_hash(token).hex()}
        cookies = {self.site.session_cookie: token}
        return Visitor(self.application, self.site.csrf_cookie, cookies)


def marks_of(party: Party) -> set[str]:
    """Collect what stands in the rows of a party and nowhere else."""
    marks = {str(party.tenant_id)}
    for row in party.rows.values():
        if "id" in row:
            marks.add(row["id"].strip("'"))
        marks.update(word for value in row.values() for word in _WORD.findall(value))
    if party.is_made:
        marks |= {party.slug, str(party.user_id), party.rows["public.users"]["email"].strip("'")}
    return marks


def ids_by_table(party: Party) -> dict[str, UUID]:
    """List the id of one row a table."""
    return {
        name: UUID(row["id"].strip("'"))
        for name, row in sorted(party.rows.items())
        if "id" in row and _UUID.fullmatch(row["id"].strip("'"))
    }


def leads_out(reply: Reply) -> bool:
    """Tell whether somebody is sent away who is not signed in; a page's own answer has a note."""
    if reply.status == HTTPStatus.SEE_OTHER:
        return reply.header("location") in DOOR and not reply.cookies
    return reply.status == HTTPStatus.UNAUTHORIZED


def fitting_ids(party: Party, name: str) -> list[UUID]:
    """List the ids of a party that a parameter or field of that name may mean, the likeliest first.

    Where the name tells nothing they are all ids there are.
    """
    stem = name.removesuffix("s").removesuffix("_id")
    tables = ids_by_table(party)
    likely = sorted((each for each in tables if stem in each), key=len) if stem != "id" else []
    found = [tables[each] for each in likely or tables]
    return list(dict.fromkeys([*found, party.tenant_id, party.user_id]))


def own_id(party: Party, way: Way) -> UUID:
    """Return the id of a party's row that a way leads to, as its parameter is called."""
    return fitting_ids(party, way.parameters[0][0])[0] if way.parameters else party.tenant_id


@contextmanager
def kept_logs() -> Iterator[list[Mapping[str, object]]]:
    """Keep what the application logs from the screen, and to be looked through."""
    entries: list[Mapping[str, object]] = []
    before = structlog.get_config()

    def keep(_logger: object, _method: str, entry: Mapping[str, object]) -> str:
        entries.append(dict(entry))
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.contextvars.merge_contextvars, keep])
    try:
        yield entries
    finally:
        structlog.configure(**before)


def _secrets_of(runtime: Runtime, arena: Arena) -> set[str]:
    keys = (runtime.secrets.context_key, runtime.secrets.word_key, runtime.secrets.pepper)
    passwords = (runtime.secrets.password(role) for role in arena.probes)
    return {*(key.hex() for key in keys), *passwords, arena.victim.token, arena.attacker.token}
