"""`viral pooler`: PgBouncer before the embedded server."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer

from viral.cli.output import err, out, print_facts, print_json, print_table
from viral.settings import load_settings

group = typer.Typer(no_args_is_help=True, help="A pooler before the embedded PostgreSQL.")


@group.command()
def start() -> None:
    """Start PgBouncer, and PostgreSQL if it does not run. Example: viral pooler start.

    It prints the addresses to put into .env.local, and stays up after the command.
    """
    from viral.servers import start_pooler

    pooler, warnings = asyncio.run(start_pooler(load_settings()))
    for warning in warnings:
        err.print(f"warning: {warning}")
    out.print(f"The pooler runs at {pooler.url}")
    out.print("To use it, put these lines into .env.local (they hold passwords):")
    for variable, address in pooler.lines.items():
        out.print(f"{variable}={address}", markup=False)


@group.command()
def stop() -> None:
    """Stop the pooler; PostgreSQL goes on. Example: viral pooler stop."""
    from viral.servers import pooler_of

    asyncio.run(pooler_of(load_settings()).stop())
    out.print("The pooler is stopped.")


@group.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show who uses the pooler, and who waits. Example: viral pooler status --json."""
    from viral.servers import pooler_of

    found = asyncio.run(pooler_of(load_settings()).status())
    if as_json:
        print_json(asdict(found))
        return
    address = f"127.0.0.1:{found.port}" if found.port else None
    facts = {"running": found.is_running, "address": address, "pid": found.pid}
    print_facts(facts | {"log": found.log_file})
    if found.pools:
        out.print()
        rows = [tuple(asdict(pool).values()) for pool in found.pools]
        print_table(tuple(asdict(found.pools[0])), rows)
