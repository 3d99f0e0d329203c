"""Measures a GET of ours beside two others: python bench/http/compare.py [--rounds 9].

The 20 newest generations with their concepts, asked for with an API key: the same rows of one
server of PostgreSQL, one process each. No row changes meanwhile, so ours sends the pages again that
it made before; a second one of ours makes each anew. Rounds are interleaved; a target is about the
median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import uvloop
from load import Slice, ask, page_of
from table import MANY, Figures, judge, print_table
from webservers import EVERYBODY, FOLDER, Contender, Ground, prepare, running

from viral.database.secrets import Secrets
from viral.postgres.backup.restore import remove_server
from viral.postgres.bootstrap import bootstrap
from viral.postgres.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATH = "/api/v1/generations"
GENERATIONS = 20
CLIENTS = (1, MANY)
# Slices are short, so that other load on the machine meets all alike.
SLICE_S, WARM_UP_S = 1.5, 2.0


async def main(arguments: list[str]) -> int:
    """Print the table; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--slice", type=float, default=SLICE_S, metavar="SECONDS")
    parser.add_argument("--json", type=Path, default=FOLDER / "http.json", metavar="FILE")
    options = parser.parse_args(arguments)
    if not (FOLDER / "venv").is_dir():
        sys.exit("What we compare with is not installed: run `make bench-http`.")
    async with AsyncExitStack() as stack:
        ground = await prepare(await stack.enter_async_context(running_server()))
        everybody = [await stack.enter_async_context(running(name, ground)) for name in EVERYBODY]
        size_bytes = await check_same(everybody, ground)
        figures = await measure(everybody, ground, options.rounds, options.slice)
    verdicts = judge(figures)
    print(f"GET {PATH}: {GENERATIONS} generations, {size_bytes / 1000:.0f} KB of JSON.")
    print_table(figures, verdicts)
    document = [each.document() for each in verdicts]
    options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return int(any(each.is_missed for each in verdicts))


@asynccontextmanager
async def running_server() -> AsyncIterator[Server]:
    """Have a server with roles; it is gone with all its files at the end."""
    with tempfile.TemporaryDirectory(prefix="viral-bench-", dir=FOLDER) as folder:
        home = Path(folder) / "home"
        server = Server(home=home, secrets=Secrets.load_or_create(home))
        try:
            await server.start()
            await bootstrap(server.socket_url("viral_admin"), server.secrets)
            yield server
        finally:
            await remove_server(server)


async def check_same(everybody: list[Contender], ground: Ground) -> int:
    """See that all answer the same; return the size of our answer."""
    for key in ground.keys[:2]:
        answers = [await page_of(each.port, PATH, key) for each in everybody]
        ours, *others = (_read(each) for each in answers)
        if len(ours) != GENERATIONS or any(each != ours for each in others):
            sys.exit("The answers differ: there is nothing to compare.")
    return len(answers[0])


def _read(answer: bytes) -> list[object]:
    """Read a page; moments are the same however they are written."""

    def moment(document: dict[str, str]) -> None:
        for name in ("date", "post_at"):
            if name in document:
                document[name] = str(datetime.fromisoformat(document[name]))

    generations: list[object] = []
    for each in msgspec.json.decode(answer)["generations"]:
        for document in (each, *each["concepts"]):
            moment(document)
        generations.append(each)
    return generations


async def measure(
    everybody: list[Contender], ground: Ground, rounds: int, slice_s: float
) -> Figures:
    """Ask all of them in turn, the first one another each round."""
    figures: Figures = {clients: {each.name: [] for each in everybody} for clients in CLIENTS}
    for contender in everybody:
        await ask(contender.port, PATH, ground.keys, clients=MANY, seconds=WARM_UP_S)
    for number in range(rounds):
        print(f"Round {number + 1} of {rounds} ...", file=sys.stderr)
        first = number % len(everybody)
        for clients, found in figures.items():
            for contender in everybody[first:] + everybody[:first]:
                found[contender.name].append(
                    await _one_slice(contender, ground.keys, clients, slice_s)
                )
    return figures


async def _one_slice(contender: Contender, keys: list[str], clients: int, seconds: float) -> Slice:
    before = contender.cpu_s()
    found = await ask(contender.port, PATH, keys, clients=clients, seconds=seconds)
    found.cpu_s = contender.cpu_s() - before
    return found


if __name__ == "__main__":
    try:
        sys.exit(uvloop.run(main(sys.argv[1:])))
    except KeyboardInterrupt:
        sys.exit(130)
