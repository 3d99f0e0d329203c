"""What goes past the tables: messages between sessions, jobs, and copies by pg_dump."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from asyncio.subprocess import PIPE
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from viral.errors import BinariesMissing
from viral.features.verification.planting import rows_of_victim
from viral.features.verification.relations import TENANT_ROLES
from viral.features.verification.verdicts import (
    Attack,
    Family,
    Target,
    Verdict,
    held,
    leaked,
    not_applicable,
)
from viral.postgres.binaries import find_binaries
from viral.schema.base import uuid7
from viral.schema.security import APP, MIGRATOR, WORKER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from viral.database.urls import ServerUrl
    from viral.features.verification.arena import Arena
    from viral.features.verification.parties import Party

_NEVER = "'9999-01-01 00:00:00+00'"
# A message is delivered within a millisecond; nothing is heard for as long as nothing is sent.
_LISTENING_S = 0.3
# Where functions of the database send messages to: the text after pg_notify( or NOTIFY.
_CHANNEL = re.compile(r"(?:pg_notify\s*\(\s*'|\bNOTIFY\s+\"?)([A-Za-z_][\w.:-]*)", re.IGNORECASE)
_SOURCES = (
    "SELECT p.prosrc FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n"
    " ON n.oid = p.pronamespace WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')"
)
_USUAL = ("events", "jobs", "job_queue", "viral", "viral_jobs", "worker")
_MESSAGES = "messages"
_JOBS = "public.job_queue"
_DENIED = "42501"

_WHOLE = "the whole database"
_ROWS = "what it may read, with row security"
_REFUSED = re.compile(rb"row-level security|permission denied|VT00[12]|query would be affected")
_CHUNK_BYTES = 65_536
_ROW = re.compile(rb"verify-[0-9a-f]{8}")


async def listen(arena: Arena, target: Target) -> Verdict:
    """A36: hear what is sent while jobs of the victim are put in and worked on."""
    channels, senders = await _channels(arena)
    async with _heard(arena, target.role, channels) as payloads:
        await _work_for_victim(arena)
        await asyncio.sleep(_LISTENING_S)
    words = {str(arena.victim.tenant_id), str(arena.victim.user_id), arena.victim.slug}
    if any(word in payload for payload in payloads for word in words):
        return leaked("a message names the victim")
    if any(_ROW.search(payload.encode()) for payload in payloads):
        return leaked("a message holds content of the victim")
    if payloads:
        return held(f"{len(payloads):,} messages, with neither tenant nor content")
    sending = f"functions that send: {senders}" if senders else "no function sends any"
    return held(f"nothing was heard on {len(channels)} channels; {sending}")


async def forge_message(arena: Arena, target: Target) -> Verdict:
    """A37: a forged message changes nothing: whoever hears it reads the table again."""
    channels, _ = await _channels(arena)
    job = await _put_job(arena)
    before = await rows_of_victim(arena)
    probe = arena.probe(target)
    states = set()
    for payload in (job, str(arena.victim.tenant_id), '{"status": "failed"}'):
        answer = await probe.keep(*(f"NOTIFY \"{each}\", '{payload}'" for each in channels))
        states.add(answer.state or "sent")
    await asyncio.sleep(_LISTENING_S)
    if await rows_of_victim(arena) != before:
        return leaked("the victim's rows were changed by it")
    return held(f"{', '.join(sorted(states))} on {len(channels)} channels, without effect")


async def ask_by_job(arena: Arena, target: Target) -> Verdict:
    """A48: a job of the attacker that names the victim stays the attacker's."""
    columns = "id, tenant_id, scope, job_type, payload, scheduled_for"
    # No RETURNING: it would be refused for what the attacker may not see, though the row is in.
    answer = await arena.ask(
        target,
        f"INSERT INTO {_JOBS} ({columns}) VALUES ({_FORGED[target.statement](arena)},"
        f" '{_payload(arena)}', {_NEVER})",
    )
    if target.statement == OWN:
        return await _work_for_attacker(arena, target)
    if answer.state == _DENIED:
        return held(answer.words)
    return leaked(f"it was not refused: {answer.words}")


