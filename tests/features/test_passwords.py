"""Passwords cost a thief what this machine bears, and none is among the first that are tried."""

from __future__ import annotations

import asyncio
import json
import stat
import time
from itertools import count
from pathlib import Path

import pytest

from viral.errors import BadSetting, PasswordRefused
from viral.features.users.passwords import (
    FILE_NAME,
    LONGEST,
    Cost,
    Passwords,
    calibrate,
    load_or_calibrate,
    refuse_weak,
)

EMAIL = "alice.smith@example.com"
CHEAP = Passwords(Cost(passes=1, memory_kib=8))


def let_two_passes_take(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    ticks = count()
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks) * seconds)


@pytest.mark.parametrize(
    ("seconds", "passes"), [(5, 2), (0.1, 2), (0.05, 4), (0.02, 10), (0.001, 24), (0, 24)]
)
def test_c08_a_check_takes_a_tenth_of_a_second_or_two_passes(
    monkeypatch: pytest.MonkeyPatch, seconds: float, passes: int
) -> None:
    let_two_passes_take(monkeypatch, seconds)

    assert calibrate() == Cost(passes=passes, memory_kib=65_536)


async def test_c08_a_hash_is_argon2id_of_at_least_19_mib_and_two_passes(tmp_path: Path) -> None:
    hashed = await Passwords(load_or_calibrate(tmp_path)).hash("correct horse")

    _, kind, version, parameters, salt, digest = hashed.split("$")
    memory, passes, lanes = (int(each[2:]) for each in parameters.split(","))
    assert (kind, version, lanes) == ("argon2id", "v=19", 1)
    assert memory >= 19 * 1024
    assert passes >= 2
    assert len(salt) >= 22
    assert len(digest) >= 43


def test_c08_the_cost_is_measured_once_and_kept_for_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_two_passes_take(monkeypatch, 0.02)
    first = load_or_calibrate(tmp_path)
    let_two_passes_take(monkeypatch, 5)

    assert load_or_calibrate(tmp_path) == first == Cost(passes=10, memory_kib=65_536)
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"passes": "x", "memory_kib": 65536}',
        '{"passes": 2, "memory_kib": null}',
        '{"passes": 1, "memory_kib": 65536}',
        '{"passes": 2, "memory_kib": 8}',
        '{"passes": 2, "lanes": 8}',
    ],
)
def test_c08_a_cost_that_is_damaged_or_too_low_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / FILE_NAME
    path.write_text(content)
    path.chmod(0o600)

    with pytest.raises(BadSetting):
        load_or_calibrate(tmp_path)


def test_c08_a_higher_cost_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_text(json.dumps({"passes": 3, "memory_kib": 131_072}))
    path.chmod(0o600)

    assert load_or_calibrate(tmp_path) == Cost(passes=3, memory_kib=131_072)


async def test_c08_the_same_password_has_another_hash_each_time() -> None:
    assert await CHEAP.hash("correct horse") != await CHEAP.hash("correct horse")


@pytest.mark.parametrize(
    "password",
    [
        "correct horse",
        " correct horse ",
        "pässwörter für älle",
        "пароль-пароль",
        "馬電池釘正確な",
        "🐎🔋📎✅🐎🔋📎✅",
        "null\0byte",
        "x" * LONGEST,
    ],
)
async def test_a_password_is_checked_exactly_as_it_was_given(password: str) -> None:
    hashed = await CHEAP.hash(password)

    assert await CHEAP.is_right(hashed, password)
    for other in (password + " ", password[:-1], password.swapcase() + ".", ""):
        assert not await CHEAP.is_right(hashed, other)


async def test_a_password_is_not_cut_off_where_others_cut() -> None:
    hashed = await CHEAP.hash("x" * 72 + "right")

    assert not await CHEAP.is_right(hashed, "x" * 72 + "wrong")


@pytest.mark.parametrize(
    "hashed",
    [None, "", "x", "$argon2id$", "$2b$12$KIXQmHq1b1mYyQ8cRJYQ9uD0kq8n1mXw0Zl4r4yFzEo2f6b9K6cJe"],
)
@pytest.mark.parametrize("password", ["", "nobody's", "correct horse"])
async def test_against_what_is_no_hash_no_password_is_right(
    hashed: str | None, password: str
) -> None:
    assert not await CHEAP.is_right(hashed, password)


@pytest.mark.parametrize(
    ("cost", "is_weaker"),
    [
        (Cost(passes=2, memory_kib=16), False),
        (Cost(passes=3, memory_kib=16), True),
        (Cost(passes=2, memory_kib=32), True),
        (Cost(passes=1, memory_kib=8), False),
    ],
)
async def test_c08_a_hash_is_weaker_when_a_new_one_costs_more(
    cost: Cost, *, is_weaker: bool
) -> None:
    hashed = await Passwords(Cost(passes=2, memory_kib=16)).hash("correct horse")

    assert Passwords(cost).is_weaker(hashed) == is_weaker


async def test_two_checks_run_at_once_and_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords(Cost(passes=1, memory_kib=8))
    hashed = await passwords.hash("correct horse")
    running, most = 0, 0
    verify = passwords._verify

    def slow(against: str, password: str) -> bool:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.01)
        running -= 1
        return verify(against, password)

    monkeypatch.setattr(passwords, "_verify", slow)
    answers = await asyncio.gather(
        *(passwords.is_right(hashed, "correct horse") for _ in range(20))
    )

    assert all(answers)
    assert most == 2


@pytest.mark.parametrize(
    "password",
    [
        "password",
        "PASSWORD",
        "PassWord1",
        "12345678",
        "iloveyou1",
        "Qwertyuiop",
        "trustno1",
        "ALICE.SMITH",
        "alice.smith@example.com",
        "Alice.Smith@Example.com",
        "zzzzzzzzzzzz",
        "zZzZzZzZ",
    ],
)
def test_c08_what_anybody_would_try_first_is_refused(password: str) -> None:
    with pytest.raises(PasswordRefused, match="anybody would try"):
        refuse_weak(password, email=EMAIL)


def test_c08_thirty_thousand_common_passwords_are_refused_in_any_case() -> None:
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    common = FREQUENCY_LISTS["passwords"]

    let_in = [
        variant
        for password in common
        for variant in (password, password.upper(), password.title())
        if not is_weak(variant)
    ]

    assert len(common) == 30_000
    assert let_in == []


@pytest.mark.parametrize("password", ["", "Xk3!fj2", "🐎" * 7, "x y" * 67])
def test_c08_a_password_has_eight_to_two_hundred_characters(password: str) -> None:
    with pytest.raises(PasswordRefused, match="8 to 200"):
        refuse_weak(password, email=EMAIL)


@pytest.mark.parametrize(
    "password",
    ["Xk3!fj2p", "x y " * 50, "馬電池釘正確な馬", "correct horse battery staple", "       x"],
)
def test_what_is_long_enough_and_not_common_is_let_in(password: str) -> None:
    assert not is_weak(password)


def is_weak(password: str) -> bool:
    try:
        refuse_weak(password, email=EMAIL)
    except PasswordRefused:
        return True
    return False
