"""`viral reflexion why` and `report`: pages for people."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from rich.text import Text

from viral.cli.output import out, print_json
from viral.cli.reflexion_guards import guards_table
from viral.errors import BadInput
from viral.features.reflexion.report import ReflexionReport, reflexion_report
from viral.features.reflexion.why import Change, Share, Why, why_concept
from viral.features.tenants import find_tenant
from viral.runtime import open_runtime
from viral.settings import load_settings

if TYPE_CHECKING:
    from viral.schema.content import Concept

BAR = 30
TITLE = 60


def show_why(concept: str, tenant: str | None, *, as_json: bool) -> None:
    """Print the trail of a concept's predictions."""
    try:
        concept_id = UUID(concept)
    except ValueError as error:
        raise BadInput(
            f"{concept[:60]!r} is not a concept's id.", hint="See `viral concepts list`."
        ) from error
    found, whys = asyncio.run(_why(concept_id, tenant))
    if as_json:
        print_json(
            {"id": found.id, "title": found.title, "platforms": [asdict(each) for each in whys]}
        )
        return
    out.print(Text(found.title, style="bold"))
    if not whys:
        out.print("Nothing was foretold of it.")
    for each in whys:
        _show_why(each)


def show_report(tenant: str | None, *, as_json: bool) -> None:
    """Print the report of a tenant."""
    report = asyncio.run(_report(tenant))
    if as_json:
        print_json(asdict(report))
        return
    _show_errors(report)
    _show_calibration(report)
    if report.guards:
        out.print("Guard:")
        for line in guards_table([asdict(each) for each in report.guards]):
            out.print(line)
    counts = report.adjustments
    out.print(
        f"Adjustments: {counts.active:,} served, {counts.undone_by_guard:,} taken back by the"
        f" guard, {counts.undone_by_hand:,} by hand."
    )
    _show_insights(report)


async def _why(concept_id: UUID, slug: str | None) -> tuple[Concept, list[Why]]:
    async with open_runtime(load_settings()) as runtime:
        async with runtime.system.session_without_tenant() as session:
            tenant = await find_tenant(session, slug)
        return await runtime.reading.read(
            tenant.id, partial(why_concept, concept_id=concept_id, hashed=runtime.hashed)
        )


async def _report(slug: str | None) -> ReflexionReport:
    async with open_runtime(load_settings()) as runtime:
        async with runtime.system.session_without_tenant() as session:
            tenant = await find_tenant(session, slug)
        return await runtime.reading.read(tenant.id, reflexion_report)


def _show_why(why: Why) -> None:
    out.print(
        f"\n{why.platform}: {why.score:.1f} points, 80 % interval {why.low:.1f} to {why.high:.1f}"
        f" (version {why.model_version})"
    )
    largest = max((abs(each.points) for each in why.shares), default=1.0) or 1.0
    for share in why.shares:
        bar = ("+" if share.points > 0 else "-") * max(1, round(BAR * abs(share.points) / largest))
        out.print(Text(f"  {share.points:+6.1f}  {bar:<{BAR}}  {share.label}{_basis(share)}"))
        for change in share.changes:
            out.print(Text(f"{'':10}{_change(change)}", style="dim"))
    if why.similar:
        out.print("  Videos of yours that are most like it, predicted and actual:")
        for each in why.similar:
            shown = f"  {each.predicted:6.1f} {each.actual:6.1f}  {each.title[:TITLE]}"
            out.print(Text(shown))


def _basis(share: Share) -> str:
    if not share.videos:
        return ""
    of = f" of {share.tenants:,} tenants" if share.is_shared else " of yours"
    return f" ({share.videos:,} videos{of})"


def _change(change: Change) -> str:
    insight = "" if change.insight is None else f"; insight {change.insight_id}: {change.insight}"
    return (
        f"{change.goal} {change.old:+.1f} to {change.new:+.1f} on {change.applied_at:%Y-%m-%d}:"
        f" {change.evidence} Adjustment {change.id}; critique: {change.critique}{insight}"
    )


def _show_errors(report: ReflexionReport) -> None:
    out.print(f"{report.learned:,} results learnt, {report.waiting:,} wait.")
    comparison = report.comparison
    if comparison is None:
        out.print("Too few results of predicted videos for a figure; ten are needed.")
        return
    out.print(f"Mean error of {comparison.results:,} predicted results, in points:")
    for label, value in (
        ("without learning", comparison.without_learning),
        ("learnt", comparison.with_learning),
    ):
        out.print(f"  {label:<17}{'█' * round(value):<42}{value:5.1f}")
    out.print(
        f"  learning gains {comparison.gain:+.1f} points a result"
        f" (80 % interval {comparison.low:+.1f} to {comparison.high:+.1f})"
    )


def _show_calibration(report: ReflexionReport) -> None:
    if not report.calibration:
        return
    out.print("Predicted, and what became of it:")
    for each in report.calibration:
        out.print(
            f"  {each.low:3} to {each.high:3}: {each.results:5,} results, foretold"
            f" {each.predicted:5.1f}, reached {each.actual:5.1f}, {each.inside:4.0%} inside"
        )


def _show_insights(report: ReflexionReport) -> None:
    if not report.insights:
        out.print("No hypothesis is on trial yet.")
        return
    out.print("Hypotheses, tested on results that came after them:")
    for each in report.insights:
        z = "" if each.z is None else f", z {each.z:+.1f}"
        gain = "" if each.gain is None else f", gains {each.gain:+.1f} a video"
        out.print(
            Text(
                f"  {each.status:<10} {each.pattern}: {each.effect:+.1f} points over"
                f" {each.firings:,} videos{z}{gain}"
            )
        )
        out.print(Text(f"{'':13}id {each.id}", style="dim"))
    out.print("Critics, by the confidence they stated:")
    for critic in report.critics:
        held = f"{critic.confirmed:,} of {critic.decided:,} decided were confirmed"
        out.print(f"  {critic.critic} {critic.confidence}: {held}, {critic.stated:,} stated")