async def copy_all(arena: Arena, target: Target) -> Verdict:
    """A44: pg_dump ends with an error, and what it wrote holds no row of the victim."""
    url = arena.url_of(target.role)
    program = _program(url, arena)
    if program is None:
        return not_applicable("there is no pg_dump on this machine that fits")
    arguments = [] if target.statement == _WHOLE else _with_row_security(arena, target.role)
    code, holds_victim, holds_own, errors = await _dump(program, url, arguments, arena)
    if holds_victim:
        return leaked("the copy holds rows of the victim")
    if code == 0 and target.statement == _WHOLE:
        return leaked("a copy was made: whoever takes it for a backup has lost rows")
    if code and not _REFUSED.search(errors):
        return not_applicable("pg_dump does not work with this server")
    own = "one's own rows, and " if holds_own else ""
    return held(f"exit code {code}, with {own}no row of the victim")


async def _channels(arena: Arena) -> tuple[list[str], int]:
    """List channels on which something may be sent, and count the functions that send."""
    answer = await arena.probes[MIGRATOR].ask(_SOURCES)
    found = [_CHANNEL.findall(str(source)) for (source,) in answer.rows]
    named = {name for names in found for name in names}
    own = {f"{name}{arena.victim.tenant_id}" for name in named}
    tables = {relation.plain_name for relation in arena.catalogue.tables_of_tenants()}
    return sorted(named | own | tables | set(_USUAL)), sum(bool(names) for names in found)


@asynccontextmanager
async def _heard(arena: Arena, role: str, channels: list[str]) -> AsyncIterator[list[str]]:
    payloads: list[str] = []

    def hear(_connection: object, _process: int, _channel: str, payload: object) -> None:
        payloads.append(str(payload))

    connection = arena.probes[role].connection
    for channel in channels:
        await connection.add_listener(channel, hear)
    try:
        yield payloads
    finally:
        for channel in channels:
            await connection.remove_listener(channel, hear)


async def _work_for_victim(arena: Arena) -> None:
    """Put a job of the victim in and call what a worker calls; jobs at work are left alone."""
    job = await _put_job(arena)
    nobody = uuid7()
    for call in (
        f"viral.claim_jobs('{nobody}', 'default', 0, '{nobody}', NULL, NULL, NULL, true)",
        f"viral.finish_jobs('{nobody}', '{{{job}}}', '{{0}}', '{{null}}', '{{null}}', '{{null}}')",
    ):
        await arena.probes[WORKER].keep(f"SELECT * FROM {call}")


async def _put_job(arena: Arena) -> str:
    job = str(uuid7())
    await arena.probes[APP].keep(
        f"INSERT INTO {_JOBS} (id, tenant_id, job_type, payload, scheduled_for) VALUES"
        f" ('{job}', '{arena.victim.tenant_id}', 'verify', '{{\"text\": \"verify-0c0ffee0\"}}',"
        f" {_NEVER})",
        context=arena.victim.token,
    )
    return job


async def _work_for_attacker(arena: Arena, target: Target) -> Verdict:
    """Do what a handler does: open the session of the job's tenant, and use the ids it is given."""
    for relation in arena.catalogue.tables_of_tenants():
        key = arena.victim.is_row(relation)
        if key is None or not relation.allowed(target.role, "SELECT"):
            continue
        answer = await arena.ask(target, f"SELECT 1 FROM {relation.name} WHERE {key}")
        if answer.touched:
            return leaked(f"its handler reads {relation.name}")
    return held("its handler works in the attacker's tenant, and finds none of the ids")


def _payload(arena: Arena) -> str:
    ids = {name: row["id"].strip("'") for name, row in arena.victim.rows.items() if "id" in row}
    return json.dumps({"tenant_id": str(arena.victim.tenant_id), **ids})


OWN = "of one's own, with the victim's ids in it"
_FORGED: dict[str, Callable[[Arena], str]] = {
    OWN: lambda arena: f"'{uuid7()}', '{arena.attacker.tenant_id}', 'tenant', 'verify'",
    "of the victim": lambda arena: f"'{uuid7()}', '{arena.victim.tenant_id}', 'tenant', 'verify'",
    "of the system": lambda _arena: f"'{uuid7()}', NULL, 'system', 'verify'",
}


