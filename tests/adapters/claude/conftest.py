"""An account at the fake, and clients of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from fakes.anthropic import FakeAnthropic, Says

import viral.adapters.claude.sdk  # noqa: F401 - loaded before anything is timed
from viral.adapters.claude.client import Claude
from viral.adapters.outgoing import Outgoing
from viral.features.generations.drafts import Brief
from viral.features.reflexion.critic import Miss
from viral.features.scoring.predictions import Reason
from viral.features.trends import TrendBrief

MODEL = "claude-sonnet-5-5"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
Connect = Callable[..., Claude]


@pytest.fixture
def account() -> Iterator[FakeAnthropic]:
    with FakeAnthropic() as account:
        yield account


@pytest.fixture
async def connect(account: FakeAnthropic) -> AsyncIterator[Connect]:
    """Make clients that do not try again, unless told."""
    made: list[Outgoing] = []

    def client(**options: Any) -> Claude:
        outgoing = Outgoing(vendors=[account.url])
        made.append(outgoing)
        given: dict[str, Any] = {"api_key": account.api_key, "retries": 0} | options
        return Claude(base_url=account.url, outgoing=outgoing, **given)

    yield client
    for outgoing in made:
        await outgoing.close()


@pytest.fixture
def claude(connect: Connect) -> Claude:
    return connect()


def make_miss(*, title: str = "Five details in leftover rice", hook: str = "", **more: Any) -> Miss:
    fields: dict[str, Any] = {
        "category": "food",
        "platform": "tiktok",
        "predicted": 70.0,
        "low": 50.0,
        "high": 90.0,
        "actual": 40.0,
        "engagement_rate": 3.25,
        "views": 12_345,
        "reasons": (Reason("hook", "question", "Hook: question", 8.2),),
        "direction": "over-predicted",
    }
    return Miss(title=title, hook=hook, **(fields | more))


def critique(**changed: object) -> str:
    """Write an answer of the critic's, as the schema asks for it."""
    answer: dict[str, object] = {
        "critique": "The question did not carry.",
        "reasons": ["The hook asks what nobody wonders about."],
        "issues": ["There is one video only."],
        "plan": "Watch the next five posts.",
        "confidence": "low",
        "hypotheses": [
            {
                "predicate": "hook:question",
                "effect": "worse",
                "confidence": "medium",
                "because": "Questions fell flat here.",
            }
        ],
    }
    return json.dumps(answer | changed)


def brief(*topics: str, count: int = 2, **more: Any) -> Brief:
    trends = tuple(
        TrendBrief(topic, "food", "sample", 60) for topic in topics or ("slow mornings",)
    )
    return Brief(trends, count, NOON, **more)


def draft(number: int = 1, **changed: object) -> dict[str, object]:
    """Make one draft of the writer's, as the schema asks for it."""
    scene = {"visual": "A kettle", "camera": "slow push in", "on_screen_text": "Wait."}
    whole: dict[str, object] = {
        "trend": 0,
        "title": f"Slow morning number {number}",
        "hook": f"Nobody gets up for this, {number}",
        "hook_type": "question",
        "scenes": [{"seconds": 3, **scene}, {"seconds": 9, **scene}],
        "caption": "A morning without a clock.",
        "hashtags": ["#SlowMornings", "coffee", "1"],
        "days": 1,
        "hour": 7,
        "look": "soft window light",
        "why": "The topic rises.",
    }
    return whole | changed


def drafts(*each: dict[str, object], **ends: Any) -> Says:
    return Says(json.dumps({"drafts": each}), **ends)
