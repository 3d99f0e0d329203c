"""Where data may not be thrown away, and what has to be typed where it may."""

from __future__ import annotations

import io

import pytest

from viral.cli.guard import refuse_production, require_name, restore_point
from viral.database.urls import parse_url
from viral.errors import NotConfirmed
from viral.settings import Settings

HERE = "postgresql://viral_migrator:secret@{}/shop"


def settings(*, environment: str | None = None, ci: str = "") -> Settings:
    return Settings.model_validate({"environment": environment, "ci": ci})


@pytest.mark.parametrize(
    ("environment", "host"),
    [
        ("production", "127.0.0.1"),
        ("production", "db.example.com"),
        (None, "db.example.com"),
        (None, "10.0.0.7"),
        (None, "localhost.example.com"),
        (None, "[2001:db8::1]"),
    ],
)
def test_production_is_refused(environment: str | None, host: str) -> None:
    url = parse_url(HERE.format(host))

    with pytest.raises(NotConfirmed, match="`viral db push` does not run") as caught:
        refuse_production(settings(environment=environment), url, what="`viral db push`")

    assert "secret" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("environment", "host"),
    [
        (None, "127.0.0.1"),
        (None, "127.8.8.8"),
        (None, "localhost"),
        (None, "[::1]"),
        ("development", "db.example.com"),
    ],
)
def test_a_place_of_development_is_not_refused(environment: str | None, host: str) -> None:
    url = parse_url(HERE.format(host))
    refused = []

    try:
        refuse_production(settings(environment=environment), url, what="it")
    except NotConfirmed as refusal:
        refused.append(refusal.message)

    assert [] == refused


class Terminal(io.StringIO):
    """A standard input at which a person sits."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("ci", ["", "woodpecker"])
def test_the_name_in_an_option_needs_no_person(monkeypatch: pytest.MonkeyPatch, ci: str) -> None:
    terminal = Terminal("another\n")
    monkeypatch.setattr("sys.stdin", terminal)

    require_name(settings(ci=ci), "shop", "shop", what="it")

    assert "another\n" == terminal.read()


@pytest.mark.parametrize("typed", ["shops", "SHOP", "", " shop"])
def test_another_name_is_refused(typed: str) -> None:
    with pytest.raises(NotConfirmed, match="is not the name of the database: nothing was changed"):
        require_name(settings(), "shop", typed, what="it")


def test_nobody_at_the_terminal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("shop\n"))

    with pytest.raises(NotConfirmed) as caught:
        require_name(settings(), "shop", None, what="it")

    assert "--confirm shop" in caught.value.hint


def test_a_build_machine_is_refused_even_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("shop\n"))

    with pytest.raises(NotConfirmed):
        require_name(settings(ci="woodpecker"), "shop", None, what="it")


def test_no_copy_is_made_where_none_is_wanted() -> None:
    assert restore_point(settings(), parse_url(HERE.format("localhost")), is_wanted=False) is None
