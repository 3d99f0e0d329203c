"""A signed report: every change to it is noticed and named."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from viral.errors import BadFile, BadSetting
from viral.features.verification.signature import FILE_NAME, SigningKey, check, write_report

REPORT: dict[str, object] = {"total": {"tried": 3, "leaked": 0}, "note": "für alle"}


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.load_or_create(tmp_path)


@pytest.fixture
def signed(tmp_path: Path, key: SigningKey) -> Path:
    path = tmp_path / "report.json"
    write_report(path, key.sign(REPORT))
    return path


def test_a_report_is_checked_by_the_key_that_signed_it(key: SigningKey, signed: Path) -> None:
    assert key.public_key == check(signed, public_key=None)
    assert key.public_key == check(signed, public_key=key.public_key.upper())


def test_every_byte_counts(signed: Path) -> None:
    content = signed.read_bytes()
    passed = []

    for place, byte in enumerate(content):
        signed.write_bytes(content[:place] + bytes([byte ^ 1]) + content[place + 1 :])
        try:
            check(signed, public_key=None)
        except BadFile:
            continue
        passed.append(place)

    assert [] == passed


def test_every_length_counts(signed: Path) -> None:
    content = signed.read_bytes()

    for length in range(len(content)):
        signed.write_bytes(content[:length])
        with pytest.raises(BadFile, match=r"cut off|was changed"):
            check(signed, public_key=None)


def test_a_changed_figure_is_named(signed: Path) -> None:
    signed.write_text(signed.read_text().replace('"leaked": 0', '"leaked": 1'))

    with pytest.raises(BadFile, match="was changed after it was signed"):
        check(signed, public_key=None)


def test_a_file_that_is_cut_off_is_named(signed: Path) -> None:
    signed.write_bytes(signed.read_bytes()[:-40])

    with pytest.raises(BadFile, match="cut off"):
        check(signed, public_key=None)


def test_another_key_is_named(tmp_path: Path, signed: Path) -> None:
    other = SigningKey.load_or_create(make_folder(tmp_path / "other"))

    with pytest.raises(BadFile, match="signed with another key"):
        check(signed, public_key=other.public_key)


def test_a_report_signed_again_by_somebody_else_is_named(
    tmp_path: Path, key: SigningKey, signed: Path
) -> None:
    other = SigningKey.load_or_create(make_folder(tmp_path / "other"))
    write_report(signed, other.sign(REPORT | {"total": {"tried": 3, "leaked": 1}}))

    assert other.public_key == check(signed, public_key=None)
    with pytest.raises(BadFile, match="another key"):
        check(signed, public_key=key.public_key)


@pytest.mark.parametrize("content", ["[]", '{"report": {}}', '{"report": 1, "signature": {}}'])
def test_a_file_without_a_signature_is_named(signed: Path, content: str) -> None:
    signed.write_text(content)

    with pytest.raises(BadFile, match="no signature"):
        check(signed, public_key=None)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="No such file"):
        check(tmp_path / "missing.json", public_key=None)


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path, key: SigningKey) -> None:
    path = tmp_path / FILE_NAME

    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert key.public_key == SigningKey.load_or_create(tmp_path).public_key
    assert path.read_text().strip() not in repr(key)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path, key: SigningKey) -> None:
    assert key.public_key
    (tmp_path / FILE_NAME).chmod(0o644)

    with pytest.raises(BadSetting, match="read by other users"):
        SigningKey.load_or_create(tmp_path)


def test_a_damaged_key_is_named_and_not_shown(tmp_path: Path, key: SigningKey) -> None:
    assert key.public_key
    (tmp_path / FILE_NAME).write_text("c0ffee")

    with pytest.raises(BadSetting, match="is damaged") as refused:
        SigningKey.load_or_create(tmp_path)
    assert "c0ffee" not in str(refused.value)


def test_the_signature_does_not_depend_on_the_order_of_names(key: SigningKey) -> None:
    turned = dict(reversed(REPORT.items()))

    one, other = (json.loads(key.sign(each))["signature"] for each in (REPORT, turned))
    assert one == other


def make_folder(path: Path) -> Path:
    path.mkdir()
    return path
