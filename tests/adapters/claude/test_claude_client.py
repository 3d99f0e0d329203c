"""One question to Claude: every way in which it goes wrong ends in an answer that says so."""

from __future__ import annotations

import logging
from decimal import Decimal
from itertools import pairwise

import pytest
from fakes.anthropic import Answer as Given
from fakes.anthropic import Breaks, Fails, FakeAnthropic, Gzipped, Says
from structlog.testing import capture_logs

from claude.conftest import MODEL, Connect
from viral.adapters.claude.client import LASTING_QUIET_S, PASSING_QUIET_S, Claude, Outcome, Question
from viral.adapters.claude.models import CHECKED_ON, MODELS, Tokens, price
from viral.adapters.claude.shapes import TEXT, record
from viral.errors import VendorRefused

QUESTION = Question("test", MODEL, "Say hello.", "<data>\n{}\n</data>", record(a=TEXT), 500)
BUSY = "Claude is busy or has a fault of its own"


async def test_a_whole_answer_is_told_as_it_comes_and_priced(
    account: FakeAnthropic, claude: Claude
) -> None:
    account.gives(Says("hello " * 20, output_tokens=300))
    told: list[str] = []

    answer = await claude.ask(QUESTION, hear=told.append)

    assert ("whole", "hello " * 20, "") == (answer.outcome, answer.text, answer.trouble)
    assert "".join(told) == answer.text
    assert len(told) > 1
    usage = answer.usage
    assert (MODEL, 1000, 300) == (usage.model, usage.input_tokens, usage.output_tokens)
    assert Decimal("0.0050") == usage.cost


async def test_tokens_of_the_cache_are_counted_and_priced(
    account: FakeAnthropic, claude: Claude
) -> None:
    tokens = {
        "input_tokens": 100,
        "cache_creation_input_tokens": 2000,
        "cache_read_input_tokens": 30_000,
    }
    account.gives(Says("{}", usage=tokens, output_tokens=10))

    usage = (await claude.ask(QUESTION)).usage

    assert 32_100 == usage.input_tokens
    assert Decimal("0.0083") == usage.cost


