"""`viral scale check`: what stands in the way of distributing the schema over Citus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.database.scale.plan import TENANT
from viral.database.scale.policies import without_sub_selects
from viral.database.validate.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.database.scale.plan import Plan, Reference

_SETS_A_VALUE = {"n": "SET NULL", "d": "SET DEFAULT"}


def obstacles(plan: Plan) -> list[Finding]:
    """List what Citus refuses, or would not keep; empty when the script can run."""
    return [
        *_keys(plan),
        *_references(plan),
        *_constructs(plan),
        *_policies(plan),
    ]


def _keys(plan: Plan) -> Iterator[Finding]:
    for key in plan.keys:
        if plan.role(key.table) != "distributed" or key.columns[0] == TENANT:
            continue
        is_held = TENANT in key.columns
        yield Finding(
            "key-without-tenant",
            f"{key.table}.{key.name}",
            f"begins with another column than {TENANT}"
            if is_held
            else f"lacks {TENANT}: Citus cannot see that it is unique over all nodes",
            f"Put {TENANT} first in the key, in the table's class, and migrate.",
        )
    if not any(place.role == "distributed" for place in plan.places.values()):
        yield Finding(
            "nothing-to-distribute",
            "database",
            f"no table has {TENANT} in its primary key",
            "Apply the migrations first: `viral migrate deploy`.",
        )


def _references(plan: Plan) -> Iterator[Finding]:
    for reference in plan.references:
        if plan.role(reference.source) != "distributed":
            continue
        if plan.role(reference.target) == "distributed" and not _keeps_tenant(reference):
            yield Finding(
                "reference-without-tenant",
                f"{reference.source}.{reference.name}",
                f"leads to {reference.target} without {TENANT} at the same place on both sides",
                f"Refer by ({TENANT}, ...) to ({TENANT}, ...).",
            )
        if TENANT in reference.source_columns and (action := _refused_action(reference)):
            yield Finding(
                "reference-action",
                f"{reference.source}.{reference.name}",
                f"has {action} on a key with {TENANT}, which Citus refuses",
                "Use CASCADE or no action on deletion, and clear the column in a feature.",
            )


def _keeps_tenant(reference: Reference) -> bool:
    pairs = zip(reference.source_columns, reference.target_columns, strict=True)
    return (TENANT, TENANT) in pairs


def _refused_action(reference: Reference) -> str | None:
    if action := _SETS_A_VALUE.get(reference.on_delete):
        return f"ON DELETE {action}"
    if reference.on_update == "c":
        return "ON UPDATE CASCADE"
    if action := _SETS_A_VALUE.get(reference.on_update):
        return f"ON UPDATE {action}"
    return None


def _constructs(plan: Plan) -> Iterator[Finding]:
    for name, table in plan.tables.items():
        if not plan.is_managed(name):
            continue
        for trigger in table.triggers:
            yield Finding(
                "trigger",
                f"{name}.{trigger}",
                "is a trigger, which Citus refuses",
                "Do its work in a feature, or in a column's default.",
            )
        for column in table.numbered:
            yield Finding(
                "sequence",
                f"{name}.{column}",
                "takes its numbers from a sequence, which nodes do not share",
                "Use a UUID made in Python.",
            )
        if table.has_levels:
            yield Finding(
                "partition-levels",
                name,
                "has partitions that are partitioned again, which Citus refuses",
                "Partition by one column only.",
            )


def _policies(plan: Plan) -> Iterator[Finding]:
    for policy in plan.policies:
        if not plan.is_managed(policy.table):
            continue
        place = f"{policy.table}.{policy.name}"
        if not policy.is_permissive:
            yield Finding(
                "policy-restrictive",
                place,
                "is restrictive, and Citus makes it permissive on the nodes: it would let in",
                "Join its condition to the permissive policies with AND.",
            )
        if isinstance(refused := without_sub_selects(policy), str):
            yield Finding(
                "policy-sub-select",
                place,
                f"holds a sub-select that the script cannot replace: {refused}",
                "Write it as `column IN (SELECT ...)`, or call a function.",
            )
        reads = {*policy.reads, *(t for f in policy.functions for t in plan.functions[f].reads)}
        for table in sorted(reads):
            if plan.role(table) == "distributed":
                yield Finding(
                    "policy-reads-tenants",
                    place,
                    f"reads {table}, whose rows lie on other nodes",
                    "Decide by tables that are on every node.",
                )
