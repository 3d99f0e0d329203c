"""What goes wrong with a connection is said in one error of ours, alike from every entrance."""

from __future__ import annotations

import asyncio
import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from clusters import Cluster
from servers import discard
from sqlalchemy import text

from viral.database import migrate
from viral.database.engine import Database
from viral.database.secrets import Secrets
from viral.database.urls import ServerUrl, parse_url
from viral.errors import (
    PoolExhausted,
    ServerError,
    ServerRefused,
    ServerUnreachable,
    ViralError,
)
from viral.postgres.bootstrap import bootstrap
from viral.postgres.server import Server

Enter = Callable[[ServerUrl], Awaitable[object]]


async def by_database(url: ServerUrl) -> object:
    database = Database(url, context_key=b"k" * 32)
    try:
        async with database.session_without_tenant() as session:
            return await session.scalar(text("SELECT 1"))
    finally:
        await database.close()


async def by_status(url: ServerUrl) -> object:
    return await migrate.status(url)


async def by_deploy(url: ServerUrl) -> object:
    return await migrate.deploy(url)


async def by_bootstrap(url: ServerUrl) -> object:
    return await bootstrap(url, Secrets.__new__(Secrets))


def free_port() -> int:
    with socket.socket() as candidate:
        candidate.bind(("127.0.0.1", 0))
        return int(candidate.getsockname()[1])


FAULTS: list[tuple[Callable[[ServerUrl], ServerUrl], type[ServerError], str]] = [
    (lambda url: replace(url, password="tops3cret"), ServerRefused, "password of"),
    (lambda url: replace(url, user="nobody"), ServerRefused, "password of nobody is wrong"),
    (lambda url: replace(url, user="viral_admin"), ServerRefused, "may not connect"),
    (lambda url: replace(url, database="nowhere"), ServerRefused, "no database nowhere"),
    (lambda url: replace(url, port=free_port()), ServerUnreachable, "nothing listens there"),
    (lambda url: replace(url, host="no.such.invalid"), ServerUnreachable, "host name is not known"),
    (lambda url: replace(url, tls=(("sslmode", "require"),)), ServerRefused, "offers no TLS"),
    (
        lambda url: replace(url, tls=(("sslmode", "verify-full"), ("sslrootcert", "/no/ca.pem"))),
        ServerRefused,
        "TLS",
    ),
]


@pytest.mark.parametrize("enter", [by_database, by_status, by_deploy, by_bootstrap])
@pytest.mark.parametrize(
    ("broken", "kind", "said"), FAULTS, ids=[f"{said}" for _, _, said in FAULTS]
)
async def test_a_connection_that_fails_is_explained(
    cluster: Cluster,
    enter: Enter,
    broken: Callable[[ServerUrl], ServerUrl],
    kind: type[ServerError],
    said: str,
) -> None:
    role = "viral_app" if enter is by_database else "viral_migrator"
    url = broken(cluster.direct_url(role, "viral"))

    with pytest.raises(ViralError) as caught:
        await enter(url)

    shown = f"{caught.value} {caught.value.hint}"
    assert type(caught.value) is kind
    assert said in caught.value.message
    assert caught.value.hint
    assert url.password not in shown
    assert url.password not in "".join(traceback.format_exception(caught.value))


async def test_a_server_that_does_not_answer_is_given_up(cluster: Cluster) -> None:
    async def keep_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()

    silent = await asyncio.start_server(keep_silent, "127.0.0.1", 0)
    url = replace(
        cluster.url("viral_app", "viral"),
        port=silent.sockets[0].getsockname()[1],
        connect_timeout_s=0.2,
    )

    with pytest.raises(ServerUnreachable, match="no answer in time"):
        await by_database(url)

    await asyncio.sleep(0.1)
    silent.close()
    await silent.wait_closed()


@pytest.mark.parametrize("enter", [by_status, by_deploy])
@pytest.mark.parametrize("role", ["viral_app", "viral_readonly"])
async def test_a_role_that_may_not_migrate_is_told_so(
    cluster: Cluster, enter: Enter, role: str
) -> None:
    with pytest.raises(ServerRefused, match=f"{role} may not") as caught:
        await enter(cluster.direct_url(role, "viral"))

    assert caught.value.hint


