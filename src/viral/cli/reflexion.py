"""`viral reflexion`: learning from results, and the proof."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli.output import out, print_json, progress_bar
from viral.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from viral.features.reflexion.run import RunReport

group = typer.Typer(no_args_is_help=True, help="Reflexion: learning from misses, with proof.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Tenant = Annotated[
    str | None, typer.Option("--tenant", help="The tenant's slug; needed when there are several.")
]


@group.command()
def run(as_json: AsJson = False) -> None:
    """Learn from all results that wait: critiques, insights, adjustments.

    Example: viral reflexion run
    """
    with progress_bar("Learning") as advance:
        report = asyncio.run(_run(advance))
    if as_json:
        print_json(asdict(report))
        return
    if not report.results and not report.tenants:
        out.print("No result waits to be learnt.")
        return
    out.print(
        f"Learnt from {report.results:,} results of {report.tenants:,} tenants:"
        f" {report.critiques:,} critiques, {report.insights:,} insights,"
        f" {report.adjustments:,} adjustments."
    )
    if report.confirmed or report.refuted:
        out.print(f"Hypotheses: {report.confirmed:,} confirmed, {report.refuted:,} refuted.")
    if report.capped:
        out.print(
            f"{report.capped:,} of the critiques are the offline critic's: their tenants' money for"
            " today is spent (VIRAL_CLAUDE_DAILY_COST)."
        )
    for platforms, what in (
        (report.versions, "a new version of the shared effects is served"),
        (report.rolled_back, "the guard took the newest version of the shared effects back"),
    ):
        for platform in platforms:
            out.print(f"{platform}: {what}.")


@group.command()
def status(tenant: Tenant = None, as_json: AsJson = False) -> None:
    """Show the error with learning and without, what the guard waits for, and new adjustments.

    Example: viral reflexion status --tenant demo
    """
    from viral.cli.reflexion_status import show_status

    show_status(tenant, as_json=as_json)


@group.command()
def undo(
    adjustment: Annotated[
        str | None, typer.Argument(help="The adjustment's id, see status.")
    ] = None,
    whole_run: Annotated[
        bool, typer.Option("--run", help="All adjustments published together with it.")
    ] = False,
    insight: Annotated[
        str | None, typer.Option("--insight", help="An insight and all it changed.")
    ] = None,
    shared: Annotated[
        tuple[str, str, str, str] | None,
        typer.Option(
            "--shared",
            metavar="PLATFORM GOAL FAMILY KEY",
            help="An effect of all tenants, for this tenant alone.",
        ),
    ] = None,
    version: Annotated[
        tuple[str, int] | None,
        typer.Option(
            "--version",
            metavar="PLATFORM NUMBER",
            help="A version of the effects of all tenants, and those after it.",
        ),
    ] = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """Serve what was served before an adjustment, a run, an insight or a version, and keep it.

    Example: viral reflexion undo 0199f3a0-... --tenant demo
    """
    from viral.cli.reflexion_undo import undo_one

    said = undo_one(
        adjustment=adjustment,
        whole_run=whole_run,
        insight=insight,
        shared=shared,
        version=version,
        tenant=tenant,
    )
    if as_json:
        print_json(said.document)
    else:
        out.print(said.text)


@group.command()
def why(
    concept: Annotated[str, typer.Argument(help="The concept's id, see concepts.")],
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """Show why a concept scores as it does: each effect, what it rests on, and videos like it.

    Example: viral reflexion why 0199f3a0-... --tenant demo
    """
    from viral.cli.reflexion_why import show_why

    show_why(concept, tenant, as_json=as_json)


@group.command()
def report(tenant: Tenant = None, as_json: AsJson = False) -> None:
    """Show on one page whether learning helps, what is on trial, and how good the critics are.

    Example: viral reflexion report --tenant demo
    """
    from viral.cli.reflexion_report import show_report

    show_report(tenant, as_json=as_json)


@group.command()
def replay(
    platform: Annotated[
        str | None, typer.Option("--platform", help="One platform; without it, all.")
    ] = None,
    is_check: Annotated[
        bool, typer.Option("--check", help="Only compare; exit with 1 where anything differs.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build the learnt state anew from all stored results, bit by bit, and keep it.

    Example: viral reflexion replay --check
    """
    from viral.cli.reflexion_replay import replay_platforms

    if replay_platforms(platform, is_check=is_check, as_json=as_json):
        raise typer.Exit(1)


@group.command()
def evaluate(
    file: Annotated[Path, typer.Argument(help="Past results, as for performance import.")],
    after: Annotated[
        Path | None, typer.Option("--after", help="Earlier results to live through first.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", help="Write every prediction to this CSV.")
    ] = None,
    candidates: Annotated[
        Path | None,
        typer.Option("--candidates", help="Write sets of five, foretold on one day, to this CSV."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Back-test the learner on a history, beside simpler learners; needs no database.

    Example: viral reflexion evaluate results.csv --predictions predictions.csv
    """
    from viral.cli.evaluate import evaluate_files

    evaluate_files(file, after, predictions, as_json=as_json, candidates=candidates)


async def _run(advance: Callable[[str, int, int | None], None]) -> RunReport:
    from viral.features.reflexion.run import run_reflexion
    from viral.runtime import open_runtime

    async with open_runtime(load_settings()) as runtime:
        return await run_reflexion(
            runtime.app,
            runtime.system,
            critic=runtime.critic,
            offline=runtime.offline_critic,
            daily_cost=runtime.settings.claude_daily_cost,
            now=runtime.clock(),
            hashed=runtime.hashed,
            progress=advance,
        )
