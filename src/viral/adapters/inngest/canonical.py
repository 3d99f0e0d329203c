"""JSON in the one form that its signature is made over: RFC 8785.

Written here because the packages for it refuse whole numbers from 2^53 on, which Inngest sends as
the doubles that they are, and because the whole of it fits a screen.
"""

from __future__ import annotations

import json
from decimal import Decimal

# ECMAScript's Number::toString, which RFC 8785 (3.2.2.3) takes numbers from: where the point may
# stand, counted in digits from the first, before an exponent is written.
_FIRST_POINT = -5
_LAST_POINT = 21


def canonical(body: bytes) -> bytes:
    """Give the canonical form of a JSON text; no bytes stay none.

    Raises ValueError for what is no JSON, and for numbers and texts that RFC 8785 has no form for;
    RecursionError for what is nested too deeply.
    """
    if not body:
        return b""
    # Every number is a double (RFC 8785, 3.1), whole ones too.
    value: object = json.loads(body.decode(), parse_int=float)
    # A text with half a surrogate pair is refused here.
    return _written(value).encode()


def _written(value: object) -> str:
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, dict):
        fields = sorted(value.items(), key=_utf16)
        return "{" + ",".join([f"{_plain(name)}:{_written(each)}" for name, each in fields]) + "}"
    if isinstance(value, list):
        return "[" + ",".join([_written(each) for each in value]) + "]"
    return _plain(value)


def _plain(value: object) -> str:
    """Write a text, true, false or null: Python escapes what RFC 8785 (3.2.2.2) does, no more."""
    return json.dumps(value, ensure_ascii=False)


def _utf16(field: tuple[str, object]) -> bytes:
    """Order as RFC 8785 (3.2.3) does: characters beyond U+FFFF come before some within it."""
    return field[0].encode("utf-16-be")


def _number(value: float) -> str:
    # Python's repr gives the digits that ECMAScript gives: the fewest that read back the same.
    written = Decimal(repr(abs(value))).normalize().as_tuple()
    digits = "".join(map(str, written.digits))
    # Infinity, and what is no number, have a letter for an exponent: ValueError.
    point = len(digits) + int(written.exponent)
    sign = "-" if value < 0 else ""  # a zero has none
    if not _FIRST_POINT <= point <= _LAST_POINT:
        mantissa = digits[0] + ("." + digits[1:] if digits[1:] else "")
        return f"{sign}{mantissa}e{point - 1:+d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    rest = digits[point:]
    return sign + digits[:point].ljust(point, "0") + ("." + rest if rest else "")
