"""`viral reflexion why`: the trail of a concept's score, down to rows."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from functools import partial
from itertools import groupby
from shlex import quote
from textwrap import wrap
from typing import TYPE_CHECKING
from uuid import UUID

from rich.text import Text

from viral.cli.output import out, print_json
from viral.errors import BadInput
from viral.features.reflexion.why import Change, Share, Why, why_concept
from viral.features.tenants import find_tenant
from viral.learner.families import GLOBAL
from viral.runtime import open_runtime
from viral.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.schema.content import Concept

WIDTH = 80
BAR = 20
TITLE = 62
INDENT = " " * 10


def show_why(concept: str, tenant: str | None, *, as_json: bool) -> None:
    """Print why a concept scores as it does."""
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
        return
    for each in whys:
        _show(each)
    out.print(
        "\nTake one back: viral reflexion undo ID; what is shared, for this tenant alone:\n"
        "viral reflexion undo --shared PLATFORM GOAL FAMILY KEY"
    )


async def _why(concept_id: UUID, slug: str | None) -> tuple[Concept, list[Why]]:
    async with open_runtime(load_settings()) as runtime:
        async with runtime.system.session_without_tenant() as session:
            tenant = await find_tenant(session, slug)
        return await runtime.reading.read(
            tenant.id, partial(why_concept, concept_id=concept_id, hashed=runtime.hashed)
        )


def _show(why: Why) -> None:
    version = f"version {why.model_version}" if why.model_version else "nothing learnt yet"
    out.print(
        f"\n{why.platform}: {why.score:.1f} points, 80 % interval {why.low:.1f} to {why.high:.1f}"
        f" ({version})"
    )
    # Where everybody starts is no reason, and longer than all that are.
    largest = max((abs(each.points) for each in why.shares if not _is_start(each)), default=1.0)
    for share in why.shares:
        bar = "" if _is_start(share) else _bar(share.points / (largest or 1.0))
        out.print(Text(f"  {share.points:+6.1f}  {bar:<{BAR}}  {share.label}"))
        for line in (*_basis(share), *_changes(share)):
            out.print(Text(line, style="dim"))
    if why.similar:
        out.print("  Videos of yours that are most like it: predicted, actual")
        for each in why.similar:
            out.print(Text(f"  {each.predicted:6.1f} {each.actual:6.1f}  {each.title[:TITLE]}"))


def _is_start(share: Share) -> bool:
    return (share.family, share.key) == GLOBAL


def _bar(size: float) -> str:
    return ("+" if size > 0 else "-") * max(1, round(BAR * abs(size)))


def _basis(share: Share) -> list[str]:
    if not share.videos:
        return []
    videos = _counted(share.videos, "video")
    if not share.is_shared:
        return [f"{INDENT}{videos} of yours"]
    name = f"{share.family} {quote(share.key)}"
    return [f"{INDENT}{videos} of {_counted(share.tenants, 'tenant')}, shared as {name}"]


def _changes(share: Share) -> Iterator[str]:
    """Give the adjustments of both goals, then the critique that they have in common."""
    for critique, changes in groupby(share.changes, key=lambda each: each.critique):
        grounds = ""
        for each in changes:
            yield f"{INDENT}{each.goal} {each.old:+.1f} to {each.new:+.1f}, id {each.id}"
            yield from _wrapped(f"{each.applied_at:%Y-%m-%d}: {each.evidence}")
            grounds = _insight(each)
        yield from _wrapped(f"critique: {critique}")
        if grounds:
            yield from _wrapped(grounds)


def _insight(change: Change) -> str:
    if change.insight is None:
        return ""
    z = "" if change.z is None else f", z {change.z:+.1f}"
    return f"insight {change.insight_id}: {change.insight}{z}"


def _wrapped(text: str) -> list[str]:
    return wrap(text, WIDTH, initial_indent=f"{INDENT}  ", subsequent_indent=f"{INDENT}  ")


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
