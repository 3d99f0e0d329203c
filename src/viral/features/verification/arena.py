"""Where the attacks take place: who attacks whom, what there is, and a connection per role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from viral.features.verification.relations import ATTACKERS, TENANT_ROLES
from viral.features.verification.verdicts import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from viral.database.engine import Database
    from viral.database.urls import ServerUrl
    from viral.database.validate.findings import Finding
    from viral.features.verification.parties import Party
    from viral.features.verification.probe import Answer, Probe
    from viral.features.verification.relations import Catalogue, Relation


@dataclass(frozen=True, slots=True)
class Arena:
    """One run. `product` opens the app's own pool with one connection, `findings` is the lint.

    `bindir` is the folder of PostgreSQL's programs; None: where they usually are.
    """

    catalogue: Catalogue
    probes: Mapping[str, Probe]
    attacker: Party
    victim: Party
    product: Callable[[], Database]
    findings: list[Finding]
    url_of: Callable[[str], ServerUrl]
    bindir: Path | None = None

    def probe(self, target: Target) -> Probe:
        """Return the connection of the role that attacks."""
        return self.probes[target.role]

    async def ask(self, target: Target, *statements: str) -> Answer:
        """Run statements as the attacker, in a transaction that is undone."""
        return await self.probe(target).ask(*statements, context=self.attacker.token)

    def relations(self) -> list[Relation]:
        """List what holds rows of tenants: tables, partitions, views."""
        return [
            each
            for each in self.catalogue.relations
            if each.owner_column and each.kind in {"r", "p", "v"}
        ]


def on_relations(arena: Arena) -> Iterator[Target]:
    """Aim at everything that holds rows of tenants, as the roles of tenants."""
    for relation in arena.relations():
        for role in TENANT_ROLES:
            yield Target(role, relation.name, relation)


def on_tables(arena: Arena) -> Iterator[Target]:
    """Aim at every table of tenants, as the roles of tenants."""
    for relation in arena.catalogue.tables_of_tenants():
        for role in TENANT_ROLES:
            yield Target(role, relation.name, relation)


def on_all_tables(arena: Arena) -> Iterator[Target]:
    """Aim at every table of tenants, as every role that has a login and may not change it."""
    for relation in arena.catalogue.tables_of_tenants():
        for role in ATTACKERS:
            yield Target(role, relation.name, relation)


def by_each_tenant_role(*objects: tuple[str, str]) -> Callable[[Arena], Iterator[Target]]:
    """Aim statements at objects, as the roles of tenants: (object, statement) each."""
    return _by(TENANT_ROLES, objects)


def by_each_role(*objects: tuple[str, str]) -> Callable[[Arena], Iterator[Target]]:
    """Aim statements at objects, as every role: (object, statement) each."""
    return _by(ATTACKERS, objects)


def _by(
    roles: tuple[str, ...], objects: tuple[tuple[str, str], ...]
) -> Callable[[Arena], Iterator[Target]]:
    def targets(_arena: Arena) -> Iterator[Target]:
        for name, statement in objects:
            for role in roles:
                yield Target(role, name, statement=statement)

    return targets
