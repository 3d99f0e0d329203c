"""`python -m worker.worker_with_test_jobs worker`: a real worker process with jobs of the tests.

A job's payload names the point at which it stops, until the process is killed; those of the queue
itself have a lane each, which stops there. What the environment says: TEST_PLATFORM, the port of
the fake platform, and TEST_STALL_S, the watchdog's patience.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import msgspec
from fakes.platform import Client, Json

from viral.cli.application import run
from viral.features.jobs.types import JobType
from viral.worker import keeper
from viral.worker.attempts import Answer, Ending, Exchange
from viral.worker.handling import HANDLERS, AtWork, Handled
from worker.conftest import Installation

MODULE = "worker.worker_with_test_jobs"
PLATFORM = "TEST_PLATFORM"
STALL = "TEST_STALL_S"


class Step(msgspec.Struct, frozen=True):
    """What a job is to do: stop at a point, or last for a while."""

    stop_at: str = ""
    lasts_s: float = 0.0
    # A file that a process of the job writes its id into.
    pid_file: str = ""


POST = JobType("post", payload=Step)
# Steps of the queue itself, each in a lane of its own.
CLAIMED = JobType("claimed", payload=Step, queue="claimed")
HANDING_IN = JobType("handing-in", payload=Step, queue="handing-in")
HANDED_IN = JobType("handed-in", payload=Step, queue="handed-in")
OF_QUEUE = (CLAIMED, HANDING_IN, HANDED_IN)
SLEEP = JobType("sleep", payload=Step)
EXIT = JobType("exit", max_attempts=2)
BLOCK = JobType("block", max_attempts=1)
COMPUTE = JobType("compute", payload=Step, is_cpu_bound=True)


async def reach(step: Step, point: str, at_work: AtWork) -> None:
    """Stop at a point that the job names, in its first attempt."""
    if step.stop_at == point and at_work.attempt == 1:
        await asyncio.Event().wait()


def poster(platform: Client) -> Callable[[AtWork, Step], Awaitable[Json]]:
    """Post once, and stop at any step of it."""

    async def post(at_work: AtWork, step: Step) -> Json:
        async def act(key: str) -> Json:
            await reach(step, "noted", at_work)
            made = await platform.post(key)
            await reach(step, "acted", at_work)
            return made

        await reach(step, "begun", at_work)
        made = await at_work.once("post", act, platform.find)
        await reach(step, "done", at_work)
        return made

    return post


async def last(at_work: AtWork, step: Step) -> Json:
    """Take a while, the first time."""
    if at_work.attempt == 1:
        await asyncio.sleep(step.lasts_s)
    return {}


async def leave(_at_work: AtWork) -> None:
    """End the process in the middle of a job."""
    os._exit(3)


async def block(_at_work: AtWork) -> None:
    """Never let anybody else do anything."""
    time.sleep(3600)


def compute(step: Step) -> None:
    """Tell which process this is and never end, the first time."""
    told = Path(step.pid_file)
    if not told.exists():
        told.write_text(str(os.getpid()))
        time.sleep(3600)


class StoppingExchange(Exchange):
    """Stops where a lane's name says: before or after the answer is seen."""

    async def __call__(
        self, endings: Sequence[Ending], wanted: int, *, may_suspect: bool = True
    ) -> Answer:
        if self._queue == HANDING_IN.name and endings:
            await asyncio.Event().wait()
        answer = await super().__call__(endings, wanted, may_suspect=may_suspect)
        if (self._queue == CLAIMED.name and answer.claims) or (
            self._queue == HANDED_IN.name and endings
        ):
            await asyncio.Event().wait()
        return answer


def handlers_of(platform: Client) -> dict[str, Handled]:
    """Return the handlers, for this process or for that of a test."""
    posting = poster(platform)
    return {
        **{each.name: Handled(each, posting) for each in (POST, *OF_QUEUE)},
        SLEEP.name: Handled(SLEEP, last),
        EXIT.name: Handled(EXIT, leave),
        BLOCK.name: Handled(BLOCK, block),
        COMPUTE.name: Handled(COMPUTE, compute),
    }


def told(installation: Installation, **variables: str) -> Installation:
    """Tell the processes of an installation more."""
    return replace(installation, environment={**installation.environment, **variables})


def main() -> None:
    """Run the command `viral` with these jobs; steps of the queue stop in this process."""
    from viral.worker import handlers, loop

    assert handlers.HANDLERS is HANDLERS
    HANDLERS.update(handlers_of(Client(int(os.environ.get(PLATFORM, "0")))))
    keeper.STALL_S = float(os.environ.get(STALL, keeper.STALL_S))
    sys.argv = ["viral", *sys.argv[1:], "--concurrency", "10"]
    # The one seam that is before the commit.
    with patch.object(loop, "Exchange", StoppingExchange):
        run()


if __name__ == "__main__":
    main()
