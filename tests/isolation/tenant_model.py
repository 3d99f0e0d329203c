"""What a tenant should see, kept in plain Python, and what it does see."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from factories import TestTenant
from sqlalchemy import Table, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from viral.schema.publishing import SocialAccount
from viral.schema.security import APP, security_of
from viral.schema.tables import METADATA

Facts = dict[str, object]
Rows = dict[str, dict[str, Facts]]

MOST_SHOWN = 3
# What is compared of a row besides its id and the rows it points at: a name and its SQL.
FACTS: dict[str, dict[str, str]] = {
    "tenants": {"name": "name", "used_quota": "used_quota"},
    "users": {"email": "email"},
    "memberships": {"role": "role"},
    "api_keys": {"name": "name"},
    "quota_ledger": {"kind": "kind", "amount": "amount"},
    "generations": {"is_favorite": "is_favorite"},
    "concepts": {
        "origin": "origin",
        "title": "title",
        "source_id": "source_id",
        "is_favorite": "is_favorite",
    },
    "predictions": {"platform": "platform", "score": "score"},
    "concept_variants": {"label": "label", "title": "title"},
    "videos": {"provider": "provider"},
    "social_accounts": {"external_id": "external_id", "username": "username"},
    "social_posts": {"idempotency_key": "idempotency_key"},
    "performance_feedback": {
        "external_id": "external_id",
        "views": "views",
        "observed_on": "observed_on",
    },
    "analytics_snapshots": {"views": "views"},
    "api_usage": {"endpoint": "endpoint"},
    "audit_log": {"action": "action", "subject": "subject"},
    "job_queue": {
        "job_type": "job_type",
        "status": "status",
        "dedupe_key": "dedupe_key",
        "asked_by": "payload ->> 'asked_by'",
    },
    "reflexion_insights": {"pattern": "pattern"},
    "self_critiques": {"title": "performance_gap ->> 'concept_title'"},
    "learner_effects": {
        "platform": "platform",
        "goal": "goal",
        "family": "family",
        "key": "key",
        "published": "published",
        "is_frozen": "is_frozen",
    },
    "scoring_adjustments": {
        "platform": "platform",
        "goal": "goal",
        "family": "adjustment_type",
        "key": "category",
        "old_value": "old_value",
        "is_undone": "reverted_at IS NOT NULL",
    },
}


def granted(table: Table, command: str) -> set[str]:
    """List the columns on which the app has a privilege; empty when it has none."""
    columns: set[str] = set()
    for grant in security_of(table).grants:
        if grant.role == APP and command in grant.privileges:
            columns |= set(grant.columns) or set(table.columns.keys())
    return columns


def _is_of_tenants(table: Table) -> bool:
    # A table without a tenant shows everybody the same rows: there is nothing to keep apart.
    is_open = any(policy.name == "open_to_all" for policy in security_of(table).policies)
    return bool(granted(table, "SELECT")) and not is_open


READABLE = {table.name: table for table in METADATA.sorted_tables if _is_of_tenants(table)}


@dataclass(frozen=True)
class Reference:
    """A column that points at another row of the same tenant."""

    child: str
    column: str
    parent: str
    target: str
    cascades: bool


def _references() -> Iterator[Reference]:
    for table in READABLE.values():
        for constraint in table.foreign_key_constraints:
            for element in constraint.elements:
                name, parent = element.parent.name, element.column.table.name
                if name == "tenant_id" or name not in granted(table, "SELECT"):
                    continue
                cascades = constraint.ondelete == "CASCADE"
                yield Reference(table.name, name, parent, element.column.name, cascades)


REFERENCES = [each for each in _references() if each.parent in READABLE]


def references_of(table: str) -> list[Reference]:
    return [each for each in REFERENCES if each.child == table]


def _columns(name: str) -> dict[str, str]:
    table = READABLE[name]
    keys = ["id"] if "id" in table.c else [column.name for column in table.primary_key.columns]
    columns = {"id": " || '/' || ".join(f"{key}::text" for key in keys)}
    if "tenant_id" in granted(table, "SELECT"):
        columns["tenant_id"] = "tenant_id"
    columns |= {each.column: each.column for each in references_of(name)}
    return columns | FACTS.get(name, {})


COLUMNS = {name: _columns(name) for name in READABLE}


def _select(name: str, condition: str) -> str:
    pairs = ", ".join(f"'{column}', {sql}" for column, sql in COLUMNS[name].items())
    return f"SELECT '{name}', json_build_object({pairs})::text FROM {name} WHERE {condition}"


# Raw SQL: nothing but row security chooses the rows.
VISIBLE = text(" UNION ALL ".join(_select(name, "true") for name in READABLE))


def _collect(found: list[tuple[str, str]], tables: Iterable[str]) -> Rows:
    rows: Rows = {name: {} for name in tables}
    for name, line in found:
        facts = json.loads(line)
        assert facts["id"] not in rows[name], f"{name} shows {facts['id']} twice"
        rows[name][facts["id"]] = facts
    return rows


async def visible_rows(session: AsyncSession) -> Rows:
    """Read every row of every table that the session is shown."""
    return _collect([(row[0], row[1]) for row in await session.execute(VISIBLE)], READABLE)


async def visible_tokens(session: AsyncSession) -> dict[str, tuple[str, str | None]]:
    """Open the tokens of every account that the session is shown."""
    accounts = await session.scalars(select(SocialAccount))
    return {
        str(each.id): (
            each.access_token.reveal(),
            None if each.refresh_token is None else each.refresh_token.reveal(),
        )
        for each in accounts
    }


async def stored_rows(admin: AsyncConnection, model: TenantModel, *tables: str) -> Rows:
    """Read a tenant's rows behind row security."""
    query = " UNION ALL ".join(_select(name, "tenant_id = :tenant") for name in tables)
    found = await admin.execute(text(query), {"tenant": model.tenant.id})
    rows = _collect([(row[0], row[1]) for row in found], tables)
    await admin.rollback()
    return rows


