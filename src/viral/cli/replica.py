"""`viral replica`: a streaming replica of the embedded server on this machine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli.output import out, print_facts, print_json, progress_bar
from viral.errors import BadSetting
from viral.settings import Settings, load_settings

if TYPE_CHECKING:
    from viral.postgres.replica import ReplicaStatus
    from viral.postgres.server import Server

group = typer.Typer(
    no_args_is_help=True, help="A local replica, which reads go to: for trying, and for tests."
)


@group.command()
def start(
    again: Annotated[
        bool, typer.Option("--again", help="Throw its copy away and make it anew.")
    ] = False,
) -> None:
    """Start the replica; the first time, copy the server. Example: viral replica start."""
    from viral.postgres.replica import start_replica
    from viral.servers import checked_out

    settings = load_settings()
    primary, replica = _servers(settings)
    with progress_bar("Copying") as advance:
        asyncio.run(start_replica(primary, replica, again=again, advance=advance))
    url = replica.url("viral_readonly", checked_out(settings).database)
    out.print("The replica follows. Put this line into .env.local (it holds a password):")
    out.print(f"REPLICA_URL={url}", markup=False)
    out.print("Then start the product again: `viral up`.")


@group.command()
def stop() -> None:
    """Stop the replica; the server goes on and keeps its log for it. Example: viral replica stop.

    Up to 1 GB of log is kept; a replica that was away for longer has to be made again.
    """
    _, replica = _servers(load_settings())
    asyncio.run(replica.stop())
    out.print("The replica is stopped. To let it go for good: viral replica remove")


@group.command()
def remove() -> None:
    """Stop the replica and delete its copy of the data. Example: viral replica remove.

    Nothing is lost: the server has it all.
    """
    from viral.postgres.replica import remove_replica

    primary, replica = _servers(load_settings())
    asyncio.run(remove_replica(primary, replica))
    out.print("The replica is gone; take REPLICA_URL out of .env.local.")


@group.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show whether the replica follows, and how far behind. Example: viral replica status --json.

    The exit code is 1 when it does not follow.
    """
    from viral.postgres.replica import replica_status

    found = asyncio.run(replica_status(*_servers(load_settings())))
    facts = {
        "made": found.is_made,
        "running": found.is_running,
        "streaming": found.is_streaming,
        "address": f"{found.address.host}:{found.address.port}" if found.address else None,
        "lag_bytes": found.lag_bytes,
        "lag_s": None if found.lag_s is None else round(found.lag_s, 3),
        "slot": found.slot,
        "kept_bytes": found.kept_bytes,
    }
    if as_json:
        print_json(facts | {"next": _next_step(found)})
    else:
        print_facts(facts)
        if (step := _next_step(found)) is not None:
            out.print(step)
    if not found.is_streaming:
        raise typer.Exit(1)


def _next_step(found: ReplicaStatus) -> str | None:
    """Say what to do about a replica that does not follow."""
    if not found.is_made:
        return "There is no replica: viral replica start"
    if found.slot == "lost":
        return "It was away for too long. Make it again: viral replica start --again"
    return None if found.is_streaming else "It does not follow: viral replica start"


def _servers(settings: Settings) -> tuple[Server, Server]:
    from viral.servers import is_embedded, local_replica, main_server

    if not is_embedded(settings):
        raise BadSetting(
            "DATABASE_URL is set: that server's replica is not ours to make.",
            hint="Make one where that server runs, and name it in REPLICA_URL.",
        )
    return main_server(settings), local_replica(settings)
