"""`viral db push`: the models into the database, without a migration."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli.guard import refuse_production, restore_point, tell_holder
from viral.cli.installation import installation
from viral.cli.output import err, out, print_json, print_table

if TYPE_CHECKING:
    from viral.database.push import Push


def push(
    accept_data_loss: Annotated[
        bool, typer.Option("--accept-data-loss", help="Go on although counted values are lost.")
    ] = False,
    without_restore_point: Annotated[
        bool, typer.Option("--without-restore-point", help="Make no copy before values are lost.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the steps and what is lost; change nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Bring the database to the models without a migration, all of it or nothing.

    Example: viral db push --dry-run
    """
    done = asyncio.run(
        _push(accept_data_loss, is_copied=not without_restore_point, is_rehearsal=dry_run)
    )
    if as_json:
        print_json(_push_json(done, is_rehearsal=dry_run))
    else:
        _print_push(done, is_rehearsal=dry_run)


async def _push(accept_data_loss: bool, *, is_copied: bool, is_rehearsal: bool) -> Push:
    from viral.database.push import push as bring

    async with installation() as here:
        refuse_production(here.settings, here.url, what="`viral db push`")
        with err.status("Bringing the database to the models"):
            return await bring(
                here.url,
                accept_data_loss=accept_data_loss,
                is_rehearsal=is_rehearsal,
                restore_point=restore_point(here.settings, here.backup_url, is_wanted=is_copied),
                on_wait=tell_holder,
            )


def _push_json(done: Push, *, is_rehearsal: bool) -> dict[str, object]:
    return {
        "steps": [step.sql for step in done.steps],
        "losses": done.losses,
        "restore_point": done.restore_point,
        "applied": bool(done.steps) and not is_rehearsal,
    }


def _print_push(done: Push, *, is_rehearsal: bool) -> None:
    if not done.steps:
        out.print("The database is as the models say.")
        return
    print_table(("step", "does"), [(n, step.name) for n, step in enumerate(done.steps, start=1)])
    for what, count in done.losses.items():
        verb = "would be lost" if is_rehearsal else "lost"
        err.print(f"{verb}: {what}: {count:,}", markup=False, emoji=False)
    if is_rehearsal:
        consent = " --accept-data-loss" if done.losses else ""
        out.print(f"Nothing was changed. To do it: viral db push{consent}")
    else:
        out.print("The database is as the models say. Is a migration missing? viral migrate status")
