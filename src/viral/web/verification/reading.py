"""Attacks that only read: ids of the victim, answers, caches, headers, and no session at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from uuid import UUID

from viral.features.verification.planting import new_mark, plant
from viral.features.verification.verdicts import Target, Verdict, held, leaked, not_applicable
from viral.web.verification.judging import (
    compare,
    content,
    fails,
    inner_words,
    inner_words_in_logs,
    is_refused,
    marks_in,
    shown,
    words,
)
from viral.web.verification.stage import Stage, ids_by_table, leads_out, own_id
from viral.web.verification.visitor import HOST, Body, Reply
from viral.web.verification.ways import METHODS, Way

OTHER_METHODS = "methods that it does not take"
HOST_OF_VICTIM = "a host of the victim"
_LATER = "Fri, 31 Dec 9999 23:59:59 GMT"

# What an attacker could write into a request to be taken for the victim.
HEADERS = {
    HOST_OF_VICTIM: {"host": "{slug}." + HOST},
    "headers of a proxy": {
        "forwarded": "host={slug}." + HOST,
        "x-forwarded-host": "{slug}." + HOST,
        "x-forwarded-user": "{user}",
        "x-original-url": "/api/v1/tenant?tenant_id={tenant}",
    },
    "headers that name a tenant": {
        "x-tenant": "{slug}",
        "x-tenant-id": "{tenant}",
        "x-user-id": "{user}",
    },
}


async def ask_for_row(stage: Stage, target: Target) -> Verdict:
    """B01: an id of the victim is answered like a random one."""
    way = stage.ways[target.object]
    identity = ids_by_table(stage.arena.victim)[target.statement]
    return await compare(stage, way.name, partial(_ask, stage, way), identity)


async def ask_for_slug(stage: Stage, target: Target) -> Verdict:
    """B01: the victim's slug, where a path takes a word, is answered like another one."""
    way = stage.ways[target.object]
    slug = stage.arena.victim.slug

    async def send(identity: UUID) -> Reply:
        is_theirs = identity == stage.arena.victim.tenant_id
        return await stage.ask(way, identity=identity, word=slug if is_theirs else f"v{identity}")

    return await compare(stage, f"{way.name} word", send, stage.arena.victim.tenant_id, slug)


async def ask_by_other_methods(stage: Stage, target: Target) -> Verdict:
    """B01: methods that a path does not take answer to the victim's ids as to random ones."""
    way = stage.ways[target.object]
    taken = {each.method for each in stage.ways.values() if each.path == way.path}
    identity = next(iter(ids_by_table(stage.arena.victim).values()))
    for method in sorted(set(METHODS) - taken):
        send = partial(_ask, stage, replace(way, method=method))
        verdict = await compare(stage, f"{method} {way.path}", send, identity)
        if verdict.result != "held":
            return verdict
    return held("refused, like a random id")


async def look_through(stage: Stage, target: Target) -> Verdict:
    """B08: what the attacker is shown holds nothing of the victim."""
    way = stage.ways[target.object]
    reply = await stage.ask(way, identity=own_id(stage.arena.attacker, way))
    found = shown(stage, reply) or fails(reply)
    if found:
        return found
    if stage.victim is None:
        return held(f"{reply.status}, with none of {len(stage.marks)} ids")
    identity = own_id(stage.arena.victim, way)
    own = marks_in(stage, await stage.victim.ask(way.method, way.address(identity)))
    if not own:
        return not_applicable("the victim itself is shown nothing of its own there")
    return held(f"{reply.status}, with none of the {own} ids and texts that the victim is shown")


async def count_along(stage: Stage, target: Target) -> Verdict:
    """B08: what the attacker is shown does not change when the victim gets more rows."""
    way = stage.ways[target.object]
    if not stage.growth:
        await _let_grow(stage)
    answers = stage.growth[way.name]
    own = [theirs for _, theirs in answers]
    if own[1] == own[2]:
        return not_applicable("the victim's own answer does not change either")
    first, again, grown, after = (answer for answer, _ in answers)
    if first != again:
        return not_applicable("the attacker's answer changes by itself")
    if again != grown != after:
        return leaked("it changes with the victim's rows")
    return held("the victim's own answer changes, the attacker's does not")


async def ask_with_header(stage: Stage, target: Target) -> Verdict:
    """B07: a header does not choose the tenant."""
    way = stage.ways[target.object]
    victim = stage.arena.victim
    headers = {
        name: value.format(slug=victim.slug, tenant=victim.tenant_id, user=victim.user_id)
        for name, value in HEADERS[target.statement].items()
    }
    reply = await stage.ask(way, identity=own_id(stage.arena.attacker, way), headers=headers)
    found = shown(stage, reply) or fails(reply)
    if found:
        return found
    if target.statement == HOST_OF_VICTIM and not is_refused(stage, reply):
        return leaked(f"{reply.status}: a foreign host is answered")
    return held(f"{words(stage, reply)}, with nothing of the victim")


