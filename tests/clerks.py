"""What checks the tokens of a Clerk of the tests, and why it refuses one."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fakes.clerk import FakeClerk
from structlog.testing import capture_logs

from viral.adapters.clerk.tokens import ClerkTokens
from viral.adapters.outgoing import Outgoing
from viral.errors import NotSignedIn

# A number of fakes.clerk.key_pair that no rotation reaches.
ANOTHER_KEY = 1_000


@dataclass
class Clock:
    """A clock that stands until it is moved."""

    now: datetime = field(default_factory=lambda: datetime(2026, 11, 22, 12, 0, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def wait(self, **span: float) -> None:
        self.now += timedelta(**span)


def make_tokens(
    clerk: FakeClerk,
    outgoing: Outgoing,
    clock: Clock,
    *,
    authorized_parties: tuple[str, ...] = ("https://studio.example",),
    jwt_key_pem: str | None = None,
) -> ClerkTokens:
    return ClerkTokens(
        clerk.url,
        authorized_parties=authorized_parties,
        jwt_key_pem=jwt_key_pem,
        outgoing=outgoing,
        clock=clock,
    )


def segment(content: bytes | dict[str, Any]) -> str:
    written = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(written).rstrip(b"=").decode()


async def refusal(tokens: ClerkTokens, token: str) -> str:
    """Give the reason that the log tells; the person is told nothing of it."""
    with capture_logs() as logs, pytest.raises(NotSignedIn) as refused:
        await tokens.verify(token)
    assert refused.value.message == "You are not signed in, or no longer."
    assert refused.value.hint == "Sign in again."
    events = [each for each in logs if each["event"] == "clerk.token_refused"]
    assert len(events) == 1
    assert len(token) < 20 or token not in str(logs)
    return str(events[0]["reason"])
