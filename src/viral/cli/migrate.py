"""`viral migrate`: write migrations, apply them, and see where a database stands."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli.guard import refuse_production, require_name, restore_point, tell_holder
from viral.cli.installation import installation
from viral.cli.output import err, out, print_json, print_table, progress_bar
from viral.cli.standing import find_standing, print_standing, standing_json

if TYPE_CHECKING:
    from viral.cli.standing import Standing
    from viral.database.compare import Comparison
    from viral.database.develop import Migration
    from viral.database.urls import ServerUrl

group = typer.Typer(no_args_is_help=True, help="Migrations of the schema.")

# Exit code of `diff`.
DIFFERENT = 2
# What `deploy` waits for another one.
WAIT_S = 60.0

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AcceptDataLoss = Annotated[
    bool, typer.Option("--accept-data-loss", help="Go on although the counted values are lost.")
]
WithoutRestorePoint = Annotated[
    bool, typer.Option("--without-restore-point", help="Make no copy before values are lost.")
]


@group.command()
def dev(
    name: Annotated[str, typer.Option("--name", "-n", help="What the migration does.")],
    create_only: Annotated[
        bool, typer.Option("--create-only", help="Write it, and do not apply it.")
    ] = False,
    rename: Annotated[
        list[str] | None,
        typer.Option("--rename", help="table.column=name or table=name; may stand more than once."),
    ] = None,
    accept_data_loss: AcceptDataLoss = False,
    without_restore_point: WithoutRestorePoint = False,
    as_json: AsJson = False,
) -> None:
    """Write the migration that the models need, prove it on shadow databases, and apply it.

    Example: viral migrate dev --name "colour of videos"
    """
    migration, applied = asyncio.run(
        _dev(
            name,
            create_only=create_only,
            renames=rename or [],
            accept_data_loss=accept_data_loss,
            is_copied=not without_restore_point,
        )
    )
    if as_json:
        print_json(_migration_json(migration, applied))
    else:
        _print_migration(migration, applied)


@group.command()
def deploy(
    accept_data_loss: AcceptDataLoss = False,
    without_restore_point: WithoutRestorePoint = False,
    wait: Annotated[
        float, typer.Option("--wait", min=0, help="Seconds to wait for another deploy.")
    ] = WAIT_S,
    as_json: AsJson = False,
) -> None:
    """Apply what is pending; what stopped half-way goes on.

    Example: viral migrate deploy
    """
    applied = asyncio.run(
        _deploy(accept_data_loss, is_copied=not without_restore_point, wait_s=wait)
    )
    if as_json:
        print_json({"applied": applied})
    elif applied:
        out.print(f"Applied {', '.join(applied)}.")
    else:
        out.print("Nothing is pending.")


@group.command()
def status(as_json: AsJson = False) -> None:
    """Show what is applied and pending, and whether the database was changed past it.

    Exit codes: 2 pending, 3 changed or broken, 4 half done. Example: viral migrate status --json
    """
    standing = asyncio.run(_status())
    if as_json:
        print_json(standing_json(standing))
    else:
        print_standing(standing)
    raise typer.Exit(standing.exit_code)


@group.command()
def diff(
    start: Annotated[
        str, typer.Option("--from", help="models, migrations, database, empty, or a URL.")
    ] = "database",
    end: Annotated[str, typer.Option("--to", help="The same choices.")] = "models",
    script: Annotated[
        bool, typer.Option("--script", help="Print the SQL that leads from one to the other.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show how two schemas differ; exit code 2 when they do.

    Example: viral migrate diff --from database --to migrations --script
    """
    found = asyncio.run(_diff(start, end, with_script=script))
    if as_json:
        print_json(
            {"differences": [each.as_json() for each in found.differences], "script": found.script}
        )
    elif found.script is not None:
        sys.stdout.write(found.script)
    elif found.differences:
        for each in found.differences:
            out.print(str(each), markup=False, emoji=False)
        err.print("See the SQL that leads from one to the other with --script.")
    else:
        out.print("They are the same.")
    if found.differences:
        raise typer.Exit(DIFFERENT)


@group.command()
def undo(
    accept_data_loss: AcceptDataLoss = False,
    without_restore_point: WithoutRestorePoint = False,
    as_json: AsJson = False,
) -> None:
    """Take the last migration back.

    Example: viral migrate undo
    """
    undone = asyncio.run(_undo(accept_data_loss, is_copied=not without_restore_point))
    if as_json:
        print_json({"undone": undone})
    else:
        out.print(f"Took back {', '.join(undone)}.")


@group.command()
def reset(
    confirm: Annotated[
        str | None, typer.Option("--confirm", help="The name of the database, instead of a prompt.")
    ] = None,
    without_restore_point: WithoutRestorePoint = False,
    as_json: AsJson = False,
) -> None:
    """Throw all data away and migrate again, after a copy.

    Example: viral migrate reset
    """
    copy, applied = asyncio.run(_reset(confirm, is_copied=not without_restore_point))
    if as_json:
        print_json({"restore_point": copy, "applied": applied})
    else:
        out.print(f"The database is empty, at {applied[-1]}. For a demo: viral db seed")


@group.command()
def resolve(
    revision: Annotated[str, typer.Argument(help="The half-done migration.")],
    applied: Annotated[
        bool, typer.Option("--applied/--rolled-back", help="How it was ended by hand.")
    ],
) -> None:
    """Write down how a half-done migration was ended by hand.

    Example: viral migrate resolve 0003 --rolled-back
    """
    asyncio.run(_resolve(revision, is_applied=applied))
    out.print(f"{revision} counts as {'applied' if applied else 'not applied'}.")


