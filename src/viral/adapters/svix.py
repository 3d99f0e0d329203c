"""The signature of Svix, which delivers Clerk's webhooks.

Source: the Standard Webhooks specification (standardwebhooks.com), which Svix follows, and
docs.svix.com/receiving/verifying-payloads/how-manual.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from typing import TYPE_CHECKING

import structlog

from viral.errors import BadSetting, SignatureRefused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

WINDOW_S = 300
# The specification's shortest key; an empty one would let everybody sign.
SHORTEST_KEY_BYTES = 24
# Without a dot, the signed text can be cut into id, time and body in one way only.
ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)

log = structlog.get_logger(__name__)


def verify(
    secrets: Sequence[str], headers: Mapping[str, str], body: bytes, *, now: datetime
) -> str:
    """Give the id of a message that one of the secrets signed within 300 s of now.

    The body is the raw one, as it came. The id is the same in each repetition of a message.
    Everything else is SignatureRefused, with one text for all causes.
    """
    event_id, seconds, signatures = _stamp(headers)
    if not ID.fullmatch(event_id) or not SECONDS.fullmatch(seconds):
        raise _refused("unsigned")
    if abs(now.timestamp() - int(seconds)) > WINDOW_S:
        raise _refused("old")
    signed = b"%s.%s." % (event_id.encode(), seconds.encode()) + body
    offered = [
        signature.encode(errors="replace")
        for version, _, signature in (each.partition(",") for each in signatures.split())
        if version == "v1"
    ]
    # A list, not a generator: every comparison is made, whichever of them fits.
    fits = [
        hmac.compare_digest(base64.b64encode(hmac.digest(key, signed, "sha256")), signature)
        for key in map(_key, secrets)
        for signature in offered
    ]
    if not any(fits):
        raise _refused("signature")
    return event_id


def _stamp(headers: Mapping[str, str]) -> tuple[str, str, str]:
    """Read id, time and signatures, all three from one family of names."""
    known = {name.lower(): value for name, value in headers.items()}
    family = "svix" if "svix-id" in known else "webhook"
    event_id, seconds, signatures = (
        known.get(f"{family}-{part}", "") for part in ("id", "timestamp", "signature")
    )
    return event_id, seconds, signatures


def _key(secret: str) -> bytes:
    text = secret.strip().removeprefix("whsec_")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _unusable() from error
    if len(key) < SHORTEST_KEY_BYTES:
        raise _unusable()
    return key


def _unusable() -> BadSetting:
    return BadSetting(
        "A webhook's secret cannot be used: it has to be whsec_ and at least 24 bytes of base64.",
        hint="Copy the signing secret of the endpoint again; separate several by commas.",
    )


def _refused(reason: str) -> SignatureRefused:
    log.warning("webhook.refused", sender="svix", reason=reason)
    return SignatureRefused(
        "The message does not carry a valid signature of its sender.",
        hint="Check the endpoint's signing secret and this machine's clock.",
    )
