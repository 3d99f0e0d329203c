"""What Inngest and we sign for each other, with either of two keys, for five minutes.

Source: github.com/inngest/inngest, docs/SDK_SPEC.md, 4.1.1 to 4.1.4. A header `t=SECONDS&s=HEX`:
HMAC-SHA256 of the body, then the seconds as text. A request's body is taken in its canonical form,
which outlives a proxy that writes JSON anew; an answer's as it is. Nothing binds a signature to
its method, path or query: within five minutes a repeated message is as good as the first.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import structlog

from viral.adapters.inngest.canonical import canonical
from viral.errors import BadSetting, SignatureRefused

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

WINDOW_S = 300
_HEADER = re.compile(r"t=([0-9]{1,12})&s=([0-9a-f]{64})", re.ASCII)
# Hexadecimal, at least 16 bytes: a shorter one could be guessed.
_KEY = re.compile(r"(?:signkey-\w+-)?(?:[0-9A-Fa-f]{2}){16,}", re.ASCII)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Signed:
    """A message that Inngest sent: which key signed it, and its body in canonical form.

    Only this body was signed. Another reader could find another meaning in the raw one.
    """

    key: str
    body: bytes


def check_key(key: str) -> str:
    """Give a signing key without spaces around it, or raise BadSetting."""
    if not _KEY.fullmatch(key.strip()):
        raise BadSetting(
            "A signing key of Inngest cannot be used: it is no `signkey-NAME-` and hexadecimal.",
            hint="Copy INNGEST_SIGNING_KEY, and the fallback if there is one, from Inngest again.",
        )
    return key.strip()


def sign(key: str, body: bytes, now: datetime) -> str:
    """Make the header for a body as it is."""
    seconds = str(int(now.timestamp()))
    return f"t={seconds}&s={_mac(key, body, seconds)}"


def verify(keys: Sequence[str], header: str | None, body: bytes, now: datetime) -> Signed:
    """Tell which of the keys signed a request within 300 s of now.

    Everything else is SignatureRefused, with one text for all causes.
    """
    found = _HEADER.fullmatch(header or "")
    if found is None:
        raise _refused("unsigned")
    seconds, theirs = found.groups()
    if abs(now.timestamp() - int(seconds)) > WINDOW_S:
        raise _refused("old")
    try:
        signed = canonical(body)
    except (ValueError, RecursionError):
        raise _refused("unreadable") from None
    # A list, not a generator: every comparison is made, whichever of them fits.
    fits = [hmac.compare_digest(_mac(key, signed, seconds), theirs) for key in keys]
    if not any(fits):
        raise _refused("signature")
    return Signed(keys[fits.index(True)], signed)


def api_token(key: str) -> str:
    """Give the Bearer token for a signing key: its prefix, and the SHA-256 of its bytes (4.1.4)."""
    prefix, dash, secret = key.rpartition("-")
    return prefix + dash + sha256(bytes.fromhex(secret)).hexdigest()


def _mac(key: str, body: bytes, seconds: str) -> str:
    # The hexadecimal text itself is the key, not the bytes that it stands for.
    secret = key.rpartition("-")[2].encode()
    return hmac.digest(secret, body + seconds.encode(), "sha256").hex()


def _refused(reason: str) -> SignatureRefused:
    log.warning("inngest.refused", reason=reason)
    return SignatureRefused(
        "The message does not carry a valid signature of Inngest.",
        hint="Check INNGEST_SIGNING_KEY, its fallback, and this machine's clock.",
    )
