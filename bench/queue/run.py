"""Measures our queue beside others: python bench/queue/run.py [--rounds 5] [--only drain,fair].

They share one server of the benchmark's own, with fsync on and a database each. Rounds are
interleaved; a target is about the median of the rounds' ratios to the best of the others.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from contenders import FOLDER, contenders
from measures import MEASURES, QUICK, Contest, Sizes, no_figures
from targets import judge, print_table

from viral.database.secrets import Secrets
from viral.postgres.backup.restore import remove_server
from viral.postgres.bootstrap import bootstrap
from viral.postgres.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def main(arguments: list[str]) -> int:
    """Print the table; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(MEASURES), metavar="MEASURES")
    parser.add_argument("--quick", action="store_true", help="few jobs: tries the lines, not us")
    parser.add_argument("--json", type=Path, default=FOLDER / "queue.json", metavar="FILE")
    options = parser.parse_args(arguments)
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(MEASURES):
        parser.error(f"no measure {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    figures = no_figures()
    async with running_server() as server:
        taking_part = await contenders(server)
        contest = Contest(server, taking_part, QUICK if options.quick else Sizes(), figures)
        for number in range(options.rounds):
            await contest.round(number, chosen)
    verdicts = judge(figures)
    print_table(verdicts, [each.name for each in taking_part])
    document = {"lines": [each.document() for each in verdicts], "figures": figures}
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


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(sys.argv[1:])))
    except KeyboardInterrupt:
        sys.exit(130)
