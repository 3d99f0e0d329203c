"""The roles get new passwords while programs connect, and wherever the change is killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from servers import PREAMBLE, Homes, as_admin, server_in
from shell import Shell
from sqlalchemy import text

from viral.database.engine import Database
from viral.database.secrets import ROLES, Secrets
from viral.database.urls import parse_url
from viral.errors import ServerRefused
from viral.postgres.bootstrap import bootstrap
from viral.postgres.role_passwords import rotate_role_passwords, settle_role_passwords
from viral.postgres.server import Server
from viral.schema.security import LOGINS

pytest_plugins = ["servers"]

ROTATE = (
    PREAMBLE
    + """
import signal
from datetime import UTC, datetime
from viral.postgres import bootstrap, role_passwords
def die():
    os.kill(os.getpid(), signal.SIGKILL)
{damage}
admin = server.socket_url("viral_admin")
asyncio.run(role_passwords.rotate_role_passwords(
    [admin], Secrets.load_or_create(home), now=datetime.now(UTC)))
"""
)
# Where the process is killed, and how: the steps of a rotation in their order.
STEPS = {
    "before the file has the coming ones": "role_passwords._with_coming = lambda _: die()",
    "before the server is told": "role_passwords.admin_connection = lambda _: die()",
    "between two roles": """
told = []
verifier = bootstrap.scram_verifier
bootstrap.scram_verifier = lambda word: (
    die() if len(told) == 3 else told.append(word) or verifier(word))
