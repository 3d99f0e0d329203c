"""A process that has imported the product; each run of `viral` is a fork of it.

Importing takes most of the time of a short command. A fork has its own environment, folder,
arguments and streams like any process; `viral.cli` is imported in it, as it looks at the streams.

Run as a program by `shell.py`: descriptor 0 is a socket that takes requests.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

LONGEST_S = 60
_STREAMS = (0, 1, 2)


class Preloaded:
    """The end of the tests: asks for runs, several at once if need be."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests

    def run(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        streams: Sequence[int],
    ) -> int:
        """Run `viral` on three descriptors to its end, and return its exit code."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                socket.send_fds(self._requests, [b"."], [theirs.fileno(), *streams])
            request = {"arguments": [*arguments], "environment": {**environment}}
            ours.sendall(json.dumps(request | {"folder": str(folder)}).encode() + b"\n")
            with ours.makefile("rb") as answer:
                code = answer.readline()
        assert code, f"viral {' '.join(arguments)} was killed, or took over {LONGEST_S} seconds"
        return int(code)


def _import_everything() -> None:
    viral = importlib.import_module("viral")
    importlib.import_module("typer")
    importlib.import_module("rich.progress")
    for module in pkgutil.walk_packages(viral.__path__, "viral."):
        if not module.name.startswith(("viral.cli", "viral.migrations", "viral.__main__")):
            # What cannot be imported is to fail in the commands that need it, and only in them.
            with suppress(ImportError):
                importlib.import_module(module.name)


def _serve(requests: socket.socket) -> None:
    while True:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        _, descriptors, _, _ = socket.recv_fds(requests, 1, 1 + len(_STREAMS))
        if not descriptors:
            return
        if os.fork() == 0:
            requests.close()
            _become(socket.socket(fileno=descriptors[0]), descriptors[1:])
        for each in descriptors:
            os.close(each)


def _become(asker: socket.socket, streams: Sequence[int]) -> NoReturn:
    """Be the process that was asked for."""
    signal.alarm(LONGEST_S)
    for wanted, stream in zip(_STREAMS, streams, strict=True):
        os.dup2(stream, wanted)
        os.close(stream)
    with asker.makefile("rb") as lines:
        request = json.loads(lines.readline())
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.chdir(request["folder"])
    sys.argv = ["viral", *request["arguments"]]
    code = _run()
    sys.stdout.flush()
    sys.stderr.flush()
    asker.sendall(b"%d\n" % code)
    os._exit(code)


def _run() -> int:
    from viral.__main__ import main

    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


if __name__ == "__main__":
    _import_everything()
    _serve(socket.socket(fileno=0))
