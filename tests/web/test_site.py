"""Seals: altered, foreign or re-used content is nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from viral.settings import Settings
from viral.web.site import Seals, site_of

SEALS = Seals(b"pepper")


def test_sealed_content_comes_back() -> None:
    sealed = SEALS.seal("flash", "alice", "Grüße".encode())

    assert SEALS.open("flash", "alice", sealed) == "Grüße".encode()


def test_a_seal_holds_for_one_owner_one_purpose_and_one_installation() -> None:
    sealed = SEALS.seal("flash", "alice", b"hello")

    assert SEALS.open("flash", "bob", sealed) is None
    assert SEALS.open("cursor", "alice", sealed) is None
    assert Seals(b"other").open("flash", "alice", sealed) is None


@pytest.mark.parametrize("sealed", ["", ".", "a.b", "a.b.c", "é.é", "aGVsbG8.", "%%%.%%%"])
def test_made_up_seals_open_nothing(sealed: str) -> None:
    assert SEALS.open("flash", "alice", sealed) is None


def test_a_seal_shows_no_key() -> None:
    assert "pepper" not in repr(SEALS)


def test_installations_on_one_machine_do_not_share_form_tokens(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)

    one, other = site_of(settings, b"one"), site_of(settings, b"other")

    assert one.csrf_cookie != other.csrf_cookie
    assert one.flash_cookie != other.flash_cookie


def test_the_public_address_is_one_of_ours(tmp_path: Path) -> None:
    site = site_of(Settings(home=tmp_path, public_url="https://studio.example:8443/x"), b"one")

    assert site.hosts == {"127.0.0.1", "localhost", "::1", "studio.example"}
    assert site.is_secure
    assert site.session_cookie == "__Host-viral_session"
