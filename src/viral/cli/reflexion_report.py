"""`viral reflexion report`: whether learning helps, on one page."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.text import Text

from viral.cli.output import out, print_json, print_table
from viral.cli.reflexion_guards import show_guards
from viral.cli.reflexion_status import show_errors
from viral.features.reflexion.report import ReflexionReport, reflexion_report
from viral.features.tenants import find_tenant
from viral.runtime import open_runtime
from viral.settings import load_settings

if TYPE_CHECKING:
    from viral.features.reflexion.report import TestedInsight


def show_report(tenant: str | None, *, as_json: bool) -> None:
    """Print the report of a tenant."""
    report = asyncio.run(_report(tenant))
    if as_json:
        print_json(asdict(report))
        return
    _show_errors(report)
    _show_calibration(report)
    show_guards(report.guards)
    counts = report.adjustments
    out.print(
        f"Adjustments: {counts.active:,} served, {counts.undone_by_guard:,} taken back by the"
        f" guard, {counts.undone_by_hand:,} by hand."
    )
    _show_insights(report)


async def _report(slug: str | None) -> ReflexionReport:
    async with open_runtime(load_settings()) as runtime:
        async with runtime.system.session_without_tenant() as session:
            tenant = await find_tenant(session, slug)
        return await runtime.reading.read(tenant.id, reflexion_report)


def _show_errors(report: ReflexionReport) -> None:
    out.print(f"{report.learned:,} results learnt, {report.waiting:,} wait.")
    comparison = report.comparison
    if comparison is None:
        out.print("Too few results of predicted videos for a figure; ten are needed.")
        return
    out.print(f"Mean error of {comparison.results:,} predicted results, in points:")
    show_errors(comparison.without_learning, comparison.with_learning)
    out.print(
        f"  learning gains {comparison.gain:+.1f} points a result"
        f" (80 % interval {comparison.low:+.1f} to {comparison.high:+.1f})"
    )


def _show_calibration(report: ReflexionReport) -> None:
    if not report.calibration:
        return
    out.print("What was foretold, and what became of it; 80 % should be inside the interval:")
    print_table(
        ("  points", "results", "foretold", "reached", "inside"),
        [
            (
                f"  {each.low} to {each.high}",
                each.results,
                each.predicted,
                each.actual,
                f"{each.inside:.0%}",
            )
            for each in report.calibration
        ],
    )


def _show_insights(report: ReflexionReport) -> None:
    if not report.insights:
        out.print("No hypothesis is on trial yet.")
        return
    out.print("Hypotheses, tested on results that came after them, in points:")
    for each in report.insights:
        out.print(Text(f"  {each.status:<10} {each.pattern}"))
        out.print(Text(f"{'':13}{_evidence(each)}"))
        out.print(Text(f"{'':13}id {each.id}", style="dim"))
    out.print("End one: viral reflexion undo --insight ID")
    out.print("Critics, by the confidence they stated:")
    print_table(
        ("  critic", "confidence", "stated", "decided", "confirmed"),
        [
            (f"  {each.critic}", each.confidence, each.stated, each.decided, each.confirmed)
            for each in report.critics
        ],
    )


def _evidence(each: TestedInsight) -> str:
    guess = "more" if each.sign > 0 else "less"
    z = "" if each.z is None else f", z {each.z:+.1f}"
    gain = "" if each.gain is None else f", gains {each.gain:+.1f} a video"
    return f"guessed {guess}; {each.effect:+.1f} over {each.firings:,} videos{z}{gain}"
