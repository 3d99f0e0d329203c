"""One field's cipher, and the ring of its keys."""

from __future__ import annotations

import copy
import hmac
import json
import pickle
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from viral.database.encryption.cipher import Place, seal, unseal
from viral.database.encryption.keys import (
    FILE_NAME,
    FieldKey,
    KeyFile,
    KeyRing,
    new_key,
    parse_keys,
    retirable,
)
from viral.errors import BadInput, BadSetting, DecryptionFailed, NotFound, ViralError
from viral.schema.base import uuid7
from viral.schema.encrypted import SealedSecret, Secret

NOW = datetime(2026, 11, 22, tzinfo=UTC)
KEYS = KeyRing([new_key(NOW), new_key(NOW)])
PLACE = Place(uuid7(), "social_accounts", "access_token", uuid7())
TOKEN = "a platform's token, ünïcode too"


def sealed() -> bytes:
    return seal(TOKEN, PLACE, KEYS)


def test_a_text_comes_back_where_it_was_sealed() -> None:
    assert TOKEN == unseal(sealed(), PLACE, KEYS)
    assert unseal(seal("", PLACE, KEYS), PLACE, KEYS) == ""


def test_c01_the_value_begins_with_version_and_key_id_and_no_two_are_alike() -> None:
    values = {sealed() for _ in range(100)}

    assert len(values) == 100
    assert {value[:5].hex() for value in values} == {"01" + KEYS.primary.id}
    # Header 5, nonce 12, tag 16.
    assert {len(value) - len(TOKEN.encode()) for value in values} == {33}


def test_c01_a_value_is_aes_256_gcm_under_the_tenants_own_key_as_documented() -> None:
    value = sealed()
    # RFC 5869 with SHA-256 and no salt: extract, then the one block that 32 bytes take.
    extracted = hmac.digest(b"\0" * 32, KEYS.primary.material, "sha256")
    info = b"viral field encryption 1" + PLACE.tenant_id.bytes
    tenant_key = hmac.digest(extracted, info + b"\x01", "sha256")

    opened = AESGCM(tenant_key).decrypt(value[5:17], value[17:], value[:5] + PLACE.encoded())

    assert TOKEN == opened.decode()


@pytest.mark.parametrize(
    "elsewhere",
    [
        replace(PLACE, tenant_id=uuid7()),
        replace(PLACE, table="other_accounts"),
        replace(PLACE, column="refresh_token"),
        replace(PLACE, row_id=uuid7()),
        replace(PLACE, tenant_id=PLACE.row_id, row_id=PLACE.tenant_id),
    ],
    ids=["tenant", "table", "column", "row", "ids swapped"],
)
def test_c01_a_value_that_was_moved_is_rejected(elsewhere: Place) -> None:
    with pytest.raises(DecryptionFailed):
        unseal(sealed(), elsewhere, KEYS)


def test_c01_every_flipped_bit_is_rejected() -> None:
    value = sealed()

    for position in range(len(value) * 8):
        changed = bytearray(value)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises(DecryptionFailed):
            unseal(bytes(changed), PLACE, KEYS)


def test_c01_every_shortened_and_every_lengthened_value_is_rejected() -> None:
    value = sealed()

    for wrong in [*(value[:length] for length in range(1, len(value))), value + b"\0"]:
        with pytest.raises(DecryptionFailed):
            unseal(wrong, PLACE, KEYS)


def test_c01_a_value_under_the_id_of_another_key_of_the_ring_is_rejected() -> None:
    value = sealed()
    other = value[:1] + bytes.fromhex(KEYS.keys[1].id) + value[5:]

    with pytest.raises(DecryptionFailed):
        unseal(other, PLACE, KEYS)


def test_c01_the_id_is_authenticated_even_where_two_keys_are_equal() -> None:
    twin = KeyRing([FieldKey("00000001", b"k" * 32), FieldKey("00000002", b"k" * 32)])
    value = seal(TOKEN, PLACE, twin)

    with pytest.raises(DecryptionFailed):
        unseal(value[:1] + bytes.fromhex("00000002") + value[5:], PLACE, twin)


def test_places_whose_parts_run_together_are_written_apart() -> None:
    ids = UUID(int=1), UUID(int=2)

    one = Place(ids[0], "social_accounts", "token", ids[1])
    other = Place(ids[0], "social_account", "stoken", ids[1])

    assert one.encoded() != other.encoded()


