"""What all forms have in common."""

from __future__ import annotations

import msgspec


class Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The proof that a page of ours made a form; it is checked before the form is read."""

    csrf: str = msgspec.field(default="", name="_csrf_token")
