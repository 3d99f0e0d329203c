"""The one module that touches the `anthropic` package; to import it takes a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import anthropic
import msgspec

from viral.adapters.claude.models import Tokens, model_of
from viral.adapters.claude.refusals import SERVER_FAULT, SUCCESS, refusal
from viral.errors import VendorError, VendorUnreachable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from anthropic.types import OutputConfigParam

    from viral.adapters.claude.client import Question
    from viral.adapters.outgoing import Outgoing

# Asked to wait for longer, the offline stand-in answers at once.
LONGEST_WAIT_S = 15.0
# Each word of an answer comes in an event of its own, of some 150 bytes.
MOST_BYTES = 6_000_000

# An error inside a stream comes with status 200 and says its kind in words.
_STATUS_OF = {
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


@dataclass(frozen=True, slots=True)
class Heard:
    """One step of an answer; what is None is not known yet.

    `output_tokens` is the sum so far.
    """

    text: str = ""
    stop: str | None = None
    prompt: Tokens | None = None
    output_tokens: int | None = None
    request_id: str | None = None


class _Tokens(msgspec.Struct, frozen=True):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None


class _Message(msgspec.Struct, frozen=True):
    usage: _Tokens


class _Delta(msgspec.Struct, frozen=True):
    type: str | None = None
    text: str = ""
    stop_reason: str | None = None


class _Event(msgspec.Struct, frozen=True):
    type: str
    message: _Message | None = None
    delta: _Delta | None = None
    usage: _Tokens | None = None


def connect(
    *, api_key: str, base_url: str, timeout_s: float, retries: int, outgoing: Outgoing
) -> Sdk:
    """Wire the SDK; nothing is sent."""
    client = outgoing.sdk_client(longest_wait_s=LONGEST_WAIT_S, max_bytes=MOST_BYTES)
    return Sdk(
        anthropic.AsyncAnthropic(
            api_key=api_key,
            base_url=base_url,
            timeout=timeout_s,
            max_retries=retries,
            default_headers={"accept-encoding": "identity"},
            # Spans would carry where and how long; nobody here asked for them.
            open_telemetry=False,
            http_client=client,
        )
    )


class Sdk:
    """Asks by streams, so that progress shows and a cut answer still says what it took."""

    def __init__(self, client: anthropic.AsyncAnthropic) -> None:
        self._client = client

    async def stream(self, question: Question) -> AsyncGenerator[Heard]:
        """Ask, and tell the answer as it comes; sampling parameters are never sent.

        Raises VendorUnreachable for what passes by itself, and VendorRefused for what does not.
        """
        try:
            stream = await self._client.messages.create(
                model=question.model,
                max_tokens=question.max_tokens,
                system=question.system,
                messages=[{"role": "user", "content": question.document}],
                output_config=_output_config(question),
                stream=True,
            )
            async with stream:
                yield Heard(request_id=stream.response.headers.get("request-id"))
                async for event in stream:
                    yield _heard(msgspec.convert(event.to_dict(warnings=False), _Event))
        except (anthropic.APIError, ValueError) as error:
            raise _named(error) from error


def _output_config(question: Question) -> OutputConfigParam:
    config: OutputConfigParam = {"format": {"type": "json_schema", "schema": question.schema}}
    if model_of(question.model).has_effort:
        # The task is small, and thinking is paid for as output.
        config["effort"] = "low"
    return config


def _heard(event: _Event) -> Heard:
    if event.type == "message_start" and event.message is not None:
        usage = event.message.usage
        prompt = Tokens(
            input=usage.input_tokens or 0,
            cache_write=usage.cache_creation_input_tokens or 0,
            cache_read=usage.cache_read_input_tokens or 0,
        )
        return Heard(prompt=prompt, output_tokens=usage.output_tokens)
    if event.type == "content_block_delta" and event.delta and event.delta.type == "text_delta":
        return Heard(text=event.delta.text)
    if event.type == "message_delta" and event.delta is not None:
        usage = event.usage or _Tokens()
        return Heard(stop=event.delta.stop_reason, output_tokens=usage.output_tokens)
    return Heard()


def _named(error: anthropic.APIError | ValueError) -> VendorError:
    """Name a failure of the SDK's."""
    if isinstance(error, anthropic.APIStatusError):
        status = error.status_code
        if status == SUCCESS:
            status = _STATUS_OF.get(error.type or "", SERVER_FAULT)
        return refusal(status)
    if isinstance(error, anthropic.APIConnectionError):
        if isinstance(error.__cause__, VendorError):
            return error.__cause__
        return VendorUnreachable("Claude cannot be reached.", hint="Try again later.")
    return VendorUnreachable("Claude's answer breaks its own format.", hint="Try again later.")