@pytest.mark.parametrize(
    ("given", "outcome", "trouble"),
    [
        (Fails(429, "rate_limit_error", {"retry-after": "1"}), "none", f"{BUSY} (429)."),
        (Fails(529, "overloaded_error"), "none", f"{BUSY} (529)."),
        (Fails(500, "api_error"), "none", f"{BUSY} (500)."),
        (Fails(402, "billing_error"), "none", "Claude refuses: the account cannot pay (402)."),
        (Fails(413, "request_too_large"), "none", "Claude does not take the request (413)."),
        (
            Breaks("{half", "cut"),
            "cut",
            "127.0.0.1 cannot be reached or breaks the connection off.",
        ),
        (Breaks("{half", "error"), "cut", f"{BUSY} (529)."),
        (Breaks("{half", "error", "authentication_error"), "cut", "Claude refuses: the key is not"),
        (Breaks("", "error", "no_such_error"), "none", f"{BUSY} (500)."),
        (Breaks("{half", "garbage"), "cut", "Claude's answer breaks its own format."),
        (Says("{half", stop="max_tokens"), "long", "Claude's answer is longer than it may be."),
        (Says("I will", stop="refusal"), "refused", "Claude refuses to answer this."),
        (Says("{}", stop="pause_turn"), "cut", "Claude stopped half-way."),
        (Gzipped(), "none", "127.0.0.1 answers in an encoding that was not asked for."),
        (Says("x" * 6_100_000, piece=1_000_000), "cut", "127.0.0.1 answers with more than"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_f17_each_failure_is_an_answer_that_says_so(
    account: FakeAnthropic, claude: Claude, given: Given, outcome: Outcome, trouble: str
) -> None:
    account.gives(given)

    answer = await claude.ask(QUESTION)

    assert outcome == answer.outcome
    assert answer.trouble.startswith(trouble)
    assert "refused" != outcome or not answer.text
    assert 1 == len(account.requests)


async def test_f17_an_answer_that_drips_ends_in_time_and_is_paid_for(
    account: FakeAnthropic, connect: Connect
) -> None:
    account.gives(Breaks("word " * 60, "drip"))
    claude = connect(timeout_s=2)

    answer = await claude.ask(QUESTION)

    assert ("cut", "Claude took more than 2 s.") == (answer.outcome, answer.trouble)
    assert (1000, 101) == (answer.usage.input_tokens, answer.usage.output_tokens)
    assert answer.usage.cost > 0


async def test_f17_a_wait_that_is_asked_for_is_kept(
    account: FakeAnthropic, connect: Connect
) -> None:
    account.gives(Fails(429, "rate_limit_error", {"retry-after": "1"}), Says("{}"))

    answer = await connect(retries=2).ask(QUESTION)

    assert "whole" == answer.outcome
    assert [1 <= b.at_s - a.at_s < 3 for a, b in pairwise(account.requests)] == [True]


async def test_f17_a_wait_in_another_header_is_not_listened_to(
    account: FakeAnthropic, connect: Connect
) -> None:
    account.gives(Fails(429, "rate_limit_error", {"retry-after-ms": "3600000"}), Says("{}"))

    assert "whole" == (await connect(retries=1).ask(QUESTION)).outcome


@pytest.mark.parametrize("wait", ["3600", "Sat, 01 Jan 2050 00:00:00 GMT"])
async def test_f17_a_wait_that_is_too_long_is_not_begun(
    account: FakeAnthropic, connect: Connect, wait: str
) -> None:
    account.gives(Fails(429, "rate_limit_error", {"retry-after": wait}), Says("{}"))

    answer = await connect(retries=2).ask(QUESTION)

    assert ("none", f"{BUSY} (429).") == (answer.outcome, answer.trouble)
    assert 1 == len(account.requests)


async def test_f17_attempts_have_an_end(account: FakeAnthropic, connect: Connect) -> None:
    account.gives(Fails(529, "overloaded_error"))

    answer = await connect(retries=1).ask(QUESTION)

    assert f"{BUSY} (529)." == answer.trouble
    assert 2 == len(account.requests)


async def test_f17_a_wrong_key_is_said_once_and_found_in_nothing(
    account: FakeAnthropic, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    claude = connect(api_key="sk-ant-wrong-but-secret")
    caplog.set_level(logging.DEBUG)

    with capture_logs() as logs:
        answers = [await claude.ask(QUESTION), await claude.ask(QUESTION)]

    said = "Claude refuses: the key is not accepted (401)."
    assert [said, said] == [answer.trouble for answer in answers]
    assert 1 == len(account.requests)
    assert claude.trouble is not None
    assert "Correct ANTHROPIC_API_KEY: it is wrong or revoked." == claude.trouble.hint
    everything = f"{logs} {caplog.text} {answers} {claude!r} {claude.trouble!r}"
    assert "sk-ant-wrong-but-secret" not in everything
    assert ["claude.answered"] == [each["event"] for each in logs]


@pytest.mark.parametrize(
    ("given", "quiet_s"),
    [(Fails(401, "authentication_error"), LASTING_QUIET_S), (Fails(500, "x"), PASSING_QUIET_S)],
)
async def test_after_a_failure_claude_is_left_in_peace_and_then_asked_again(
    account: FakeAnthropic, connect: Connect, given: Fails, quiet_s: float
) -> None:
    now = [0.0]
    claude = connect(now_s=lambda: now[0])
    account.gives(given, Says("{}"))
    await claude.ask(QUESTION)
    now[0] = quiet_s - 1
    assert "none" == (await claude.ask(QUESTION)).outcome
    now[0] = quiet_s

    answer = await claude.ask(QUESTION)

    assert "whole" == answer.outcome
    assert claude.trouble is None
    assert 2 == len(account.requests)


async def test_nothing_listens_and_the_answer_says_so(
    connect: Connect, account: FakeAnthropic
) -> None:
    claude = connect()
    account.__exit__()

    answer = await claude.ask(QUESTION)

    assert "127.0.0.1 cannot be reached or breaks the connection off." == answer.trouble
    account.__enter__()


async def test_a_request_holds_no_sampling_parameter_no_cookie_and_no_encoding(
    account: FakeAnthropic, claude: Claude
) -> None:
    account.gives(Says("{}"))

    await claude.ask(QUESTION)
    await claude.ask(QUESTION)

    request = account.requests[1]
    assert {"temperature", "top_p", "top_k"}.isdisjoint(request.body)
    assert "cookie" not in request.headers
    assert "identity" == request.headers["accept-encoding"]
    assert "low" == request.body["output_config"]["effort"]


async def test_a_model_without_effort_is_asked_without(
    account: FakeAnthropic, claude: Claude
) -> None:
    account.gives(Says("{}"))
    question = Question("test", "claude-haiku-4-5", "x", "<data>\n{}\n</data>", record(a=TEXT), 9)

    assert "whole" == (await claude.ask(question)).outcome


async def test_the_check_tells_a_wrong_key_and_an_unknown_model(connect: Connect) -> None:
    await connect().check(MODEL)

    with pytest.raises(VendorRefused, match="the key is not accepted"):
        await connect(api_key="wrong").check(MODEL)
    with pytest.raises(VendorRefused, match="there is no such model"):
        await connect().check("claude-of-tomorrow")


def test_a_model_that_is_not_listed_counts_as_the_dearest() -> None:
    tokens = Tokens(1000, 1000, 1000, 1000)

    assert price("claude-of-tomorrow", tokens) >= max(price(name, tokens) for name in MODELS)


def test_a_long_prompt_costs_what_long_prompts_cost() -> None:
    short, long = Tokens(100_000, 0), Tokens(60_000, 0, 20_000, 20_001)

    assert Decimal("0.0100") == price("claude-haiku-5-5", short)
    assert Decimal("0.0436") == price("claude-haiku-5-5", long)


def test_a_price_is_rounded_up_and_the_prices_have_a_date() -> None:
    assert Decimal("0.0001") == price("claude-haiku-5-5", Tokens(1))
    assert CHECKED_ON.year >= 2026