@dataclass
class TenantModel:
    """A tenant and all the rows that it should see, by table and id."""

    tenant: TestTenant
    monthly_quota: int
    rows: Rows = field(default_factory=lambda: {name: {} for name in READABLE})
    tokens: dict[str, tuple[str, str | None]] = field(default_factory=dict)

    @property
    def used_quota(self) -> int:
        used = self.rows["tenants"][str(self.tenant.id)]["used_quota"]
        assert isinstance(used, int)
        return used

    def use_quota(self, count: int) -> None:
        self.rows["tenants"][str(self.tenant.id)]["used_quota"] = self.used_quota + count

    def facts(self, table: str, row_id: object, **known: object) -> Facts:
        """Complete what is known of a row: it is the tenant's, and points nowhere else."""
        assert set(known) <= set(COLUMNS[table]), f"{table} does not compare {set(known)}"
        whole: Facts = dict.fromkeys(COLUMNS[table])
        if "tenant_id" in whole:
            whole["tenant_id"] = str(self.tenant.id)
        return whole | {"id": str(row_id)} | known

    def add(self, table: str, row_id: object, **known: object) -> None:
        self.rows[table][str(row_id)] = self.facts(table, row_id, **known)

    def find(self, table: str, **known: object) -> list[Facts]:
        return [
            row
            for row in self.rows[table].values()
            if all(row[name] == value for name, value in known.items())
        ]

    def remove(self, table: str, row_id: str) -> bool:
        """Take a row out with all that goes with it; False when a row that stays points at it."""
        doomed = {(table, row_id)}
        while more := set(self._pointing_at(doomed, cascades=True)) - doomed:
            doomed |= more
        if set(self._pointing_at(doomed, cascades=False)) - doomed:
            return False
        for name, each in doomed:
            del self.rows[name][each]
        return True

    def _pointing_at(
        self, targets: set[tuple[str, str]], *, cascades: bool
    ) -> Iterator[tuple[str, str]]:
        for reference in REFERENCES:
            if reference.cascades == cascades:
                wanted = {
                    self.rows[name][each][reference.target]
                    for name, each in targets
                    if name == reference.parent
                }
                for row_id, row in self.rows[reference.child].items():
                    if row[reference.column] in wanted:
                        yield reference.child, row_id

    def differences(
        self, rows: Rows, tokens: dict[str, tuple[str, str | None]]
    ) -> dict[str, tuple[list[Facts], list[Facts]]]:
        """Compare, per table: what is seen and should not be, and what is not and should be."""
        found = {
            name: (
                [row for row in rows[name].values() if row not in should.values()][:MOST_SHOWN],
                [row for row in should.values() if row not in rows[name].values()][:MOST_SHOWN],
            )
            for name, should in self.rows.items()
            if rows[name] != should
        }
        if tokens != self.tokens:
            found["tokens"] = ([{"accounts": sorted(tokens)}], [{"accounts": sorted(self.tokens)}])
        return found
