"""One verification: two tenants, every attack on everything there is, and nothing left behind."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from importlib.metadata import version
from typing import TYPE_CHECKING

from viral.database.catalog import read_catalog
from viral.database.engine import Database
from viral.database.migrate import status
from viral.database.owner import owner_connection, refuse_pooler
from viral.database.validate.live import validate_database
from viral.errors import LockNotObtained, TenantContextUnknown
from viral.features.verification.arena import Arena
from viral.features.verification.attacks.catalogue import CATALOGUE
from viral.features.verification.attacks.context import CONTEXT
from viral.features.verification.attacks.functions import FUNCTIONS
from viral.features.verification.attacks.keys import KEYS
from viral.features.verification.attacks.outside import OUTSIDE
from viral.features.verification.attacks.reading import READING
from viral.features.verification.attacks.roles import ROLES
from viral.features.verification.attacks.writing import WRITING
from viral.features.verification.parties import (
    Party,
    fill,
    find_party,
    learn_keys,
    look,
    make_party,
    new_run,
    remove_parties,
)
from viral.features.verification.probe import Undecided, open_probe
from viral.features.verification.relations import ATTACKERS, read_catalogue
from viral.features.verification.report import Report, Subject
from viral.features.verification.verdicts import Target, Trial, not_applicable
from viral.schema.security import APP, MIGRATOR, SYSTEM

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from viral.database.secrets import Secrets
    from viral.database.urls import ServerUrl
    from viral.features.verification.probe import Probe
    from viral.features.verification.relations import Catalogue
    from viral.features.verification.verdicts import Attack, Family, Verdict

    Progress = Callable[[str, int, int | None], None]

FAMILIES = (READING, WRITING, KEYS, CONTEXT, ROLES, FUNCTIONS, OUTSIDE, CATALOGUE)
# Any number; two verifications would remove each other's tenants.
_LOCK = 7_391_046_218_551
_ONLY_READS = not_applicable("against a tenant of yours only reads are tried")
_NOTHING = Target("-", "none")
_BUSY = "the server was busy ({state}); try again"


@dataclass(frozen=True, slots=True)
class Installation:
    """What is attacked, by its own credentials: the address of each role, the keys.

    `bindir` is the folder of PostgreSQL's programs; None: where they usually are.
    """

    url_of: Callable[[str], ServerUrl]
    secrets: Secrets
    bindir: Path | None = None


async def verify(
    installation: Installation,
    *,
    clock: Callable[[], datetime],
    progress: Progress,
    victim: str | None = None,
    more: Sequence[Family] = (),
) -> Report:
    """Attack an installation as one tenant against another, and tell how each attempt ended.

    `more` are families of attacks on what stands above the database.

    `victim` is the slug of a tenant that exists: then it is only read from, and in place of rows
    the report holds counts. Without it both tenants are made for the run and removed at its end.
    """
    begun = clock()
    subject = await _subject(installation)
    findings = await validate_database(installation.url_of(MIGRATOR))
    async with AsyncExitStack() as stack:
        probes = await _open_probes(installation, stack)
        await _lock(probes[MIGRATOR])
        if victim is None:
            # As the worker does: without a partition a partitioned table takes no row.
            await probes[MIGRATOR].keep("SELECT viral.make_partitions()")
        catalogue = await read_catalogue(probes[MIGRATOR])
        progress("preparing two tenants", 0, None)
        attacker, other = await stack.enter_async_context(
            _parties(installation, catalogue, probes, victim)
        )
        arena = Arena(
            catalogue=catalogue,
            probes=probes,
            attacker=attacker,
            victim=other,
            product=lambda: _pool(installation, APP),
            findings=findings,
            url_of=installation.url_of,
            bindir=installation.bindir,
        )
        plan = list(_plan(arena, (*FAMILIES, *more)))
        trials = await _attack(arena, plan, progress, only_reads=victim is not None)
        filled = sorted(other.seen)
    return Report(
        subject=subject,
        begun_at=begun,
        seconds=(clock() - begun) / timedelta(seconds=1),
        victim="a tenant that exists" if victim else other.slug,
        attacker=attacker.slug,
        tables_seen=filled,
        trials=trials,
    )


async def _attack(
    arena: Arena,
    planned: list[tuple[Family, Attack, Target]],
    progress: Progress,
    *,
    only_reads: bool,
) -> list[Trial]:
    trials = []
    for number, (family, attack, target) in enumerate(planned, 1):
        progress(f"attack {attack.id}", number, len(planned))
        verdict = _ONLY_READS if only_reads and attack.writes else await _try(arena, attack, target)
        trials.append(Trial(family.name, attack, target, verdict))
    return trials


async def _try(arena: Arena, attack: Attack, target: Target) -> Verdict:
    if target is _NOTHING:
        return not_applicable("there is none in this database")
    try:
        return await attack.attempt(arena, target)
    except Undecided as busy:
        return not_applicable(_BUSY.format(state=busy))


def _plan(arena: Arena, families: Sequence[Family]) -> Iterator[tuple[Family, Attack, Target]]:
    for family in families:
        for attack in family.attacks:
            for target in [*attack.targets(arena)] or [_NOTHING]:
                yield family, attack, target


@asynccontextmanager
async def _parties(
    installation: Installation, catalogue: Catalogue, probes: dict[str, Probe], victim: str | None
) -> AsyncIterator[tuple[Party, Party]]:
    """Have the two tenants for the length of a run; those of a killed run are removed first."""
    await remove_parties(probes[MIGRATOR], catalogue)
    run = new_run()
    system = _pool(installation, SYSTEM)
    try:
        attacker = await make_party(system, installation.secrets, run=run, part="attacker")
        await fill(attacker, catalogue, probes)
        if victim is None:
            other = await make_party(system, installation.secrets, run=run, part="victim")
            await fill(other, catalogue, probes)
        else:
            other = await find_party(system, installation.secrets, victim)
            await learn_keys(probes[APP], catalogue, other)
        for party in (attacker, other):
            await look(party, catalogue, probes[APP])
            _refuse_blind(party)
        yield attacker, other
    finally:
        await system.close()
        await remove_parties(probes[MIGRATOR], catalogue)


def _refuse_blind(party: Party) -> None:
    """Stop where a tenant does not see itself: every attack would seem to be stopped."""
    if "public.tenants" not in party.seen:
        raise TenantContextUnknown(
            f"The tenant {party.slug} does not see its own row: nothing can be verified.",
            hint="See `viral migrate status` and `viral validate --db`.",
        )


async def _open_probes(installation: Installation, stack: AsyncExitStack) -> dict[str, Probe]:
    probes = {}
    for role in (*ATTACKERS, MIGRATOR):
        url = installation.url_of(role)
        refuse_pooler(url)
        probes[role] = await stack.enter_async_context(open_probe(url))
    return probes


async def _lock(migrator: Probe) -> None:
    if not await migrator.connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
        raise LockNotObtained(
            "Another verification is at work.", hint="Wait until it ends and try again."
        )


def _pool(installation: Installation, role: str) -> Database:
    """Open the product's own pool of a role, with one connection that everybody gets."""
    url = replace(installation.url_of(role), pool_size=1)
    return Database(url, context_key=lambda: installation.secrets.context_key)


async def _subject(installation: Installation) -> Subject:
    """Say what is verified: versions, the schema's revision, a hash of its catalogue."""
    url = installation.url_of(MIGRATOR)
    async with owner_connection(url) as connection, connection.begin():
        entries = await read_catalog(connection)
        server = (await connection.exec_driver_sql("SHOW server_version")).scalar_one()
    listing = [[entry.title, dict(entry.parts)] for _, entry in sorted(entries.items())]
    text = json.dumps(listing, sort_keys=True, default=str, ensure_ascii=False)
    return Subject(
        product=version("viral-dashboard"),
        postgresql=str(server),
        revision=(await status(url)).current or "none",
        catalogue_sha256=sha256(text.encode()).hexdigest(),
        objects=len(entries),
    )
