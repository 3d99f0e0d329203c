"""Canonical JSON: the vectors of RFC 8785, and what it has no form for."""

from __future__ import annotations

import struct

import pytest

from viral.adapters.inngest.canonical import canonical

# RFC 8785, appendix B: the bits of a double, and its text.
NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items())
def test_numbers_are_written_as_ecmascript_does(bits: str, text: str) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))

    assert canonical(repr(number).encode()) == text.encode()


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("1E0", "1"),
        ("10.50", "10.5"),
        ("-0", "0"),
        ("1700000000000", "1700000000000"),
        ("9007199254740993", "9007199254740992"),
        ("123456789012345678901234567890", "1.2345678901234568e+29"),
    ],
)
def test_a_number_is_the_double_that_it_stands_for(written: str, text: str) -> None:
    assert canonical(written.encode()) == text.encode()


def test_the_example_of_the_standard() -> None:
    # RFC 8785, 3.2.2.
    body = rb"""{
        "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
        "literals": [null, true, false]
    }"""

    assert canonical(body).decode() == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_names_are_ordered_by_their_utf16() -> None:
    # RFC 8785, 3.2.3: the face is beyond U+FFFF, and comes before the letter that is not.
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    body = "{" + ",".join(f'"{name}":0'.replace("\r", "\\r") for name in names) + "}"

    found = canonical(body.encode()).decode()

    assert found == '{"\\r":0,"1":0,"\u0080":0,"\u00f6":0,"\u20ac":0,"\U0001f600":0,"\ufb33":0}'


def test_what_is_canonical_stays_as_it_is() -> None:
    body = '{"":{},"a":[],"b":[1,{"c":"\u2028\x7f<&>"}],"d":false}'.encode()

    assert canonical(body) == body
    assert canonical(b"") == b""


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"NaN",
        b"-Infinity",
        b"1e400",
        pytest.param(b"1" * 400, id="too large"),
        b'"\\ud800"',
        b'{"\\udfff":1}',
        b'"\xff"',
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        pytest.param(b"[" * 30_000 + b"]" * 30_000, id="too deep"),
    ],
)
def test_what_has_no_canonical_form_is_refused(body: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        canonical(body)
