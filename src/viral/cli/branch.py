"""`viral branch`: branches of the database, here or at Neon."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli.guard import require_name
from viral.cli.moments import age, future, past
from viral.cli.output import err, out, print_json, print_table, progress_bar
from viral.errors import BranchRefused
from viral.settings import load_settings

if TYPE_CHECKING:
    from viral.postgres.branches.difference import BranchDifference
    from viral.postgres.branches.provider import Branch
    from viral.settings import Settings

DIFFERENT = 2

group = typer.Typer(no_args_is_help=True, help="Branches of the database, as of code.")

Name = Annotated[str, typer.Argument(help="The branch: its name or id.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
At = Annotated[
    str, typer.Option("--at", help="A moment: 2026-11-23T14:05, with a zone or without, or `2h`.")
]


@group.command()
def create(
    name: Annotated[str, typer.Argument(help="Its name, such as feature/video-generation.")],
    parent: Annotated[str | None, typer.Option("--from", help="The parent; else main.")] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="As it was: 2026-11-23T14:05, or `2h` ago.")
    ] = None,
    schema_only: Annotated[bool, typer.Option("--schema-only", help="Without rows.")] = False,
    expires: Annotated[
        str | None, typer.Option("--expires", help="Delete it by itself, such as 7d.")
    ] = None,
    protected: Annotated[bool, typer.Option("--protected", help="Refuse to delete it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a branch. Example: viral branch create feature/video-generation --expires 7d.

    A copy of the present ends the parent's sessions for a moment; they connect again by
    themselves. With --at the server is restored from its backups into a folder of its own.
    """
    from viral.servers import branch_provider

    now = datetime.now(UTC)
    moment = past(at, now) if at is not None else None
    expires_at = future(expires, now) if expires is not None else None

    async def make() -> Branch:
        with progress_bar(f"Making {name}") as advance:
            return await branch_provider(load_settings()).create(
                name,
                parent=parent,
                at=moment,
                schema_only=schema_only,
                expires_at=expires_at,
                protected=protected,
                advance=advance,
            )

    branch = asyncio.run(make())
    if as_json:
        print_json(fields_of(branch))
        return
    out.print(f"The branch {branch.name} is ready.", markup=False)
    out.print(f"Use it: viral branch checkout {branch.name}", markup=False)


