"""What an answer tells: to compare it with another, and to find in it what is not the asker's."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from uuid import UUID

from viral.features.verification.planting import (
    rights_of_attacker,
    rows_of_victim,
    take_rights_back,
)
from viral.features.verification.verdicts import Verdict, held, leaked, not_applicable
from viral.schema.base import uuid7
from viral.web.verification.stage import Stage, Told
from viral.web.verification.visitor import Reply

_CHANGING = re.compile(
    r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|verify-[0-9a-z-]+|[0-9a-f]{64,128}"
)
_FORM_TOKEN = re.compile(r'name="_csrf_token" value="[^"]*"')
# How PostgreSQL, its driver and Python speak: words that no answer and no log may hold.
_INNER = re.compile(
    r"DETAIL:|\bSELECT\b.+\bFROM\b|\bINSERT INTO\b|\bUPDATE\b.+\bSET\b|Traceback \(most|"
    r"sqlalchemy\.|asyncpg\.|\b(?:uq|fk|ck|pk|ix)_[a-z]+_|violates .+ constraint|\bviral_[a-z]+@",
    re.DOTALL,
)


def is_refused(stage: Stage, reply: Reply) -> bool:
    """Tell whether an answer is an error, to a program or to a person."""
    return reply.status >= HTTPStatus.BAD_REQUEST or stage.note_in(reply).get("kind") == "error"


def words(stage: Stage, reply: Reply) -> str:
    """Say the status and the code of an answer."""
    return f"{reply.status} {code_of(stage, reply)}".strip()


async def compare(
    stage: Stage, key: str, send: Callable[[UUID], Awaitable[Reply]], identity: UUID, *sent: str
) -> Verdict:
    """Send an id of the victim: it has to be answered like a random one.

    The answer to a random id is remembered under `key`, and asked for again before a leak is told:
    something else may have changed it.
    """
    if key not in stage.nobody:
        stage.nobody[key] = told(stage, await send(uuid7()))
    theirs = await send(identity)
    found = shown(stage, theirs, str(identity), *sent)
    if found:
        return found
    answer, expected = told(stage, theirs), stage.nobody[key]
    if answer != expected:
        nobody = stage.nobody[key] = told(stage, await send(uuid7()))
        if is_told_apart(answer, expected, nobody):
            return leaked(f"{words(stage, theirs)}, which tells it from a random id")
    if fails(theirs):
        return not_applicable(f"{theirs.status} for a random id too: it fails, which says nothing")
    if theirs.status == HTTPStatus.NOT_FOUND or code_of(stage, theirs) == "not_found":
        return held(f"{words(stage, theirs)}, like a random id")
    return held(f"{words(stage, theirs)} whatever the id, like a random one")


async def changed(stage: Stage, reply: Reply) -> Verdict | None:
    """Say that the victim's rows, or what the attacker may do, are not what they were."""
    before = stage.standing
    stage.standing = (await rows_of_victim(stage.arena), await rights_of_attacker(stage.arena))
    if before is None or before == stage.standing:
        return None
    await begin_anew(stage)
    return leaked(f"{reply.status}: the victim's rows or the attacker's own rights were changed")


async def begin_anew(stage: Stage) -> None:
    """After a leak: what came of it must not be taken for the work of the next attack."""
    await take_rights_back(stage.arena)
    stage.standing = None


def code_of(stage: Stage, reply: Reply) -> str:
    """Return the code of an error, as programs or as people are told it; empty where none is."""
    document = reply.json
    if isinstance(document, Mapping) and reply.status >= HTTPStatus.BAD_REQUEST:
        return str(document.get("code", ""))
    return str(stage.note_in(reply).get("code") or "")


def told(stage: Stage, reply: Reply) -> Told:
    """Return what an answer tells: all of it, and its shape for answers that are made anew."""
    note = stage.note_in(reply)
    said = _CHANGING.sub("", str(note.get("message", "")))
    head = (reply.status, code_of(stage, reply), reply.header("location"), said)
    text = _CHANGING.sub("", content(stage, reply))
    return Told((*head, text), (*head, _shape(reply.json)))


def is_told_apart(answer: Told, *nobody: Told) -> bool:
    """Tell whether an answer differs from those to random ids where these are the same."""
    return any(
        len({other[level] for other in nobody}) == 1 and answer[level] != nobody[0][level]
        for level in (0, 1)
    )


def content(stage: Stage, reply: Reply) -> str:
    """Return the text of an answer without what is made anew for every request."""
    text = _FORM_TOKEN.sub("", reply.body.decode(errors="replace"))
    for changing in (reply.header("x-request-id"), *stage.attacker.cookies.values()):
        text = text.replace(changing, "") if changing else text
    return text


def marks_in(stage: Stage, reply: Reply, *sent: str) -> int:
    """Count what an answer holds of the victim, beside what was sent to it."""
    text = reply.text
    return sum(mark in text for mark in stage.marks.difference(sent))


def shown(stage: Stage, reply: Reply, *sent: str) -> Verdict | None:
    """Say that an answer holds something of the victim, or a secret; None where it does not."""
    count = marks_in(stage, reply, *sent)
    if count:
        return leaked(f"{reply.status}, with {count} of the victim's ids and texts")
    if any(secret in reply.text for secret in stage.secrets):
        return leaked(f"{reply.status}, with a secret")
    return None


def fails(reply: Reply) -> Verdict | None:
    """Say that an answer tells nothing, for the application failed; None where it did not."""
    if reply.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return None
    return not_applicable(f"{reply.status}: it fails, which says nothing")


def inner_words(stage: Stage, text: str) -> str | None:
    """Return what of a text belongs inside: the database's words, or `a secret`."""
    if any(secret in text for secret in stage.secrets):
        return "a secret"
    found = _INNER.search(text)
    return None if found is None else "words of the database or of the program"


def inner_words_in_logs(stage: Stage, entries: Iterable[Mapping[str, object]]) -> str | None:
    """Look through log entries for the same."""
    for entry in entries:
        # Where an error arose is told by file and line.
        text = " ".join(str(value) for key, value in entry.items() if key != "where")
        found = inner_words(stage, text)
        if found is not None:
            return found
    return None


def _shape(value: object) -> object:
    """Return the shape of JSON: its names, lengths, whole numbers; texts by being there."""
    if isinstance(value, Mapping):
        return tuple(
            (key, _CHANGING.sub("", str(each)) if key in {"detail", "hint"} else _shape(each))
            for key, each in sorted(value.items())
        )
    if isinstance(value, list):
        return tuple(map(_shape, value))
    if isinstance(value, str | float):
        return type(value).__name__
    return value
