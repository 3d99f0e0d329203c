"""`viral reflexion`: learning from results, and the proof."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer
from rich.text import Text

from viral.cli.output import out, print_json, progress_bar
from viral.errors import BadInput
from viral.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from viral.features.reflexion.run import RunReport
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
                "adjustments": report.adjustments,
            }
        )
        return
    out.print(
        f"Learnt from {report.results:,} results of {report.tenants:,} tenants:"
        f" {report.critiques:,} critiques, {report.insights:,} insights,"
        f" {report.adjustments:,} adjustments."
    )


@group.command()
def status(tenant: Tenant = None, as_json: AsJson = False) -> None:
    """Show the error with learning and without, and the newest adjustments.

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
    adjustments = document["adjustments"]
    assert isinstance(adjustments, list)
    _show_adjustments(adjustments)


@group.command()
def undo(
    adjustment: Annotated[str, typer.Argument(help="The adjustment's id, see status.")],
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """Serve the value from before an adjustment again, and keep it.

    Example: viral reflexion undo 0199f3a0-... --tenant demo
    """
    undone = asyncio.run(_undo(adjustment, tenant))
    if as_json:
        print_json({"id": undone.id, "value": undone.old_value})
    else:
        out.print(f"Undone: the effect is served at {undone.old_value:+.1f} points again.")


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
            now=runtime.clock(),
            hashed=runtime.hashed,
            progress=advance,
        )


async def _status(slug: str | None) -> dict[str, object]:
    from viral.features.reflexion import status as proof
    from viral.features.tenants import find_tenant
    from viral.runtime import open_runtime

    async with open_runtime(load_settings()) as runtime:
        async with runtime.system.session_without_tenant() as session:
            tenant = await find_tenant(session, slug)
        learned, waiting = await runtime.reading.read(tenant.id, proof.count_results)
        results = await runtime.reading.read(tenant.id, proof.scored_results)
        adjustments = await runtime.reading.read(
            tenant.id, partial(proof.list_adjustments, limit=20)
        )
    accuracy = proof.accuracy_of(results)
    return {
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


async def _undo(adjustment: str, slug: str | None) -> ScoringAdjustment:
    from viral.features.reflexion.adjustments import undo_adjustment
    from viral.features.tenants import find_tenant
    from viral.runtime import open_runtime

    try:
        adjustment_id = UUID(adjustment)
    except ValueError as error:
        raise BadInput(
            f"{adjustment[:60]!r} is not an adjustment's id.", hint="See `viral reflexion status`."
        ) from error
    async with open_runtime(load_settings()) as runtime:
        async with runtime.system.session_without_tenant() as session:
            tenant = await find_tenant(session, slug)
        async with runtime.app.tenant_session(tenant.id) as session:
            return await undo_adjustment(session, adjustment_id, user_id=None, now=runtime.clock())


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
        undone = "" if each["state"] == "active" else "  (undone)"
        out.print(Text(f"  {moved}  {each['what']} ({where}){undone}", style="bold"))
        out.print(Text(f"{'':20}{each['evidence']}"))
        out.print(Text(f"{'':20}id {each['id']}", style="dim"))
    if len(adjustments) > ADJUSTMENTS_SHOWN:
        out.print("More of them: --json")
    out.print("Undo one: viral reflexion undo ID")