async def test_a_database_that_was_never_prepared_is_told_so(cluster: Cluster) -> None:
    await cluster.execute_as_admin(
        "postgres",
        "CREATE DATABASE bare OWNER viral_owner",
        "GRANT CONNECT ON DATABASE bare TO viral_migrator",
    )

    try:
        with pytest.raises(ServerRefused) as caught:
            await migrate.deploy(cluster.url("viral_migrator", "bare"))
        status = await migrate.status(cluster.url("viral_migrator", "bare"))
    finally:
        await cluster.execute_as_admin("postgres", "DROP DATABASE bare WITH (FORCE)")

    assert "bootstrap" in caught.value.hint
    assert (status.current, status.applied) == (None, [])


@pytest.fixture
async def own(short_folder: Path) -> AsyncIterator[tuple[Server, ServerUrl]]:
    """Start a server that a test may stop, with the product's database in it."""
    home = short_folder / "stopped"
    secrets = Secrets.load_or_create(home)
    server = Server(home=home, secrets=secrets)
    address = await server.start()
    password = secrets.password("viral_admin")
    admin = ServerUrl(str(address.socket_dir), address.port, "viral_admin", "postgres", password)
    await bootstrap(admin, secrets)
    yield server, parse_url(server.url("viral_app"))
    await discard(home)


async def test_a_server_that_stops_in_the_middle_is_one_error_and_comes_back(
    own: tuple[Server, ServerUrl],
) -> None:
    server, url = own
    database = Database(url, context_key=b"k" * 32)

    async def ask() -> object:
        async with database.session_without_tenant() as session:
            return await session.scalar(text("SELECT 1"))

    async def ask_while_it_stops() -> None:
        async with database.session_without_tenant() as session:
            await session.execute(text("SELECT 1"))
            await server.stop()
            await session.execute(text("SELECT 2"))

    with pytest.raises(ServerUnreachable, match="closed the connection") as during:
        await ask_while_it_stops()
    with pytest.raises(ServerUnreachable, match="nothing listens there"):
        await ask()
    with pytest.raises(ServerUnreachable, match="nothing listens there"):
        await migrate.status(url)
    await server.start()
    back = await ask()
    await database.close()

    assert back == 1
    assert during.value.hint


@pytest.mark.parametrize("when", ["in a statement", "at commit"])
async def test_a_connection_that_is_ended_is_one_error_and_the_next_works(
    cluster: Cluster, database_name: str, when: str
) -> None:
    url = replace(cluster.url("viral_app", database_name), pool_size=1)
    database = Database(url, context_key=b"k" * 32)
    end = (
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database_name}'"
    )

    async def work() -> None:
        async with database.session_without_tenant() as session:
            await session.execute(text("SELECT 1"))
            await cluster.execute_as_admin("postgres", end)
            if when == "in a statement":
                await session.execute(text("SELECT 2"))

    with pytest.raises(ServerUnreachable, match="closed the connection"):
        await work()
    async with database.session_without_tenant() as session:
        assert await session.scalar(text("SELECT 3")) == 3
    await database.close()


async def test_a_statement_that_is_ended_while_it_runs_is_one_error(
    cluster: Cluster, database_name: str
) -> None:
    database = cluster.database("viral_system", database_name)

    async def end() -> None:
        await asyncio.sleep(0.3)
        await cluster.execute_as_admin(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname = '{database_name}'",
        )

    with pytest.raises(ServerUnreachable, match="closed the connection"):
        async with database.session_without_tenant() as session:
            _, _ = await asyncio.gather(session.execute(text("SELECT pg_sleep(5)")), end())
    await database.close()


async def test_an_error_of_a_statement_is_left_as_it_is(
    cluster: Cluster, database_name: str
) -> None:
    database = cluster.database("viral_app", database_name)

    with pytest.raises(Exception, match="division by zero") as caught:
        async with database.session_without_tenant() as session:
            await session.execute(text("SELECT 1 / 0"))

    assert not isinstance(caught.value, ViralError | asyncpg.PostgresError)
    await database.close()


async def test_a_full_pool_is_one_error_after_a_bounded_wait(
    cluster: Cluster, database_name: str
) -> None:
    url = replace(cluster.url("viral_app", database_name), pool_size=1, pool_timeout_s=0.2)
    database = Database(url, context_key=cluster.secrets.context_key)

    async with database.session_without_tenant():
        with pytest.raises(PoolExhausted, match="All 1 connections"):
            async with database.session_without_tenant():
                pass

    await database.close()
