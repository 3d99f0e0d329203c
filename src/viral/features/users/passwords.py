"""Passwords: argon2id (RFC 9106), as slow as this machine bears, and none of the common ones."""

from __future__ import annotations

import asyncio
import json
import secrets as random
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError

from viral.database.secrets import explained, locked, read_private, write_private
from viral.errors import BadSetting, PasswordRefused

if TYPE_CHECKING:
    from pathlib import Path

SHORTEST = 8
LONGEST = 200
FILE_NAME = "argon2.json"
MEMORY_KIB = 64 * 1024
# A check is to take at least this long: at a hundred a second a thief of hashes is slow.
_AIM_S = 0.1
_FEWEST_PASSES, _MOST_PASSES = 2, 24
# 64 MiB each: a crowd at the door must not take the machine's memory.
_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Cost:
    """Passes over the memory, and the memory in KiB; one lane."""

    passes: int
    memory_kib: int = MEMORY_KIB


class Passwords:
    """Makes and checks hashes off the event loop, two at a time."""

    def __init__(self, cost: Cost) -> None:
        self.cost = cost
        self._hasher = _hasher(cost)
        self._slots = asyncio.Semaphore(_AT_ONCE)
        # Who is not known takes as long as who is: made at the first check, whoever asks.
        self._nobodys: str | None = None

    async def hash(self, password: str) -> str:
        """Return the hash of a password, with its parameters and salt."""
        async with self._slots:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def is_right(self, hashed: str | None, password: str) -> bool:
        """Check a password; against no hash it takes the same time and is never right."""
        if self._nobodys is None:
            self._nobodys = await self.hash(random.token_urlsafe())
        async with self._slots:
            is_right = await asyncio.to_thread(
                self._verify, self._nobodys if hashed is None else hashed, password
            )
        return is_right and hashed is not None

    def is_weaker(self, hashed: str) -> bool:
        """Tell whether a hash was made with less work than a new one would be."""
        old = extract_parameters(hashed)
        return old.time_cost < self.cost.passes or old.memory_cost < self.cost.memory_kib

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False


def load_or_calibrate(home: Path) -> Cost:
    """Return the cost that suits this machine: measured once, kept in VIRAL_HOME."""
    path = home / FILE_NAME
    with explained(path):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(home / f"{FILE_NAME}.lock"):
            if path.exists():
                return _read(path)
            cost = calibrate()
            write_private(
                path, json.dumps({"passes": cost.passes, "memory_kib": cost.memory_kib}) + "\n"
            )
            return cost


def calibrate() -> Cost:
    """Measure two passes and take as many as fill the time that a check is to take."""
    hasher = _hasher(Cost(_FEWEST_PASSES))
    began = time.perf_counter()
    hasher.hash("calibration")
    took = max(time.perf_counter() - began, 1e-6)
    passes = round(_FEWEST_PASSES * _AIM_S / took)
    return Cost(min(max(passes, _FEWEST_PASSES), _MOST_PASSES))


def refuse_weak(password: str, *, email: str) -> None:
    """Refuse what is too short, too long, or among the first that anybody would try."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise PasswordRefused(
            f"A password has {SHORTEST} to {LONGEST} characters.", hint="Join a few words."
        )
    plain = password.casefold()
    name = email.partition("@")[0].casefold()
    if plain in _common() or plain in {email.casefold(), name} or len(set(plain)) == 1:
        raise PasswordRefused(
            "This password is among the first that anybody would try.", hint="Join a few words."
        )


def _hasher(cost: Cost) -> PasswordHasher:
    return PasswordHasher(time_cost=cost.passes, memory_cost=cost.memory_kib, parallelism=1)


@cache
def _common() -> frozenset[str]:
    """Load the list of 30,000 common passwords that zxcvbn carries: half a second, when needed."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # noqa: PLC0415 - it is large

    return frozenset(FREQUENCY_LISTS["passwords"])


def _read(path: Path) -> Cost:
    damaged = BadSetting(f"{path} is damaged.", hint="Remove it: it is measured anew.")
    try:
        cost = Cost(**json.loads(read_private(path)))
        is_enough = cost.passes >= _FEWEST_PASSES and cost.memory_kib >= MEMORY_KIB
    except (TypeError, ValueError):
        raise damaged from None
    if not is_enough:
        raise damaged
    return cost