def test_what_is_not_kept_is_said_to_be_missing_and_never_given_as_a_token() -> None:
    with pytest.raises(NotFound, match=r"social_accounts\.access_token"):
        unseal(b"", PLACE, KEYS)


def test_c02_nothing_that_prints_shows_a_secret_or_a_key() -> None:
    secret = Secret(TOKEN)
    row = SealedSecret(sealed())

    shown = f"{secret} {secret!r} {[row]} {KEYS} {KEYS.primary} {KEYS.keys}"

    assert TOKEN not in shown
    assert not any(repr(key.material)[2:-1] in shown for key in KEYS.keys)
    assert not any(key.material.hex() in shown for key in KEYS.keys)


@pytest.mark.parametrize("spread", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps])
def test_c02_a_secret_is_not_serialised(spread: Callable[[object], object]) -> None:
    with pytest.raises(TypeError):
        spread(Secret(TOKEN))


def test_c04_the_first_key_is_made_with_a_file_that_its_owner_alone_reads(tmp_path: Path) -> None:
    home = tmp_path / "home"

    made = KeyFile.load_or_create(home, may_create=True)

    assert stat.S_IMODE((home / FILE_NAME).stat().st_mode) == 0o600
    assert made.keys == KeyFile.load_or_create(home, may_create=False).keys
    assert len(made.primary.material) == 32


def test_c04_where_no_key_may_be_made_up_the_start_stops_and_says_what_to_set(
    tmp_path: Path,
) -> None:
    with pytest.raises(BadSetting, match="VIRAL_FIELD_KEYS is not set") as caught:
        KeyFile.load_or_create(tmp_path, may_create=False)

    assert "openssl rand" in caught.value.hint
    assert not (tmp_path / FILE_NAME).exists()


def test_c04_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    KeyFile.load_or_create(tmp_path, may_create=True)
    (tmp_path / FILE_NAME).chmod(0o640)

    with pytest.raises(BadSetting, match="can be read by other users"):
        KeyFile.load_or_create(tmp_path, may_create=True)


@pytest.mark.parametrize("text", ["", "{", "{}", '{"keys": []}', '{"keys": [{"id": "x"}]}'])
def test_a_damaged_file_is_named_and_not_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / FILE_NAME
    path.touch(mode=0o600)
    path.write_text(text)

    with pytest.raises(BadSetting, match="is damaged") as caught:
        KeyFile.load_or_create(tmp_path, may_create=True)

    assert text == path.read_text()
    assert caught.value.__cause__ is None


def test_c05_the_environment_names_the_keys_with_the_primary_first() -> None:
    ring = parse_keys(f"0000000a:{'QUFB' * 10}QUE=, 0000000b:{'QkJC' * 10}QkI=")

    assert [key.id for key in ring.keys] == ["0000000a", "0000000b"]
    assert (ring.primary.material, ring.find("0000000b").material) == (b"A" * 32, b"B" * 32)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hunter2",
        "0000000a:hunter2",
        f"short:{'QUFB' * 10}QUE=",
        f"0000000a:{'QUFB' * 9}",
        f"0000000a:{'QUFB' * 10}QUE=,0000000a:{'QUFB' * 10}QUE=",
    ],
)
def test_keys_that_cannot_be_used_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(BadSetting, match="VIRAL_FIELD_KEYS is no list") as caught:
        parse_keys(text)

    error: ViralError = caught.value
    assert "hunter2" not in error.message + error.hint
    assert "QUFB" not in error.message + error.hint


def test_a_ring_sees_what_another_process_did_to_the_file(tmp_path: Path) -> None:
    ours = KeyFile.load_or_create(tmp_path, may_create=True)
    first = ours.primary
    theirs = KeyFile.load_or_create(tmp_path, may_create=True)

    theirs.add_primary(second := new_key(NOW))

    assert seal(TOKEN, PLACE, ours)[1:5].hex() == second.id
    assert [key.id for key in ours.keys] == [second.id, first.id]
    theirs.remove(first.id)
    with pytest.raises(DecryptionFailed, match=f"no field key {first.id}"):
        ours.find(first.id)


def test_the_primary_key_and_an_unknown_one_cannot_be_retired() -> None:
    with pytest.raises(BadInput, match="is the primary key"):
        retirable(KEYS, KEYS.primary.id)
    with pytest.raises(NotFound):
        retirable(KEYS, "ffffffff")
