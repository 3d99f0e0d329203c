"""Answers made smaller for whoever takes gzip."""

from __future__ import annotations

import gzip
import io
import random
from typing import Any

from litestar import Response
from litestar.serialization import default_serializer
from litestar.types import Serializer

LEVEL = 5
# As many bytes as Django adds; see `squeeze`.
MOST_PADDING = 100
HEADERS = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}


def takes_gzip(accepted: str) -> bool:
    """Read Accept-Encoding (RFC 9110, section 12.5.3); a weight of zero refuses."""
    for each in accepted.lower().split(","):
        coding, _, weight = each.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "").rstrip("0") not in {"q=", "q=0."}
    return False


def squeeze(content: bytes) -> bytes:
    """Compress a page, with a name of random length in gzip's header (RFC 1952, section 2.3).

    A page holds a form token beside words that others may choose. Its exact length would tell in
    time how alike they are (BREACH); this drowns what one guess changes ("Heal the BREACH", 2022).
    """
    padding = "x" * random.SystemRandom().randint(1, MOST_PADDING)
    into = io.BytesIO()
    with gzip.GzipFile(padding, "wb", compresslevel=LEVEL, fileobj=into, mtime=0) as file:
        file.write(content)
    return into.getvalue()


class SqueezedPage(Response[str]):
    """A page that is sent compressed."""

    def render(
        self,
        content: Any,  # noqa: ANN401 - Litestar's
        media_type: str,
        enc_hook: Serializer = default_serializer,
    ) -> bytes:
        """Encode the page, and compress it."""
        return squeeze(super().render(content, media_type, enc_hook))