""",
    "before the file is settled": "role_passwords._settled = lambda roles, now: die()",
}


@pytest.fixture(scope="module")
async def server(homes: Homes) -> AsyncIterator[Server]:
    """Give a prepared server whose passwords the tests change."""
    server = server_in(homes.new())
    await server.start()
    connection = await as_admin(server)
    await connection.execute("ALTER SYSTEM SET fsync = off")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.close()
    await bootstrap(server.socket_url("viral_admin"), server.secrets)
    yield server
    await server.stop()


async def rotate(server: Server) -> bool:
    admin = server.socket_url("viral_admin")
    result = await rotate_role_passwords([admin], server.secrets, now=datetime.now(UTC))
    return result.is_continued


def program(server: Server, role: str = "viral_app") -> Database:
    """Open what a web or worker process opens at its start."""
    url = parse_url(server.url(role))
    login = server.secrets.login(role, url.password)
    return Database(url, context_key=b"k" * 32, passwords=login)


async def ask(database: Database) -> object:
    async with database.session_without_tenant() as session:
        return await session.scalar(text("SELECT current_user"))


async def is_taken(server: Server, role: str, password: str) -> bool:
    url = parse_url(server.url(role)).for_role(role, password)
    try:
        connection = await asyncpg.connect(url.libpq(password=True))
    except asyncpg.InvalidPasswordError:
        return False
    await connection.close()
    return True


async def test_programs_that_connect_all_the_time_notice_nothing(server: Server) -> None:
    ended = asyncio.Event()
    first = server.secrets.password("viral_app")
    connected = 0

    async def connect(database: Database, role: str) -> None:
        nonlocal connected
        while not ended.is_set():
            assert await ask(database) == role
            # The next one is a connection of its own; the settings are those of the start.
            await database.close()
            connected += 1

    async def stay(database: Database) -> None:
        async with database.session_without_tenant() as session:
            while not ended.is_set():
                await session.execute(text("SELECT pg_sleep(0.05)"))

    async def change() -> None:
        try:
            for _ in range(6):
                await rotate(server)
                await asyncio.sleep(0.1)
        finally:
            ended.set()

    roles = ("viral_app", "viral_app", "viral_worker", "viral_signin")
    held = program(server)
    await asyncio.gather(
        *(connect(program(server, role), role) for role in roles), stay(held), change()
    )
    await held.close()

    assert connected > 50
    assert not await is_taken(server, "viral_app", first)
    assert await is_taken(server, "viral_app", server.secrets.password("viral_app"))


async def test_every_role_but_the_admins_gets_another_password(server: Server) -> None:
    former = {role: server.secrets.password(role) for role in ROLES}

    await rotate(server)

    same = {role for role in ROLES if server.secrets.password(role) == former[role]}
    assert same == {"viral_admin"}
    for role in LOGINS:
        assert await is_taken(server, role, server.secrets.password(role))
        assert not await is_taken(server, role, former[role])
    assert server.secrets.roles.coming is None
    assert server.secrets.roles.changed_at is not None
    assert datetime.now(UTC) - server.secrets.roles.changed_at < timedelta(minutes=1)


@pytest.mark.parametrize("step", STEPS)
async def test_a_rotation_that_is_killed_leaves_everything_working(
    server: Server, step: str
) -> None:
    running = program(server)
    await ask(running)
    script = ROTATE.replace("{damage}", STEPS[step])

    killed = subprocess.run(
        [sys.executable, "-B", "-c", script, str(server.home)],
        cwd="/",
        env={"PATH": os.environ["PATH"]},
        check=False,
    )

    assert killed.returncode == -signal.SIGKILL
    await running.close()
    assert await ask(running) == "viral_app"
    fresh = Secrets.load(server.home)
    url = parse_url(server.url("viral_app"))
    await settle_role_passwords(url, fresh, now=datetime.now(UTC))
    for role in LOGINS:
        assert await is_taken(server, role, fresh.password(role))
    was_begun = fresh.roles.coming is not None
    assert await rotate(server) == was_begun
    await running.close()
    assert await ask(running) == "viral_app"
    assert await is_taken(server, "viral_backup", server.secrets.password("viral_backup"))
    await running.close()


async def test_a_start_of_the_product_ends_what_was_killed_after_the_server_knew(
    server: Server, tmp_path: Path
) -> None:
    script = ROTATE.replace("{damage}", STEPS["before the file is settled"])
    subprocess.run([sys.executable, "-B", "-c", script, str(server.home)], cwd="/", check=False)
    coming = server.secrets.roles.coming
    assert coming is not None
    assert server.secrets.password("viral_migrator") != coming["viral_migrator"]

    status = shell(server, tmp_path).viral("migrate", "status", "--json")

    assert status.code == 2
    assert status.document["pending"]
    assert server.secrets.password("viral_migrator") == coming["viral_migrator"]


async def test_two_rotations_at_once_follow_one_another(server: Server) -> None:
    await asyncio.gather(rotate(server), rotate(server), bootstrap_again(server))

    assert server.secrets.roles.coming is None
    for role in LOGINS:
        assert await is_taken(server, role, server.secrets.password(role))


async def test_a_password_that_was_never_ours_is_refused(server: Server) -> None:
    url = parse_url(server.url("viral_app")).for_role("viral_app", "tops3cret")
    login = server.secrets.login("viral_app", "tops3cret")
    database = Database(url, context_key=b"k" * 32, passwords=login)

    with pytest.raises(ServerRefused, match="password of viral_app is wrong"):
        await ask(database)

    await database.close()


async def test_when_no_password_is_taken_that_is_said_once(server: Server) -> None:
    database = program(server)
    connection = await as_admin(server)
    await connection.execute("ALTER ROLE viral_app PASSWORD 'of somebody else'")
    await connection.close()

    with pytest.raises(ServerRefused, match="password of viral_app is wrong"):
        await ask(database)

    await database.close()
    await bootstrap_again(server)


async def bootstrap_again(server: Server) -> None:
    await bootstrap(server.socket_url("viral_admin"), server.secrets)


def shell(server: Server, folder: Path, **environment: str) -> Shell:
    return Shell({**os.environ, "VIRAL_HOME": str(server.home), **environment}, folder)


async def test_the_command_changes_them_on_the_embedded_server(
    server: Server, tmp_path: Path
) -> None:
    former = server.secrets.password("viral_app")

    answer = shell(server, tmp_path).viral("keys", "rotate", "--roles", "--json")

    assert answer.code == 0
    assert answer.document["servers"] == 1
    assert set(answer.document["roles"]) == set(LOGINS)
    assert not await is_taken(server, "viral_app", former)
    assert server.secrets.password("viral_app") not in answer.out + answer.err


async def test_on_a_server_elsewhere_the_lines_to_replace_are_printed_and_the_old_ones_go_on(
    server: Server, tmp_path: Path
) -> None:
    connection = await as_admin(server)
    await connection.execute("CREATE ROLE dba SUPERUSER LOGIN PASSWORD 'dba'")
    await connection.close()
    admin = parse_url(server.url("viral_app", "postgres")).for_role("dba", "dba")
    there = shell(
        server,
        tmp_path,
        DATABASE_URL=f"{server.url('viral_app')}?connection_limit=3",
        DIRECT_URL=server.url("viral_migrator"),
    )

    unasked = there.viral("keys", "rotate", "--roles")
    elsewhere = there.viral("keys", "rotate", "--roles", "--admin-url", "postgresql://a:b@c/d")
    done = there.viral("keys", "rotate", "--roles", "--admin-url", admin.libpq(password=True))
    after = there.viral("migrate", "status")

    assert (unasked.code, elsewhere.code, done.code) == (1, 1, 0)
    assert "--admin-url" in unasked.err
    assert "is on c, but the product uses 127.0.0.1" in elsewhere.err
    assert f"DATABASE_URL={server.url('viral_app')}?connection_limit=3" in done.out
    assert f"DIRECT_URL={server.url('viral_migrator')}" in done.out
    # Started with the former lines: the migrator's password is looked up.
    assert after.code == 2


def test_the_passwords_that_were_are_kept_for_one_change_and_no_longer(tmp_path: Path) -> None:
    secrets = Secrets.load_or_create(tmp_path)
    first = secrets.password("viral_app")

    for _ in range(2):
        asyncio.run(rotate_role_passwords([], secrets, now=datetime.now(UTC)))

    assert secrets.login("viral_app", first) is None
    assert secrets.login("viral_app", secrets.password("viral_app")) is not None
    assert first not in json.dumps((tmp_path / "secrets.json").read_text())