async def ask_cache(stage: Stage, target: Target) -> Verdict:
    """B10: what was kept for the victim is not served to the attacker."""
    way = stage.ways[target.object]
    identity = own_id(stage.arena.attacker, way)
    # "*" would be met by whatever the attacker has (RFC 9110, section 13.1.2).
    known = '"unknown"'
    if stage.victim is not None:
        own = way.address(own_id(stage.arena.victim, way))
        theirs = await stage.victim.ask(way.method, own)
        known = theirs.header("etag") or known
    for headers in ({"if-none-match": known}, {"if-modified-since": _LATER}):
        reply = await stage.ask(way, identity=identity, headers=headers)
        found = shown(stage, reply) or fails(reply)
        if found:
            return found
        if reply.status == HTTPStatus.NOT_MODIFIED and not way.is_public:
            return leaked("304: the attacker is told what the victim's copy is worth")
    kept = reply.header("cache-control")
    if not way.is_public and "no-store" not in kept and "private" not in kept:
        return leaked("the answer may be kept and shown to others: it has no Cache-Control")
    return held(f"{reply.status}, Cache-Control: {kept or 'none, and holds no data'}")


async def come_as_stranger(stage: Stage, target: Target) -> Verdict:
    """B01: without a session every way is closed, but those that are open to all."""
    way = stage.ways[target.object]
    if not way.is_http:
        return leaked("it is not HTTP: nobody stands at its door")
    reply = await stage.stranger().ask(
        way.method, way.address(own_id(stage.arena.victim, way), "verification")
    )
    found = shown(stage, reply)
    if found:
        return found
    if way.is_public:
        return held(f"{reply.status}, open to all, with nothing of the victim")
    if leads_out(reply):
        return held(f"{reply.status}" + (" to the door" if reply.header("location") else ""))
    return leaked(f"{reply.status} to somebody who is not signed in")


async def provoke(stage: Stage, target: Target) -> Verdict:
    """B20: answers and logs of failures hold no SQL, no values of the database, no secret."""
    way = stage.ways[target.object]
    began, stage.standing = len(stage.logs), None
    statuses = []
    async for reply in _failures(stage, way):
        found = shown(stage, reply)
        if found:
            return found
        inner = inner_words(stage, reply.text)
        if inner:
            return leaked(f"{reply.status}, with {inner}")
        statuses.append(str(reply.status))
    inner = inner_words_in_logs(stage, stage.logs[began:])
    if inner:
        return leaked(f"the log holds {inner}")
    return held(f"{', '.join(sorted(set(statuses)))}; nothing of the inside in answers or log")


async def _failures(stage: Stage, way: Way) -> AsyncIterator[Reply]:
    """Send what cannot be understood or stored."""
    identity = stage.arena.attacker.tenant_id
    for word in ("\x00", "'", "x" * 5000):
        query = {name: word for name, _ in way.query} | {"verification": word}
        yield await stage.ask(way, identity=identity, query=query)
    if way.has_body:
        for text in ("{", "[]", "null", '{"a": "\\u0000"}', "[{}]", '"\\ud800"'):
            yield await stage.ask(
                way, identity=identity, body=Body(text.encode(), "application/json")
            )
        broken = Body(b"--x\r\n\xff", "multipart/form-data; boundary=x")
        yield await stage.ask(way, identity=identity, body=broken)


async def _let_grow(stage: Stage) -> None:
    """Keep what both are shown on every way: twice as it is, and after each of two plantings."""
    assert stage.victim is not None
    identity = stage.arena.attacker.tenant_id
    for grows in (False, False, True, True):
        if grows:
            mark = new_mark()
            await plant(stage.arena, mark)
            stage.marks.add(mark)
            stage.standing = None
        # Else the attacker's own use is written down meanwhile, which looks like a leak.
        await stage.application.state.usage.write(stage.runtime.system)
        for way in stage.ways.values():
            if way.is_safe and not way.parameters:
                reply = await stage.ask(way, identity=identity)
                theirs = await stage.victim.ask(way.method, way.address(identity))
                stage.growth.setdefault(way.name, []).append(
                    (content(stage, reply), content(stage, theirs))
                )


async def _ask(stage: Stage, way: Way, identity: UUID) -> Reply:
    return await stage.ask(way, identity=identity)
