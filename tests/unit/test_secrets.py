"""The file of passwords and keys: private, whole, made once."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from viral.database.secrets import ROLES, ContextKey, ContextKeys, Secrets
from viral.errors import BadSetting, NotFound


def test_each_role_has_a_long_password_of_its_own(tmp_path: Path) -> None:
    secrets = Secrets.load_or_create(tmp_path)

    passwords = {secrets.password(role) for role in ROLES}

    assert len(passwords) == len(ROLES) == 8
    assert min(map(len, passwords)) >= 32


def test_the_keys_have_32_bytes_and_differ(tmp_path: Path) -> None:
    secrets = Secrets.load_or_create(tmp_path)

    keys = {secrets.context_key, secrets.word_key, secrets.pepper}

    assert [len(key) for key in keys] == [32, 32, 32]
    assert secrets.context.current.id == 1


def test_the_file_is_found_again(tmp_path: Path) -> None:
    made = Secrets.load_or_create(tmp_path)

    for found in (Secrets.load(tmp_path), Secrets.load_or_create(tmp_path)):
        assert found.password("viral_app") == made.password("viral_app")
        assert found.context_key == made.context_key


def test_only_the_owner_reads_the_file_and_the_folder(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"

    Secrets.load_or_create(home)

    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert {path.name for path in home.iterdir()} == {"secrets.json", "secrets.json.lock"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()} == {0o600}


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    Secrets.load_or_create(tmp_path)
    path = tmp_path / "secrets.json"
    path.chmod(0o640)

    with pytest.raises(BadSetting) as caught:
        Secrets.load_or_create(tmp_path)

    assert f"chmod 600 {path}" in caught.value.hint


A_KEY = "ab" * 32
NO_NUMBER = '"former_context_key_id": "1",'


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda _: "",
        lambda _: "[]",
        lambda _: "{}",
        lambda text: text.replace('"context_key":', '"other":'),
        lambda text: text.replace('"pepper": "', '"pepper": "zz'),
        lambda text: text.replace('"context_key_id": 1', '"context_key_id": "1"'),
        lambda text: text.replace('"viral_app": "', '"viral_app": 1, "x": "'),
        lambda text: text.replace("{", f'{{"coming_context_key": "{A_KEY}",', 1),
        lambda text: text.replace(
            "{", '{"coming_context_key": "x", "coming_context_key_id": 2,', 1
        ),
        lambda text: text.replace("{", f'{{"former_context_key": "{A_KEY}",' + NO_NUMBER, 1),
    ],
)
def test_a_damaged_file_is_refused_and_kept(tmp_path: Path, damage: Callable[[str], str]) -> None:
    Secrets.load_or_create(tmp_path)
    path = tmp_path / "secrets.json"
    damaged = damage(path.read_text())
    path.write_text(damaged)

    with pytest.raises(BadSetting, match="damaged"):
        Secrets.load_or_create(tmp_path)

    assert path.read_text() == damaged


def test_no_secret_reaches_repr_or_an_error(tmp_path: Path) -> None:
    secrets = Secrets.load_or_create(tmp_path)
    context_key, password = secrets.context_key.hex(), secrets.password("viral_app")
    path = tmp_path / "secrets.json"
    path.write_text(path.read_text()[:-5])

    with pytest.raises(BadSetting) as caught:
        Secrets.load(tmp_path)

    shown = f"{secrets!r} {secrets} {caught.value!r} {caught.value.__cause__!r}"
    assert password not in shown
    assert context_key not in shown
    assert caught.value.__suppress_context__


def test_a_later_versions_role_gets_a_password_and_the_rest_stays(tmp_path: Path) -> None:
    made = Secrets.load_or_create(tmp_path)
    path = tmp_path / "secrets.json"
    fields = json.loads(path.read_text())
    del fields["passwords"]["viral_signin"]
    path.write_text(json.dumps(fields | {"of_the_future": [1, 2]}))

    completed = Secrets.load_or_create(tmp_path)

    assert completed.password("viral_signin") == Secrets.load(tmp_path).password("viral_signin")
    assert completed.password("viral_app") == made.password("viral_app")
    assert json.loads(path.read_text())["of_the_future"] == [1, 2]


def test_a_missing_file_is_not_made_by_load(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"holds no secrets\.json"):
        Secrets.load(tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_home_that_is_a_file_is_named(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.touch()

    with pytest.raises(BadSetting, match=str(home)):
        Secrets.load_or_create(home)


def test_an_unknown_role_is_named(tmp_path: Path) -> None:
    secrets = Secrets.load_or_create(tmp_path)

    with pytest.raises(NotFound, match="nobody"):
        secrets.password("nobody")


def _app_password(home: Path) -> str:
    return Secrets.load_or_create(home).password("viral_app")


def test_processes_that_begin_at_once_get_the_same_secrets(tmp_path: Path) -> None:
    homes = [tmp_path / "home"] * 8

    with ProcessPoolExecutor(4, mp_context=get_context("forkserver")) as pool:
        passwords = set(pool.map(_app_password, homes))

    assert passwords == {_app_password(homes[0])}


A_COMING_KEY = ContextKey(2, b"k" * 32)


def _with_another(keys: ContextKeys) -> ContextKeys:
    return ContextKeys(keys.current, coming=A_COMING_KEY)


def test_a_change_of_the_context_keys_is_seen_by_those_who_loaded_before(tmp_path: Path) -> None:
    ours = Secrets.load_or_create(tmp_path)
    theirs = Secrets.load(tmp_path)
    unchanged = json.loads((tmp_path / "secrets.json").read_text())

    made = ours.change_context(_with_another)

    assert made == ours.context == theirs.context == Secrets.load(tmp_path).context
    assert A_COMING_KEY == made.coming
    ours.change_context(lambda keys: ContextKeys(keys.current))
    assert unchanged == json.loads((tmp_path / "secrets.json").read_text())


def test_a_change_of_the_context_keys_leaves_the_file_private_and_its_owners(
    tmp_path: Path,
) -> None:
    secrets = Secrets.load_or_create(tmp_path)
    path = tmp_path / "secrets.json"
    owner = (12_345, 12_346) if os.geteuid() == 0 else (os.getuid(), os.getgid())
    os.chown(path, *owner)

    keys = secrets.change_context(_with_another)

    found = path.stat()
    assert (0o600, owner) == (stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid))
    assert {path.name, f"{path.name}.lock"} == {each.name for each in tmp_path.iterdir()}
    assert repr(A_COMING_KEY.material) not in f"{secrets!r} {keys!r} {keys.coming!r}"


def _count_up(home: Path) -> None:
    def with_next(keys: ContextKeys) -> ContextKeys:
        number = (keys.coming or keys.current).id + 1
        return ContextKeys(keys.current, coming=ContextKey(number, b"k" * 32))

    Secrets.load(home).change_context(with_next)


def test_changes_of_several_processes_follow_one_another(tmp_path: Path) -> None:
    Secrets.load_or_create(tmp_path)

    with ProcessPoolExecutor(4, mp_context=get_context("forkserver")) as pool:
        list(pool.map(_count_up, [tmp_path] * 40))

    coming = Secrets.load(tmp_path).context.coming
    assert coming is not None
    assert 1 + 40 == coming.id