@group.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the branches under their parents. Example: viral branch list --json."""
    from viral.servers import branch_provider

    settings = load_settings()
    branches = asyncio.run(branch_provider(settings).list())
    current = current_id(settings)
    if as_json:
        print_json([fields_of(each) | {"checked_out": each.id == current} for each in branches])
        return
    now = datetime.now(UTC)
    print_table(
        ("branch", "kind", "size", "age", "expires", ""),
        [
            (
                "  " * depth + branch.name,
                branch.kind,
                None if branch.size_bytes is None else f"{branch.size_bytes / 1e6:,.1f} MB",
                None if branch.created_at is None else age(now - branch.created_at),
                _expiry(branch, now),
                _marks(branch, is_current=branch.id == current),
            )
            for branch, depth in tree(branches)
        ],
    )


@group.command()
def delete(
    name: Name,
    confirm: Annotated[
        str | None, typer.Option("--confirm", help="Its name, where nobody can type it.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Do not ask.")] = False,
) -> None:
    """Delete a branch for good. Example: viral branch delete feature/video-generation."""
    from viral.postgres.branches.provider import refuse_deletion
    from viral.servers import branch_provider

    settings = load_settings()
    provider = branch_provider(settings)

    async def find() -> Branch:
        branch = await provider.get(name)
        refuse_deletion(branch, await provider.list())
        return branch

    branch = asyncio.run(find())
    if not force:
        require_name(
            settings,
            branch.name,
            confirm,
            what="Deleting a branch",
            thing="branch",
            loss=f"everything in {branch.name} will be gone",
        )
    asyncio.run(provider.delete(branch))
    out.print(f"The branch {branch.name} is deleted.", markup=False)


@group.command()
def restore(name: Name, at: At, as_json: AsJson = False) -> None:
    """Set a branch back to a moment. Example: viral branch restore staging --at 2h.

    Nothing is lost: the former state is kept as a branch, NAME_before_TIME.
    """
    from viral.servers import branch_provider

    settings = load_settings()
    moment = past(at, datetime.now(UTC))

    async def put_back() -> Branch:
        provider = branch_provider(settings)
        branch = await provider.get(name)
        if branch.id == current_id(settings):
            refuse_running(settings)
        with progress_bar(f"Restoring {branch.name}") as advance:
            return await provider.restore(branch, moment, advance=advance)

    kept = asyncio.run(put_back())
    if as_json:
        print_json({"restored": name, "at": moment, "kept": fields_of(kept)})
        return
    out.print(f"{name} is as it was at {moment.astimezone():%Y-%m-%d %H:%M:%S %Z}.", markup=False)
    out.print(f"Its former state is the branch {kept.name}.", markup=False)


@group.command()
def diff(
    first: Annotated[str, typer.Argument(help="A branch.")],
    second: Annotated[str, typer.Argument(help="Another.")],
    as_json: AsJson = False,
) -> None:
    """Compare schemas and row counts; 2 is the exit code where they differ.

    Example: viral branch diff main feature/video-generation
    """
    found = asyncio.run(_compare(load_settings(), first, second))
    if as_json:
        print_json(
            {
                "schema": [each.as_json() for each in found.schema],
                "rows": [
                    {"table": each.table, first: each.first, second: each.second}
                    for each in found.rows
                ],
            }
        )
    elif not found:
        out.print(f"{first} and {second} have equal schemas and row counts.", markup=False)
    else:
        _print_difference(found, first, second)
    if found:
        raise typer.Exit(DIFFERENT)


@group.command("connection-string")
def connection_string(
    name: Annotated[
        str | None,
        typer.Argument(help="The branch; else the checked-out one, at Neon the default one."),
    ] = None,
    pooled: Annotated[
        bool, typer.Option("--pooled/--direct", help="Through the pooler, or past it.")
    ] = False,
    show: Annotated[
        bool, typer.Option("--show-password", help="Show the password at a terminal too.")
    ] = False,
) -> None:
    """Print a branch's address. Example: psql "$(viral branch connection-string staging)".

    A program that reads it gets the password; a terminal only with --show-password.
    """
    from viral.servers import branch_provider

    settings = load_settings()
    is_shown = show or not sys.stdout.isatty()

    async def find() -> str:
        provider = branch_provider(settings)
        wanted = name or current_id(settings)
        branch = await provider.get(wanted) if wanted else (await provider.list())[0]
        return await provider.connection_string(branch, pooled=pooled, password=is_shown)

    out.print(asyncio.run(find()), markup=False)


@group.command()
def checkout(name: Name) -> None:
    """Make the commands here use a branch. Example: viral branch checkout main.

    Of a branch at Neon it prints the lines for .env.local, which say what is used:
    viral branch checkout staging >> .env.local
    """
    from viral.servers import branch_provider, local_branches

    settings = load_settings()
    branch = asyncio.run(branch_provider(settings).get(name))
    if branch.kind == "neon":
        _print_settings(settings, branch)
        return
    if settings.database_url is not None:
        raise BranchRefused(
            f"{branch.name} cannot be checked out: DATABASE_URL says which database is used.",
            hint="Put into .env.local, as DATABASE_URL, what `viral branch connection-string"
            f" {branch.name} --pooled` says, and as DIRECT_URL the same with --direct.",
        )
    refuse_running(settings)
    asyncio.run(local_branches(settings).check_out(branch))
    out.print(f"Commands here use the branch {branch.name}. Start it: viral up", markup=False)


@group.command()
def protect(name: Name) -> None:
    """Refuse to delete or restore a branch. Example: viral branch protect staging."""
    _set_protection(name, is_protected=True)


@group.command()
def unprotect(name: Name) -> None:
    """Let a branch be deleted again. Example: viral branch unprotect staging."""
    _set_protection(name, is_protected=False)


def tree(branches: list[Branch]) -> list[tuple[Branch, int]]:
    """Order branches under their parents, each with its depth."""
    ids = {each.id for each in branches}

    def below(parent_id: str | None, depth: int) -> list[tuple[Branch, int]]:
        return [
            line
            for each in branches
            # Where a parent is unknown, its branches stand at the top.
            if (each.parent_id if each.parent_id in ids else None) == parent_id
            for line in [(each, depth), *below(each.id, depth + 1)]
        ]

    return below(None, 0)


def fields_of(branch: Branch) -> dict[str, object]:
    """Say of a branch what programs want to know."""
    names = ("id", "name", "parent_id", "kind", "database", "created_at", "parent_at")
    more = ("expires_at", "is_default", "is_protected", "state", "size_bytes")
    return {name: getattr(branch, name) for name in (*names, *more)}


def current_id(settings: Settings) -> str | None:
    """Return the id of the checked-out branch, also of one that is gone; None elsewhere."""
    from viral.postgres.branches.registry import Registry

    if settings.neon_api_key or settings.database_url is not None:
        return None
    return Registry(settings.home).read().current_id


def refuse_running(settings: Settings) -> None:
    """Raise BranchRefused while `viral up` serves the branch that is checked out."""
    from viral.cli.supervisor import find_running

    if (running := find_running(settings.home)) is not None:
        raise BranchRefused(
            f"`viral up` (pid {running.pid}) serves the branch that is checked out.",
            hint="Stop it with Ctrl-C first, then start it again.",
        )


def _print_settings(settings: Settings, branch: Branch) -> None:
    from viral.servers import neon_branches

    is_shown = not sys.stdout.isatty()
    lines = asyncio.run(neon_branches(settings).settings(branch, password=is_shown))
    for setting, address in lines.items():
        out.print(f"{setting}={address}", markup=False)
    if not is_shown:
        err.print("These lines, with their passwords, belong into .env.local:", markup=False)
        err.print(f"  viral branch checkout {branch.name} >> .env.local", markup=False)


def _set_protection(name: str, *, is_protected: bool) -> None:
    from viral.servers import branch_provider

    provider = branch_provider(load_settings())

    async def change() -> Branch:
        return await provider.protect(await provider.get(name), is_protected=is_protected)

    branch = asyncio.run(change())
    state = "protected" if branch.is_protected else "no longer protected"
    out.print(f"The branch {branch.name} is {state}.", markup=False)


async def _compare(settings: Settings, first: str, second: str) -> BranchDifference:
    from contextlib import AsyncExitStack

    from viral.database.secrets import Secrets
    from viral.database.urls import parse_url
    from viral.postgres.branches.difference import compare_branches
    from viral.servers import branch_provider, local_branches, neon_branches

    provider = branch_provider(settings)
    # The role that row security hides nothing from.
    role = "viral_backup"
    async with AsyncExitStack() as stack:
        urls = []
        for name in (first, second):
            branch = await provider.get(name)
            if branch.kind == "neon":
                text = await neon_branches(settings).address(
                    branch, role=role, pooled=False, password=True
                )
                urls.append(parse_url(text))
                continue
            await stack.enter_async_context(local_branches(settings).running(branch))
            text = await provider.connection_string(branch, pooled=False, password=True)
            password = Secrets.load_or_create(settings.home).password(role)
            urls.append(parse_url(text).for_role(role, password))
        with progress_bar("Comparing") as advance:
            return await compare_branches(*urls, advance=advance)


def _print_difference(found: BranchDifference, first: str, second: str) -> None:
    for each in found.schema:
        if each.is_whole:
            where = second if each.expected is None else first
            out.print(f"{each.title}: only in {where}", markup=False)
        else:
            assert each.expected is not None
            assert each.actual is not None
            for part in each.changed:
                before, after = each.expected.parts.get(part), each.actual.parts.get(part)
                out.print(f"{each.title}: {part} is {before} / {after}", markup=False)
    if found.rows:
        rows = [(each.table, each.first, each.second) for each in found.rows]
        print_table(("rows of", first, second), rows)


def _expiry(branch: Branch, now: datetime) -> str | None:
    if branch.expires_at is None:
        return None
    if branch.is_expired(now):
        return "expired"
    return f"{branch.expires_at.astimezone():%Y-%m-%d %H:%M}"


def _marks(branch: Branch, *, is_current: bool) -> str:
    marks = {
        "checked out": is_current,
        "default": branch.is_default,
        "protected": branch.is_protected and not branch.is_default,
        branch.state: branch.state != "ready",
    }
    return ", ".join(mark for mark, holds in marks.items() if holds)
