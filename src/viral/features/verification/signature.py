"""The signature of a report: Ed25519, by a key that lies in the folder of the installation."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from viral.database.secrets import write_private
from viral.errors import BadFile, BadSetting

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME = "report-key.hex"
ALGORITHM = "Ed25519"
_KEY_BYTES = 32


class SigningKey:
    """The key of one installation; printing it shows nothing."""

    __slots__ = ("_key",)

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def __repr__(self) -> str:
        return "SigningKey(...)"

    @classmethod
    def load_or_create(cls, home: Path) -> SigningKey:
        """Read the key of an installation, or make it; refuse one that others can read."""
        path = home / FILE_NAME
        if not path.exists():
            write_private(path, Ed25519PrivateKey.generate().private_bytes_raw().hex() + "\n")
        if path.stat().st_mode & 0o077:
            raise BadSetting(
                f"{path} can be read by other users of this machine.",
                hint=f"Run `chmod 600 {path}`.",
            )
        try:
            key = bytes.fromhex(path.read_text(encoding="ascii"))
            return cls(Ed25519PrivateKey.from_private_bytes(key))
        except ValueError:
            raise BadSetting(
                f"{path} is damaged.",
                hint="Restore it from a backup, or remove it: the next report gets another key.",
            ) from None

    @property
    def public_key(self) -> str:
        """The public half, as hex."""
        return self._key.public_key().public_bytes_raw().hex()

    def sign(self, report: dict[str, object]) -> bytes:
        """Return the file of a signed report."""
        signature = self._key.sign(_signed_bytes(report)).hex()
        return _file(
            {
                "report": report,
                "signature": {
                    "algorithm": ALGORITHM,
                    "public_key": self.public_key,
                    "value": signature,
                },
            }
        )


def check(path: Path, *, public_key: str | None) -> str:
    """Return the public key that a file is signed with; raise BadFile naming what is wrong.

    Without `public_key` it shows that nothing was changed since, not who signed.
    """
    content = _read(path)
    try:
        document = json.loads(content)
    except ValueError as error:
        raise BadFile(
            f"{path} is cut off, or is not a signed report: it cannot be read as JSON.",
            hint="Get the file again from whoever made it.",
        ) from error
    report, signer, signature = _parts(path, document)
    if public_key is not None and public_key.strip().lower() != signer:
        raise BadFile(
            f"{path} is signed with another key: {signer}.",
            hint="It does not come from the installation whose key you were given.",
        )
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(signer)).verify(
            bytes.fromhex(signature), _signed_bytes(report)
        )
    except (InvalidSignature, ValueError) as error:
        raise _edited(path) from error
    if content != _file(document):
        raise _edited(path)
    return signer


def document_hash(content: bytes) -> str:
    """Return the hash by which a page names its signed file."""
    return sha256(content).hexdigest()


def write_report(path: Path, content: bytes) -> None:
    """Write a file whole, or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise BadFile(f"{path} cannot be written: {error.strerror}.") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror}.") from error


def _parts(path: Path, document: object) -> tuple[dict[str, object], str, str]:
    fields = document if isinstance(document, dict) else {}
    report, seal = fields.get("report"), fields.get("signature")
    if isinstance(report, dict) and isinstance(seal, dict) and seal.get("algorithm") == "Ed25519":
        signer, value = seal.get("public_key"), seal.get("value")
        if isinstance(signer, str) and isinstance(value, str) and len(signer) == _KEY_BYTES * 2:
            return report, signer, value
    raise BadFile(
        f"{path} is not a signed report: it has no signature.",
        hint="Check the .json file that `viral tenant verify --report FILE` wrote.",
    )


def _edited(path: Path) -> BadFile:
    return BadFile(
        f"{path} was changed after it was signed.",
        hint="Do not rely on it; get the file again from whoever made it.",
    )


def _signed_bytes(report: dict[str, object]) -> bytes:
    # One spelling: sorted names, no spaces.
    return json.dumps(report, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _file(document: dict[str, object]) -> bytes:
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()