@group.command()
def baseline(
    revision: Annotated[
        str | None, typer.Option("--revision", help="Where the database stands; else the newest.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Adopt a database that is as the migrations make it, but does not know them.

    Example: viral migrate baseline --revision 0001
    """
    adopted = asyncio.run(_baseline(revision))
    if as_json:
        print_json({"adopted": adopted})
    else:
        out.print(f"The database is at {adopted[-1]}, compared object by object.")


async def _dev(
    name: str,
    *,
    create_only: bool,
    renames: list[str],
    accept_data_loss: bool,
    is_copied: bool,
) -> tuple[Migration | None, list[str]]:
    from viral.database.develop import develop
    from viral.database.history import MIGRATIONS
    from viral.database.migrate import deploy as apply

    async with installation() as here:
        refuse_production(here.settings, here.url, what="`viral migrate dev`")
        migration = await develop(
            here.url,
            name=name,
            history=MIGRATIONS,
            renames=renames,
            is_empty_allowed=create_only,
            note=lambda text: err.print(f"{text} ..."),
        )
        if create_only:
            return migration, []
        await _refuse_findings(here.url)
        with progress_bar("migrate") as progress:
            applied = await apply(
                here.url,
                accept_data_loss=accept_data_loss,
                restore_point=restore_point(here.settings, here.backup_url, is_wanted=is_copied),
                on_wait=tell_holder,
                progress=progress,
            )
        return migration, applied


async def _deploy(accept_data_loss: bool, *, is_copied: bool, wait_s: float) -> list[str]:
    from viral.database import migrate

    async with installation() as here:
        await _refuse_findings(here.url)
        with progress_bar("migrate") as progress:
            return await migrate.deploy(
                here.url,
                wait_s=wait_s,
                accept_data_loss=accept_data_loss,
                restore_point=restore_point(here.settings, here.backup_url, is_wanted=is_copied),
                on_wait=tell_holder,
                progress=progress,
            )


async def _undo(accept_data_loss: bool, *, is_copied: bool) -> list[str]:
    from viral.database import migrate

    async with installation() as here:
        with progress_bar("migrate") as progress:
            return await migrate.undo(
                here.url,
                accept_data_loss=accept_data_loss,
                restore_point=restore_point(here.settings, here.backup_url, is_wanted=is_copied),
                on_wait=tell_holder,
                progress=progress,
            )


async def _status() -> Standing:
    async with installation() as here:
        return await find_standing(here.url)


async def _diff(start: str, end: str, *, with_script: bool) -> Comparison:
    from viral.database.compare import compare_schemas

    async with installation() as here:
        with err.status("Comparing"):
            return await compare_schemas(here.url, start=start, end=end, with_script=with_script)


async def _reset(confirmed: str | None, *, is_copied: bool) -> tuple[str | None, list[str]]:
    from viral.database.baseline import reset as start_anew

    async with installation() as here:
        refuse_production(here.settings, here.url, what="`viral migrate reset`")
        require_name(here.settings, here.url.database, confirmed, what="`viral migrate reset`")
        with progress_bar("migrate") as progress:
            return await start_anew(
                here.url,
                restore_point=restore_point(here.settings, here.backup_url, is_wanted=is_copied),
                on_wait=tell_holder,
                progress=progress,
            )


async def _resolve(revision: str, *, is_applied: bool) -> None:
    from viral.database import migrate

    async with installation() as here:
        await migrate.resolve(
            here.url, revision, outcome="applied" if is_applied else "rolled back"
        )


async def _baseline(revision: str | None) -> list[str]:
    from viral.database.baseline import baseline as adopt

    async with installation() as here:
        with err.status("Comparing the database with its migrations"):
            return await adopt(here.url, revision=revision, on_wait=tell_holder)


async def _refuse_findings(url: ServerUrl) -> None:
    """Look at what is pending as `dev` does: a file may have been changed by hand since."""
    from viral.database import migrate
    from viral.database.history import MIGRATIONS, read_history

    pending = (await migrate.status(url)).pending
    if not pending:
        return
    from viral.database.lint.history import lint_revisions
    from viral.database.lint.linter import require_clean

    files = read_history(MIGRATIONS).revisions
    require_clean(lint_revisions(each for each in files if each.id in pending))


def _migration_json(migration: Migration | None, applied: list[str]) -> dict[str, object]:
    if migration is None:
        return {"revision": None, "applied": applied}
    return {
        "revision": migration.revision,
        "file": str(migration.file),
        "steps": [step.name for step in migration.steps],
        "irreversible": migration.irreversible,
        "findings": [f"{each.script}:{each.line}: {each.message}" for each in migration.findings],
        "hints": migration.hints,
        "applied": applied,
    }


def _print_migration(migration: Migration | None, applied: list[str]) -> None:
    if migration is None:
        out.print("The migrations lead to the models: there is nothing to write.")
    else:
        out.print(f"Wrote {migration.file}", markup=False)
        print_table(
            ("step", "does"), [(n, step.name) for n, step in enumerate(migration.steps, start=1)]
        )
        if migration.irreversible:
            err.print(f"There is no way back: {migration.irreversible}", markup=False)
        for hint in migration.hints:
            err.print(f"hint: {hint}", markup=False)
        for each in migration.findings:
            err.print(f"lint: {each.script}:{each.line}: {each.rule}: {each.message}", markup=False)
    if applied:
        out.print(f"Applied {', '.join(applied)}.")