async def _dump(
    program: str, url: ServerUrl, arguments: list[str], arena: Arena
) -> tuple[int, bool, bool, bytes]:
    process = await asyncio.create_subprocess_exec(
        program,
        "--data-only",
        "--no-password",
        "--lock-wait-timeout=5s",
        *arguments,
        f"--dbname={url.libpq(password=False)}",
        env={
            "LC_ALL": "C.UTF-8",
            "PGPASSWORD": url.password,
            "PGCONNECT_TIMEOUT": "10",
            "PGOPTIONS": f"-c app.tenant={arena.attacker.token}",
        },
        stdout=PIPE,
        stderr=PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        found, errors = await asyncio.gather(
            _found(process.stdout, (_ids(arena.victim), _ids(arena.attacker))),
            process.stderr.read(),
        )
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return code, 0 in found, 1 in found, errors


async def _found(stream: asyncio.StreamReader, lists: tuple[list[bytes], ...]) -> set[int]:
    """Look through a stream of any length for words of up to 64 bytes; the lists they are from."""
    found: set[int] = set()
    before = b""
    while chunk := await stream.read(_CHUNK_BYTES):
        text = before + chunk
        found.update(
            number for number, words in enumerate(lists) if any(word in text for word in words)
        )
        before = text[-64:]
    return found


def _ids(party: Party) -> list[bytes]:
    ids = [row["id"].strip("'") for row in party.rows.values() if "id" in row]
    return [each.encode() for each in (str(party.tenant_id), *ids)]


def _with_row_security(arena: Arena, role: str) -> list[str]:
    """Copy the tables that a role may read whole, under row security as pg_dump offers it."""
    tables = (
        f"--table={relation.name}"
        for relation in arena.catalogue.tables_of_tenants()
        if relation.kind == "r" and len(relation.allowed(role, "SELECT")) == len(relation.columns)
    )
    return ["--enable-row-security", *tables]


def _program(url: ServerUrl, arena: Arena) -> str | None:
    """Find pg_dump; the packaged programs speak no TLS."""
    if dict(url.tls).get("sslmode") in {None, "disable", "allow", "prefer"}:
        try:
            return find_binaries(arena.bindir).program("pg_dump")
        except BinariesMissing:
            return None
    return shutil.which("pg_dump", path=str(arena.bindir) if arena.bindir else None)


def _by_tenant_roles(_arena: Arena) -> Iterator[Target]:
    for role in TENANT_ROLES:
        yield Target(role, _MESSAGES)


def _forged(_arena: Arena) -> Iterator[Target]:
    for statement in _FORGED:
        yield Target(APP, _JOBS, statement=statement)


def _copies(_arena: Arena) -> Iterator[Target]:
    for role in TENANT_ROLES:
        for what in (_WHOLE, _ROWS):
            yield Target(role, "pg_dump", statement=what)


OUTSIDE = Family(
    "Messages, jobs and copies",
    (
        Attack(
            "A36",
            "LISTEN on all channels while the victim's jobs are worked on",
            "opaque ids only: no tenant, no content",
            "Whoever is connected hears what another client does.",
            "Send the id of the job alone, and let who hears it read the table.",
            _by_tenant_roles,
            listen,
            writes=True,
        ),
        Attack(
            "A37",
            "send forged messages",
            "no effect",
            "Whoever is connected makes the product work on, or end, what is another client's.",
            "Take a message for a wake-up only, and read the table again.",
            _by_tenant_roles,
            forge_message,
            writes=True,
        ),
        Attack(
            "A48",
            "a job that names the victim",
            "refused, or worked on in the attacker's tenant",
            "The worker reads or writes for whomever a payload names.",
            "Open the session of the job's own tenant (`tenant_id`), never of the payload's.",
            _forged,
            ask_by_job,
            writes=True,
        ),
        Attack(
            "A44",
            "copy by pg_dump",
            "an error, and no row of the victim",
            "One command carries the rows of all clients away, or makes a backup that lacks them.",
            "Force row security on every table, and take BYPASSRLS from the role.",
            _copies,
            copy_all,
        ),
    ),
)
