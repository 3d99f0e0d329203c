"""A Clerk of the test's own, and what checks its tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from clerks import Clock, make_tokens
from fakes.clerk import FakeClerk

from viral.adapters.clerk.tokens import ClerkTokens
from viral.adapters.outgoing import Outgoing


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def clerk() -> Iterator[FakeClerk]:
    with FakeClerk() as clerk:
        yield clerk


@pytest.fixture
async def outgoing(clerk: FakeClerk) -> AsyncIterator[Outgoing]:
    outgoing = Outgoing(vendors=[clerk.url], timeout_s=5, retries=0)
    yield outgoing
    await outgoing.close()


@pytest.fixture
def tokens(clerk: FakeClerk, outgoing: Outgoing, clock: Clock) -> ClerkTokens:
    return make_tokens(clerk, outgoing, clock)
