"""Ask Claude one question within a time, and say what came of it and what it took."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, urlsplit

import structlog

from viral.adapters.claude.models import Tokens, price
from viral.adapters.claude.refusals import SUCCESS, refusal
from viral.errors import BadSetting, VendorError, VendorRefused
from viral.features.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from viral.adapters.claude.sdk import Heard, Sdk
    from viral.adapters.outgoing import Outgoing

# Nobody waits again and again for a service that is down, or for a key that is not taken.
PASSING_QUIET_S = 60.0
LASTING_QUIET_S = 600.0
# Tokens of this language's text, from above: what a cut answer took is not known better.
_CHARACTERS_A_TOKEN = 3

# Of the API; the SDK sends the same.
_VERSION = "2026-10-21"
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

Outcome = Literal["whole", "cut", "long", "refused", "none"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """One request: what to do, the data as `fenced` writes it, and the answer's JSON schema."""

    task: str
    model: str
    system: str
    document: str
    schema: dict[str, object]
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Whole is what ended by itself; cut by the connection, or longer than it may be, an answer may
    be read up to its last whole part. Refused is what the model does not answer, and none is
    nothing at all. `trouble` says why it is not whole.
    """

    outcome: Outcome
    text: str
    usage: Usage
    trouble: str = ""


@dataclass(slots=True)
class _Listening:
    """What has been heard of an answer so far."""

    text: list[str] = field(default_factory=list)
    prompt: Tokens | None = None
    output_tokens: int = 0
    stop: str | None = None
    request_id: str | None = None

    def hear(self, heard: Heard) -> None:
        self.text.append(heard.text)
        self.prompt = heard.prompt or self.prompt
        self.output_tokens = max(self.output_tokens, heard.output_tokens or 0)
        self.stop = heard.stop or self.stop
        self.request_id = heard.request_id or self.request_id

    def usage(self, model: str) -> Usage:
        if self.prompt is None:
            return Usage(model)
        output = self.output_tokens
        if self.stop is None:
            # The sum comes with the end of an answer.
            output = max(output, 1 + sum(map(len, self.text)) // _CHARACTERS_A_TOKEN)
        prompt = self.prompt
        tokens = Tokens(prompt.input, output, prompt.cache_write, prompt.cache_read)
        return Usage(model, prompt.prompt, output, price(model, tokens))


def checked_url(url: str) -> str:
    """Return the base URL without its last slash; the key travels by TLS, or on this machine."""
    try:
        parts = urlsplit(url)
        is_safe = parts.hostname is not None and (
            parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        )
    except ValueError:
        is_safe = False
    if not is_safe:
        raise BadSetting(
            "ANTHROPIC_BASE_URL is no https address.",
            hint="Leave it out, or write https://api.anthropic.com.",
        )
    return url.rstrip("/")


class Claude:
    """The way to Claude for one event loop; after a failure it is left in peace for a while."""

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str,
        outgoing: Outgoing,
        timeout_s: float = 120.0,
        retries: int = 2,
        now_s: Callable[[], float] = monotonic,
    ) -> None:
        self._api_key = api_key
        self._base_url = base_url
        self._outgoing = outgoing
        self._timeout_s = timeout_s
        self._retries = retries
        self._now_s = now_s
        self._connecting = asyncio.Lock()
        self._sdk: Sdk | None = None
        self._trouble: VendorError | None = None
        self._quiet_until_s = 0.0

    @property
    def trouble(self) -> VendorError | None:
        """Why Claude is not asked at the moment; None when it is."""
        return self._trouble if self._now_s() < self._quiet_until_s else None

    async def ask(self, question: Question, *, hear: Callable[[str], None] | None = None) -> Answer:
        """Ask within the time that there is, attempts and all; `hear` is told the text as it comes.

        Raises nothing that Claude or the network does.
        """
        if self.trouble is not None:
            return Answer("none", "", Usage(), self.trouble.message)
        sdk = await self._connected()
        listening, started = _Listening(), monotonic()
        failure: VendorError | TimeoutError | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                async with aclosing(sdk.stream(question)) as steps:
                    async for heard in steps:
                        listening.hear(heard)
                        if hear is not None and heard.text:
                            hear(heard.text)
        except (VendorError, TimeoutError) as error:
            failure = error
        answer = self._judged(question, listening, failure)
        _log(question, answer, listening, duration_s=monotonic() - started)
        return answer

    async def check(self, model: str) -> None:
        """Raise VendorError where the key or the model is not taken; asks at no cost."""
        # Not by the SDK, which takes a second to load.
        answer = await self._outgoing.request(
            "GET",
            f"{self._base_url}/v1/models/{quote(model, safe='')}",
            headers={"Authorization": f"Bearer {self._api_key}", "Anthropic-Version": _VERSION},
        )
        if answer.status != SUCCESS:
            raise refusal(answer.status)

    async def _connected(self) -> Sdk:
        async with self._connecting:
            if self._sdk is None:
                connect = await asyncio.to_thread(_load_connect)
                self._sdk = connect(
                    api_key=self._api_key,
                    base_url=self._base_url,
                    timeout_s=self._timeout_s,
                    retries=self._retries,
                    outgoing=self._outgoing,
                )
            return self._sdk

    def _judged(
        self, question: Question, listening: _Listening, failure: VendorError | TimeoutError | None
    ) -> Answer:
        text, usage = "".join(listening.text), listening.usage(question.model)
        if isinstance(failure, TimeoutError):
            failure = VendorError(f"Claude took more than {self._timeout_s:g} s.")
            self._keep_quiet(failure)
            return Answer("cut" if text else "none", text, usage, failure.message)
        if failure is not None:
            # A stream that breaks off says nothing of the next one.
            if not text:
                self._keep_quiet(failure)
            return Answer("cut" if text else "none", text, usage, failure.message)
        return _ended(listening.stop, text, usage)

    def _keep_quiet(self, failure: VendorError) -> None:
        is_lasting = isinstance(failure, VendorRefused)
        self._trouble = failure
        self._quiet_until_s = self._now_s() + (LASTING_QUIET_S if is_lasting else PASSING_QUIET_S)


def _load_connect() -> Callable[..., Sdk]:
    from viral.adapters.claude.sdk import connect  # noqa: PLC0415 - it takes a second to load

    return connect


def _ended(stop: str | None, text: str, usage: Usage) -> Answer:
    if stop == "end_turn":
        return Answer("whole", text, usage)
    if stop == "refusal":
        return Answer("refused", "", usage, "Claude refuses to answer this.")
    if stop in {"max_tokens", "model_context_window_exceeded"}:
        return Answer("long", text, usage, "Claude's answer is longer than it may be.")
    trouble = "Claude's answer breaks off." if stop is None else "Claude stopped half-way."
    return Answer("cut", text, usage, trouble)


def _log(question: Question, answer: Answer, listening: _Listening, *, duration_s: float) -> None:
    log.info(
        "claude.answered",
        task=question.task,
        model=question.model,
        outcome=answer.outcome,
        trouble=answer.trouble or None,
        request_id=listening.request_id,
        input_tokens=answer.usage.input_tokens,
        output_tokens=answer.usage.output_tokens,
        cost_usd=str(answer.usage.cost),
        duration_ms=round(duration_s * 1000),
    )
