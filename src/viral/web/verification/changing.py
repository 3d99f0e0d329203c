"""Attacks that try to change something: by fields, by foreign ids, by proofs of the victim."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from uuid import UUID

import msgspec

from viral.database.tenancy import token_hash
from viral.features.verification.verdicts import Target, Verdict, held, leaked, not_applicable
from viral.schema.base import uuid7
from viral.web.verification.bodies import add, encode, put, sample_body, takes
from viral.web.verification.judging import (
    begin_anew,
    changed,
    compare,
    fails,
    is_refused,
    shown,
    words,
)
from viral.web.verification.stage import Stage, fitting_ids, ids_by_table, leads_out
from viral.web.verification.visitor import NO_BODY, NO_REPLY, Reply, Visitor
from viral.web.verification.ways import Way

# Fields that nobody may choose for itself; an id stands for one of the victim.
FIELDS: dict[str, object] = {
    "id": UUID,
    "is_operator": True,
    "monthly_quota": 1_000_000,
    "plan": "AGENCY",
    "quota": 1_000_000,
    "role": "ADMIN",
    "subscription_tier": "AGENCY",
    "tenant": UUID,
    "tenant_id": UUID,
    "user_id": UUID,
}
CURSOR = "a cursor of the victim"
FORM_TOKEN = "a form token of the victim"  # noqa: S105 - it names an attack
HASH = "the victim's session, by what is stored of it"
NOTE = "a note that was left for the victim"
PROOFS = (HASH, NOTE)


async def assign(stage: Stage, target: Target) -> Verdict:
    """B02: fields that nobody may choose are refused or ignored: all at once, else one by one."""
    way = stage.ways[target.object]
    fields = [name for name in FIELDS if not takes(way, name)]
    if stage.standing is None:
        await changed(stage, NO_REPLY)
    reply = await _assign(stage, way, fields)
    verdict = await _judge(stage, way, reply, fields)
    if verdict.result == "leaked" or is_refused(stage, reply) or not way.has_body:
        return verdict
    for name in fields:
        each = await _judge(stage, way, await _assign(stage, way, [name]), [name])
        if each.result == "leaked":
            return leaked(f"{name}: {each.detail}")
    return verdict


async def _assign(stage: Stage, way: Way, fields: list[str]) -> Reply:
    body: object = sample_body(way) if way.has_body else None
    for name in fields:
        body = add(body, name, _value(stage, name))
    query = {name: str(_value(stage, name)) for name in fields}
    return await stage.ask(way, identity=uuid7(), query=query, body=encode(way, body))


async def _judge(stage: Stage, way: Way, reply: Reply, fields: list[str]) -> Verdict:
    values = [_value(stage, name) for name in fields]
    found = shown(stage, reply, *map(str, values))
    if found:
        await begin_anew(stage)
        return found
    found = None if way.is_safe else await changed(stage, reply)
    found = found or fails(reply)
    if found:
        return found
    ids = (str(value) for value in values if isinstance(value, UUID))
    if not is_refused(stage, reply) and any(each in reply.text for each in ids):
        return leaked(f"{reply.status}: the id was taken from the sender")
    return held(f"{words(stage, reply)}, and nothing changed")


async def send_foreign_id(stage: Stage, target: Target) -> Verdict:
    """B03: an id of the victim in a body or a query is answered like a random one."""
    way = stage.ways[target.object]
    send = partial(_send_id, stage, way, target.statement)
    name = target.statement.rpartition(".")[2].rpartition(" ")[2]
    return await _compare(stage, f"{way.name} {target.statement}", send, name)


async def change_row(stage: Stage, target: Target) -> Verdict:
    """B01: a change by an id of the victim is answered like one by a random id."""
    way = stage.ways[target.object]
    send = partial(_change, stage, way)
    return await _compare(stage, way.name, send, way.parameters[0][0])


async def _compare(
    stage: Stage, key: str, send: Callable[[UUID], Awaitable[Reply]], name: str
) -> Verdict:
    """Compare with every id of the victim that may belong where a field of that name is."""
    if stage.standing is None:
        await changed(stage, NO_REPLY)
    verdict = not_applicable("the victim has no id")
    for identity in fitting_ids(stage.arena.victim, name):
        verdict = await compare(stage, key, send, identity)
        if verdict.result == "leaked":
            await begin_anew(stage)
            return verdict
    return await changed(stage, NO_REPLY) or verdict


async def use_cursor(stage: Stage, target: Target) -> Verdict:
    """B06: a cursor that was made for the victim is refused."""
    way = stage.ways[target.object]
    assert stage.victim is not None
    identity = stage.arena.attacker.tenant_id
    # A page of one row, so that it does not end there.
    page = await stage.victim.ask(way.method, way.address(identity), query={"limit": "1"})
    cursors = list(_cursors(page.json))
    if not cursors:
        return not_applicable("the victim's list has one page")
    reply = await stage.ask(way, identity=identity, query={"cursor": cursors[0]})
    found = shown(stage, reply)
    if found:
        return found
    if not is_refused(stage, reply):
        return leaked(f"{reply.status}: the place in the victim's list is taken")
    return held(f"{words(stage, reply)}")


async def use_form_token(stage: Stage, target: Target) -> Verdict:
    """B06: a form token that the victim's browser got is none of the attacker's."""
    way = stage.ways[target.object]
    assert stage.victim is not None
    cookie = stage.site.csrf_cookie
    await stage.victim.ask("POST", "/verification")
    token = stage.victim.cookies[cookie]
    body = encode(way, sample_body(way)) if way.has_body else NO_BODY
    # The attacker's browser has one of its own before it sends the victim's.
    await stage.ask(way, identity=uuid7(), method="POST")
    reply = await stage.ask(way, identity=uuid7(), headers={"x-csrftoken": token}, body=body)
    stage.standing = None
    if reply.status != HTTPStatus.FORBIDDEN:
        without = await stage.ask(way, identity=uuid7(), headers={"x-csrftoken": ""}, body=body)
        if way.is_public and without.status == reply.status:
            return not_applicable("no form token is asked for there: the message proves itself")
        return leaked(f"{reply.status}: the form is taken")
    return held(f"{words(stage, reply)}")


async def use_proof(stage: Stage, target: Target) -> Verdict:
    """B06: what is kept or sealed for the victim opens nothing for the attacker."""
    return await _PROOFS[target.statement](stage)


async def _use_stored_session(stage: Stage) -> Verdict:
    assert stage.victim is not None
    name = stage.site.session_cookie
    token = stage.victim.cookies[name]
    stored = token_hash(token)
    closed = [each for each in stage.ways.values() if each.is_safe and not each.parameters]
    for forged in (stored.hex(), f"\\x{stored.hex()}", str(stage.arena.victim.user_id), token[:-1]):
        visitor = Visitor(stage.application, stage.site.csrf_cookie, {name: forged})
        for way in closed:
            reply = await visitor.ask(way.method, way.path)
            found = shown(stage, reply)
            if found:
                return found
            if not way.is_public and not leads_out(reply):
                nobody = await stage.stranger().ask(way.method, way.path)
                if leads_out(nobody):
                    return leaked(f"{way.name}: {reply.status}")
    return held("nobody is signed in by it")


async def _use_note(stage: Stage) -> Verdict:
    assert stage.victim is not None
    site = stage.site
    mark = f"verify-{secrets.token_hex(8)}"
    note = msgspec.json.encode({"kind": "info", "message": mark})
    token = stage.victim.cookies[site.session_cookie]
    sealed = site.seals.seal("flash", token, note)
    theirs = await _home(stage, stage.victim, sealed)
    own = await _home(stage, stage.attacker, sealed)
    if mark in own.text:
        return leaked(f"{own.status}: the attacker reads it")
    if mark not in theirs.text:
        return not_applicable("the victim is not shown it either")
    return held(f"{own.status}, without it")


_PROOFS = {HASH: _use_stored_session, NOTE: _use_note}


async def _home(stage: Stage, visitor: Visitor, sealed: str) -> Reply:
    cookies = visitor.cookies | {stage.site.flash_cookie: sealed}
    return await Visitor(stage.application, stage.site.csrf_cookie, cookies).ask("GET", "/")


async def _change(stage: Stage, way: Way, identity: UUID) -> Reply:
    body = encode(way, sample_body(way)) if way.has_body else NO_BODY
    return await stage.ask(way, identity=identity, body=body)


async def _send_id(stage: Stage, way: Way, place_name: str, identity: UUID) -> Reply:
    """Send an id at a place: `body accounts.0.id`, `query before`."""
    where, _, path = place_name.partition(" ")
    if where == "query":
        return await stage.ask(way, identity=uuid7(), query={path: str(identity)})
    place = tuple(int(step) if step.isdigit() else step for step in path.split("."))
    body = put(sample_body(way, place), place, str(identity))
    return await stage.ask(way, identity=uuid7(), body=encode(way, body))


def _value(stage: Stage, name: str) -> object:
    if FIELDS[name] is not UUID:
        return FIELDS[name]
    victim = stage.arena.victim
    if name == "id":
        return next(iter(ids_by_table(victim).values()))
    return victim.user_id if name == "user_id" else victim.tenant_id


def _cursors(document: object) -> list[str]:
    if not isinstance(document, Mapping):
        return []
    return [str(value) for name, value in document.items() if "cursor" in str(name) and value]
