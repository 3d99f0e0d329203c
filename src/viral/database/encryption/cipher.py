"""AES-256-GCM for one field of one row: a ciphertext opens where it was sealed and nowhere else.

A value is: version (1 byte), key id (4), nonce (12), ciphertext with its tag (16). All that stands
before the ciphertext is authenticated, and with it the place: tenant, table, column, row.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from viral.errors import DecryptionFailed, NotFound

if TYPE_CHECKING:
    from uuid import UUID

    from viral.database.encryption.keys import FieldKey, KeyRing

VERSION = b"\x01"
KEY_ID_BYTES = 4
KEY_ID_START = len(VERSION)
NONCE_START = KEY_ID_START + KEY_ID_BYTES
# Random nonces of 96 bits hold for 2**32 messages a key (NIST SP 800-38D, 8.3), and each tenant has
# a key of its own.
NONCE_BYTES = 12
BODY_START = NONCE_START + NONCE_BYTES
_PURPOSE = b"viral field encryption 1"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands."""

    tenant_id: UUID
    table: str
    column: str
    row_id: UUID

    def __str__(self) -> str:
        return f"{self.table}.{self.column} of row {self.row_id}"

    def encoded(self) -> bytes:
        """Write the place so that no two places are written alike: each part after its length."""
        parts = (self.tenant_id.bytes, self.table.encode(), self.column.encode(), self.row_id.bytes)
        return b"".join(len(part).to_bytes(4) + part for part in parts)


def seal(text: str, place: Place, keys: KeyRing) -> bytes:
    """Encrypt a text for a place, under the primary key."""
    key = keys.primary
    header = VERSION + bytes.fromhex(key.id)
    nonce = secrets.token_bytes(NONCE_BYTES)
    cipher = _tenant_cipher(key, place.tenant_id)
    return header + nonce + cipher.encrypt(nonce, text.encode(), header + place.encoded())


def unseal(value: bytes, place: Place, keys: KeyRing) -> str:
    """Decrypt what was sealed for this place; anything else raises DecryptionFailed."""
    if not value:
        raise NotFound(f"{place} is not kept.", hint="Connect the account again.")
    if len(value) < BODY_START or not value.startswith(VERSION):
        raise DecryptionFailed(f"{place} is no ciphertext of this product.")
    header, nonce = value[:NONCE_START], value[NONCE_START:BODY_START]
    cipher = _tenant_cipher(keys.find(key_id_of(value)), place.tenant_id)
    try:
        return cipher.decrypt(nonce, value[BODY_START:], header + place.encoded()).decode()
    except InvalidTag:
        raise DecryptionFailed(
            f"{place} was changed, or was written for another place.",
            hint="Restore the row from a backup, or connect the account again.",
        ) from None


def key_id_of(value: bytes) -> str:
    """Return the id of the key that a value is under."""
    return value[KEY_ID_START:NONCE_START].hex()


def _tenant_cipher(key: FieldKey, tenant_id: UUID) -> AESGCM:
    """Derive a tenant's own key (RFC 5869); the key of the ring encrypts nothing itself."""
    derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE + tenant_id.bytes)
    return AESGCM(derivation.derive(key.material))
