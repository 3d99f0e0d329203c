"""What is known of Claude's models: prices, and what a request to each may hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, Decimal

# The day on which the figures were compared with platform.claude.com/docs/en/about-claude/pricing.
CHECKED_ON = date(2026, 11, 23)
# Prompts above this cost more with some models.
LONG_PROMPT_TOKENS = 100_000
# What the database keeps of a price.
_CENT_HUNDREDTH = Decimal("0.0001")
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Model:
    """Prices in USD per million tokens; `cache_write` is that of the cache of five minutes.

    `has_effort` tells whether the model takes `output_config.effort`; `long_factor` multiplies
    the price of a request whose prompt is a long one.
    """

    input: Decimal
    output: Decimal
    cache_write: Decimal
    cache_read: Decimal
    has_effort: bool = True
    long_factor: int = 1


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of an answer; `input` excludes those that were written to or read from a cache."""

    input: int = 0
    output: int = 0
    cache_write: int = 0
    cache_read: int = 0

    @property
    def prompt(self) -> int:
        """The tokens of the whole prompt."""
        return self.input + self.cache_write + self.cache_read


def _model(prices: str, *, has_effort: bool = True, long_factor: int = 1) -> Model:
    input_, output, cache_write, cache_read = map(Decimal, prices.split())
    return Model(input_, output, cache_write, cache_read, has_effort, long_factor)


# Input, output, cache write, cache read.
MODELS = {
    "claude-haiku-5-5": _model("0.10 0.50 0.125 0.01", long_factor=5),
    "claude-sonnet-5-5": _model("2 10 2.50 0.10"),
    "claude-opus-5-5": _model("4 20 5 0.20"),
    "claude-fable-5-1": _model("10 50 12.50 0.25"),
    "claude-sonnet-5": _model("2 10 2.50 0.20"),
    "claude-opus-5": _model("5 25 6.25 0.50"),
    "claude-sonnet-4-6": _model("3 15 3.75 0.30"),
    "claude-haiku-4-5": _model("1 5 1.25 0.10", has_effort=False),
}
# A model that is not listed counts as the dearest, so that a cost cap holds for it as well.
UNLISTED = _model("10 50 12.50 1", has_effort=False)


def model_of(name: str) -> Model:
    """Give what is known of a model."""
    return MODELS.get(name, UNLISTED)


def price(name: str, tokens: Tokens) -> Decimal:
    """Price an answer in USD, rounded up to a hundredth of a cent."""
    model = model_of(name)
    cost = (
        tokens.input * model.input
        + tokens.output * model.output
        + tokens.cache_write * model.cache_write
        + tokens.cache_read * model.cache_read
    )
    if tokens.prompt > LONG_PROMPT_TOKENS:
        cost *= model.long_factor
    return (cost / _MILLION).quantize(_CENT_HUNDREDTH, rounding=ROUND_CEILING)
