"""Columns that hold a text as ciphertext, and the secrets that models hold instead of it."""

from __future__ import annotations

from typing import NoReturn, Protocol

from sqlalchemy import Dialect, LargeBinary
from sqlalchemy.types import TypeDecorator

from viral.errors import DecryptionFailed, PlaintextRefused


class Secret:
    """A text that shows itself when it is asked to, by `reveal()`, and never by being printed."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Give the text; a stored one is opened only here."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not copied or pickled: pass the row, or reveal it")


class Field(Protocol):
    """The one place that a ciphertext belongs to."""

    def open(self, ciphertext: bytes) -> str:
        """Return the text; raise DecryptionFailed where it is not the ciphertext of this place."""


class SealedSecret(Secret):
    """A secret as the database has it; `field` is None where it was read without its row."""

    __slots__ = ("ciphertext", "field")

    def __init__(self, ciphertext: bytes, field: Field | None = None) -> None:
        self.ciphertext = ciphertext
        self.field = field

    def reveal(self) -> str:
        """Open the ciphertext."""
        if self.field is None:
            raise DecryptionFailed(
                "A secret was read without its row, whose id it takes to open it.",
                hint="Select the model and not the column: select(SocialAccount).",
            )
        return self.field.open(self.ciphertext)


class EncryptedText(TypeDecorator[Secret]):
    """Bytes in the database; in Python a Secret, sealed for its row when the session flushes.

    The type itself has no key and encrypts nothing: it does not know the row. It keeps plaintext
    out of every other way into the column, and raw bytes out of every way from it.
    """

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Secret | bytes | None, dialect: Dialect) -> bytes | None:
        del dialect
        # Empty: an account whose token is not kept, such as an imported one.
        if value is None or value == b"":
            return value
        if isinstance(value, SealedSecret):
            return value.ciphertext
        raise PlaintextRefused(
            "An encrypted column is written only by the session that flushes its row.",
            hint="Load the row and assign a Secret to its attribute.",
        )

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Secret | None:
        del dialect
        return None if value is None else SealedSecret(value)

    def compare_values(self, x: object, y: object) -> bool:
        if isinstance(x, SealedSecret) and isinstance(y, SealedSecret):
            return (x.field, x.ciphertext) == (y.field, y.ciphertext)
        return x is y
