"""`viral reflexion`: learning from results, and the proof."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from viral.cli.output import out, print_json, progress_bar
from viral.cli.reflexion_guards import show_guards
from viral.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from viral.features.reflexion.run import RunReport
    from viral.features.reflexion.versions import SharedStanding
    from viral.schema.learning import ScoringAdjustment

group = typer.Typer(no_args_is_help=True, help="Reflexion: learning from misses, with proof.")

ADJUSTMENTS_SHOWN = 10

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
        print_json(
            {
                "results": report.results,
                "by_platform": report.by_platform,
                "tenants": report.tenants,
                "critiques": report.critiques,
                "insights": report.insights,
                "confirmed": report.confirmed,
                "refuted": report.refuted,
                "adjustments": report.adjustments,
                "versions": report.versions,
                "rolled_back": report.rolled_back,
            }
        )
        return
    out.print(
        f"Learnt from {report.results:,} results of {report.tenants:,} tenants:"
        f" {report.critiques:,} critiques, {report.insights:,} insights,"
        f" {report.adjustments:,} adjustments."
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
    document = asyncio.run(_status(tenant))
    if as_json:
        print_json(document)
        return
    out.print(f"{document['learned']:,} results learnt, {document['waiting']:,} wait.")
    accuracy = document["accuracy"]
    if isinstance(accuracy, dict):
        _show_accuracy(accuracy)
    else:
        out.print("Too few results of predicted videos for a figure; five are needed.")
    show_guards(document["own"], document["shared"])
    adjustments = document["adjustments"]
    assert isinstance(adjustments, list)
    _show_adjustments(adjustments)


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
    from viral.cli.reflexion_pages import show_why

    show_why(concept, tenant, as_json=as_json)


@group.command()
def report(tenant: Tenant = None, as_json: AsJson = False) -> None:
    """Show on one page whether learning helps, what is on trial, and how good the critics are.

    Example: viral reflexion report --tenant demo
    """
    from viral.cli.reflexion_pages import show_report

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


async def _status(slug: str | None) -> dict[str, object]:
    from viral.features.reflexion import status as proof
    from viral.features.reflexion.report import own_guards
    from viral.features.reflexion.versions import shared_standing
    from viral.features.tenants import find_tenant
    from viral.runtime import open_runtime
    from viral.schema.vocabulary import PLATFORMS

    async with open_runtime(load_settings()) as runtime:
        async with runtime.system.session_without_tenant() as session:
            tenant = await find_tenant(session, slug)
        learned, waiting = await runtime.reading.read(tenant.id, proof.count_results)
        results = await runtime.reading.read(tenant.id, proof.scored_results)
        adjustments = await runtime.reading.read(
            tenant.id, partial(proof.list_adjustments, limit=20)
        )
        own = await runtime.reading.read(tenant.id, own_guards)
        async with runtime.system.session_without_tenant() as session:
            shared = [await shared_standing(session, platform) for platform in PLATFORMS]
    accuracy = proof.accuracy_of(results)
    return {
        "own": [asdict(each) for each in own],
        "shared": [_standing(each) for each in shared],
        "learned": learned,
        "waiting": waiting,
        "accuracy": None
        if accuracy is None
        else {
            "results": accuracy.results,
            "with_learning": round(accuracy.with_learning, 2),
            "without_learning": round(accuracy.without_learning, 2),
            "inside_interval": round(accuracy.inside, 3),
        },
        "adjustments": [_adjustment(each) for each in adjustments],
    }


def _standing(each: SharedStanding) -> dict[str, object]:
    watched = each.published
    return {
        "platform": each.platform,
        "version": each.version,
        "needed": each.needed,
        "lead": round(each.challenger.guard.mean, 3),
        "lead_z": round(each.challenger.z, 2),
        "watched": 0 if watched is None else watched.guard.results,
        "watched_lead": 0.0 if watched is None else round(watched.guard.mean, 3),
        "watched_z": 0.0 if watched is None else round(watched.z, 2),
    }


def _adjustment(row: ScoringAdjustment) -> dict[str, object]:
    from viral.features.scoring.labels import label_of

    return {
        "id": row.id,
        "platform": row.platform,
        "goal": row.goal,
        "what": label_of(row.adjustment_type, row.category),
        "old": round(row.old_value, 2),
        "new": round(row.new_value, 2),
        "evidence": row.reason,
        "applied_at": row.applied_at,
        "state": "undone" if row.reverted_at else "active",
        "undone_because": row.revert_reason,
    }


def _show_accuracy(accuracy: dict[str, float]) -> None:
    """Draw both errors as bars, so that one sees before one reads."""
    out.print(f"Mean error of the last {accuracy['results']:.0f} predicted results, in points:")
    for name, label in (("without_learning", "without learning"), ("with_learning", "learnt")):
        value = accuracy[name]
        out.print(f"  {label:<17}{'█' * round(value):<42}{value:5.1f}")
    out.print(f"  inside their 80 % interval: {accuracy['inside_interval']:.0%}")


def _show_adjustments(adjustments: Sequence[dict[str, object]]) -> None:
    """Write each on lines of its own: an id that is folded cannot be copied."""
    if not adjustments:
        out.print("No adjustment is published yet.")
        return
    out.print("Newest adjustments, in points:")
    for each in adjustments[:ADJUSTMENTS_SHOWN]:
        moved = f"{each['old']:+6.1f} to {each['new']:+6.1f}"
        where = f"{each['platform']}, {each['goal']}"
        undone = "" if each["state"] == "active" else f"  (undone {each['undone_because'] or ''})"
        out.print(Text(f"  {moved}  {each['what']} ({where}){undone}", style="bold"))
        out.print(Text(f"{'':20}{each['evidence']}"))
        out.print(Text(f"{'':20}id {each['id']}", style="dim"))
    if len(adjustments) > ADJUSTMENTS_SHOWN:
        out.print("More of them: --json")
    out.print("Undo one: viral reflexion undo ID")
