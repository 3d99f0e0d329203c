"""Handlers that compute, in a module that another process can import."""

from __future__ import annotations

import os
import time

import msgspec
from queues import Numbered


class Large(msgspec.Struct, frozen=True):
    """A payload that may be too large."""

    text: str


def square(request: Numbered) -> dict[str, object]:
    """Compute, and say where."""
    return {"square": request.n**2, "pid": os.getpid()}


def die(_request: Numbered) -> None:
    """End the process in the middle of a job."""
    os._exit(3)


def never_end(_request: Numbered) -> None:
    """Take all the time there is."""
    time.sleep(3600)
