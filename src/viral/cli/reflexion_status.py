"""`viral reflexion status`: the proof, what the guards wait for, what changed last."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

from rich.text import Text

from viral.cli.output import out, print_json
from viral.cli.reflexion_guards import show_guards
from viral.features.generations.costs import spent_today
from viral.features.reflexion import status as proof
from viral.features.reflexion.report import own_guards
from viral.features.reflexion.shared_guard import shared_standing
from viral.features.scoring.labels import label_of
from viral.features.tenants import find_tenant
from viral.runtime import open_runtime
from viral.schema.vocabulary import PLATFORMS
from viral.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from viral.features.reflexion.report import OwnGuard
    from viral.features.reflexion.shared_guard import SharedStanding
    from viral.features.reflexion.status import Accuracy
    from viral.schema.learning import ScoringAdjustment

LISTED, SHOWN = 20, 10
BAR = 42


@dataclass(frozen=True, slots=True)
class _Standing:
    """Where learning stands; `most` (USD a day) is None where the critic costs nothing."""

    learned: int
    waiting: int
    accuracy: Accuracy | None
    adjustments: list[ScoringAdjustment]
    own: list[OwnGuard]
    shared: list[SharedStanding]
    critic: str
    spent: Decimal
    most: Decimal | None


def show_status(tenant: str | None, *, as_json: bool) -> None:
    """Print where learning stands for a tenant."""
    standing = asyncio.run(_find(tenant))
    adjustments = [_adjustment(each) for each in standing.adjustments]
    if as_json:
        print_json(
            {
                "learned": standing.learned,
                "waiting": standing.waiting,
                "accuracy": _accuracy(standing.accuracy),
                "own": [asdict(each) for each in standing.own],
                "shared": [_shared(each) for each in standing.shared],
                "cost": {
                    "critic": standing.critic,
                    "today": standing.spent,
                    "most": standing.most,
                },
                "adjustments": adjustments,
            }
        )
        return
    out.print(f"{standing.learned:,} results learnt, {standing.waiting:,} wait.")
    _show_accuracy(standing.accuracy)
    show_guards(standing.own, standing.shared)
    _show_cost(standing)
    _show_adjustments(adjustments)


def show_errors(without_learning: float, with_learning: float) -> None:
    """Draw both errors as bars, so that one sees before one reads."""
    for label, value in (("without learning", without_learning), ("learnt", with_learning)):
        out.print(f"  {label:<17}{'█' * min(BAR, round(value)):<{BAR}}{value:5.1f}")


async def _find(slug: str | None) -> _Standing:
    async with open_runtime(load_settings()) as runtime:
        async with runtime.system.session_without_tenant() as session:
            tenant = await find_tenant(session, slug)
        read = partial(runtime.reading.read, tenant.id)
        learned, waiting = await read(proof.count_results)
        spent = await read(partial(spent_today, now=runtime.clock()))
        is_free = runtime.critic is runtime.offline_critic
        async with runtime.system.session_without_tenant() as session:
            shared = [await shared_standing(session, platform) for platform in PLATFORMS]
        return _Standing(
            learned=learned,
            waiting=waiting,
            accuracy=proof.accuracy_of(
                await read(partial(proof.scored_results, most=proof.WINDOW))
            ),
            adjustments=await read(partial(proof.list_adjustments, limit=LISTED)),
            own=await read(own_guards),
            shared=shared,
            critic=runtime.critic.name,
            spent=spent,
            most=None if is_free else runtime.settings.claude_daily_cost,
        )


def _accuracy(found: Accuracy | None) -> dict[str, object] | None:
    if found is None:
        return None
    return {
        "results": found.results,
        "with_learning": round(found.with_learning, 2),
        "without_learning": round(found.without_learning, 2),
        "inside_interval": round(found.inside, 3),
    }


def _shared(each: SharedStanding) -> dict[str, object]:
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
    return {
        "id": row.id,
        "platform": row.platform,
        "goal": row.goal,
        "what": label_of(row.adjustment_type, row.category),
        "old": round(row.old_value, 3),
        "new": round(row.new_value, 3),
        "evidence": row.reason,
        "applied_at": row.applied_at,
        "state": "undone" if row.reverted_at else "active",
        "undone_because": row.revert_reason,
    }


def _show_accuracy(found: Accuracy | None) -> None:
    if found is None:
        out.print("Too few results of predicted videos for a figure; five are needed.")
        return
    out.print(f"Mean error of the last {found.results} predicted results, in points:")
    show_errors(found.without_learning, found.with_learning)
    out.print(f"  inside their 80 % interval: {found.inside:.0%}")


def _show_cost(standing: _Standing) -> None:
    if standing.most is None:
        return
    out.print(f"Models cost {standing.spent:.2f} of {standing.most:.2f} USD today (UTC).")
    if standing.spent >= standing.most:
        out.print(f"Until midnight the offline critic stands in for {standing.critic}.")


def _show_adjustments(adjustments: Sequence[dict[str, object]]) -> None:
    """Write each on lines of its own: an id that is folded cannot be copied."""
    if not adjustments:
        out.print("No adjustment is published yet.")
        return
    out.print("Newest adjustments, in points:")
    for each in adjustments[:SHOWN]:
        moved = f"{each['old']:+6.1f} to {each['new']:+6.1f}"
        out.print(
            Text(f"  {moved}  {each['what']} ({each['platform']}, {each['goal']})", style="bold")
        )
        if each["state"] == "undone":
            out.print(Text(f"{'':20}undone {each['undone_because'] or ''}"))
        out.print(Text(f"{'':20}{each['evidence']}"))
        out.print(Text(f"{'':20}id {each['id']}", style="dim"))
    if len(adjustments) > SHOWN:
        out.print("More of them: --json")
    out.print("Undo one: viral reflexion undo ID; all of its run: --run")
