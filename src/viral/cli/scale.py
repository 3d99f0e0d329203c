"""`viral scale`: whether the database distributes over Citus, and the script that does it."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli.installation import installation
from viral.cli.output import err, out, print_json, print_table

if TYPE_CHECKING:
    from viral.database.scale.plan import Plan
    from viral.database.validate.findings import Finding

STANDS_IN_THE_WAY = 2

group = typer.Typer(
    no_args_is_help=True, help="Past one machine: distribute the database by tenant over Citus."
)


@group.command()
def check(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show where each table would live; exit code 2 where something stands in the way.

    Example: viral scale check --json
    """
    from viral.database.scale.check import obstacles

    plan = asyncio.run(_plan())
    found = obstacles(plan)
    rows = [(name, place.role, place.why) for name, place in plan.places.items()]
    if as_json:
        columns = ("table", "role", "why")
        print_json(
            {
                "distributes": not found,
                "tables": [dict(zip(columns, row, strict=True)) for row in rows],
                "obstacles": [asdict(finding) for finding in found],
            }
        )
    else:
        print_table(("table", "role", "why"), sorted(rows, key=lambda row: (row[1], row[0])))
        out.print()
        _tell(found)
    if found:
        raise typer.Exit(STANDS_IN_THE_WAY)


@group.command()
def script() -> None:
    """Print the SQL that distributes this database. Example: viral scale script > citus.sql."""
    from viral.database.scale.check import obstacles
    from viral.database.scale.script import citus_script

    plan = asyncio.run(_plan())
    if found := obstacles(plan):
        _tell(found, to_people=True)
        raise typer.Exit(STANDS_IN_THE_WAY)
    sys.stdout.write(citus_script(plan))
    err.print("What to do before and after it is in docs/scale-out.md.")


async def _plan() -> Plan:
    from viral.database.scale.plan import plan_of

    async with installation() as place:
        return await plan_of(place.url)


def _tell(found: list[Finding], *, to_people: bool = False) -> None:
    """Write what stands in the way, to where the answer of the command does not go."""
    if not found:
        out.print("Nothing stands in the way. The script: viral scale script > citus.sql")
        return
    for finding in found:
        line = f"{finding.rule}: {finding.object} {finding.message}"
        (err if to_people else out).print(line, markup=False)
        (err if to_people else out).print(f"  fix: {finding.hint}", markup=False)
