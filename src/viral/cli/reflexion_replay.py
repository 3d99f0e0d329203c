"""`viral reflexion replay`: the learnt state from the stored results, bit by bit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from viral.cli.output import out, print_json, progress_bar
from viral.errors import BadInput
from viral.features.reflexion.replay import Replay, replay_platform
from viral.runtime import open_runtime
from viral.schema.vocabulary import PLATFORMS
from viral.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_SHOWN = 10


def replay_platforms(platform: str | None, *, is_check: bool, as_json: bool) -> bool:
    """Replay one platform or all; True where a check found a difference."""
    if platform is not None and platform not in PLATFORMS:
        raise BadInput(
            f"{platform[:60]!r} is not a platform.", hint=f"These are: {', '.join(PLATFORMS)}."
        )
    with progress_bar("Replaying") as advance:
        replays = asyncio.run(_replay(platform, advance, is_check=is_check))
    if as_json:
        print_json([_document(each) for each in replays])
    else:
        for each in replays:
            _show(each, is_check=is_check)
    return is_check and any(each.differences for each in replays)


async def _replay(
    platform: str | None, advance: Callable[[str, int, int | None], None], *, is_check: bool
) -> list[Replay]:
    replays = []
    async with open_runtime(load_settings()) as runtime:
        for name in PLATFORMS if platform is None else (platform,):

            def step(done: int, name: str = name) -> None:
                advance(f"Replaying {name}", done, None)

            async with runtime.system.session_without_tenant() as session:
                replays.append(
                    await replay_platform(
                        session, name, hashed=runtime.hashed, is_check=is_check, progress=step
                    )
                )
    return replays


def _document(replay: Replay) -> dict[str, object]:
    return {
        "platform": replay.platform,
        "results": replay.results,
        "missing": replay.missing,
        "rows": replay.rows,
        "differences": len(replay.differences),
        "first": [
            {"row": each.key, "stored": each.stored, "rebuilt": each.rebuilt}
            for each in replay.differences[:MOST_SHOWN]
        ],
    }


def _show(replay: Replay, *, is_check: bool) -> None:
    counted = f"{replay.platform}: {replay.results:,} results, {replay.rows:,} rows of state"
    if not replay.differences:
        out.print(f"{counted}, all the same to the last bit.")
        return
    done = "differ" if is_check else "differed and are rebuilt"
    out.print(f"{counted}, {len(replay.differences):,} {done}:")
    for each in replay.differences[:MOST_SHOWN]:
        tenant, goal, family, key = each.key
        whose = tenant or "all tenants"
        out.print(f"  {whose} {goal} {family} {key}: stored {each.stored}, rebuilt {each.rebuilt}")
    if replay.missing:
        out.print(f"  {replay.missing:,} results were erased since; what they taught is gone.")
