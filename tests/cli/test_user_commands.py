"""`viral user` and `viral sign-in --email`: what they print, how they end, and what holds then."""

from __future__ import annotations

import asyncio

import pytest
from clusters import Cluster
from factories import TestTenant
from people import enter, join
from shell import Answer, Shell, environment_of

from viral.database.engine import Database
from viral.errors import LinkUsed, NotSignedIn
from viral.features.users.invitations import invite, offer_of
from viral.features.users.members import list_everybody
from viral.features.users.sessions import open_session

ANA = "ana@example.com"


@pytest.fixture
def shell(
    cluster: Cluster,
    database_name: str,
    alice: TestTenant,
    tmp_path_factory: pytest.TempPathFactory,
) -> Shell:
    assert alice.slug == "alice"
    environment = environment_of(cluster, database_name) | {"CI": ""}
    return Shell(environment, tmp_path_factory.mktemp("shell"))


async def run(shell: Shell, *arguments: str) -> Answer:
    return await asyncio.to_thread(shell.viral, *arguments)


async def spend(app: Database, link: str) -> str:
    async with app.session_without_tenant() as session:
        opened = await open_session(session, link.strip().partition("?token=")[2])
    return opened.token


async def test_a_person_is_let_in_made_admin_and_finds_the_way_back(
    shell: Shell, app: Database
) -> None:
    added = await run(shell, "user", "add", " Ana@Example.com", "--tenant", "alice", "--json")
    assert (added.code, added.document["email"], added.document["role"]) == (0, ANA, "MEMBER")
    token = await spend(app, added.document["link"])
    assert not (await enter(app, token)).is_admin

    promoted = await run(shell, "user", "role", ANA, "--tenant", "alice", "--role", "admin")
    assert (promoted.code, promoted.out) == (0, f"{ANA} is ADMIN; their sessions have ended.\n")

    link = await run(shell, "sign-in", "--tenant", "alice", "--email", ANA)
    token = await spend(app, link.out)
    assert (await enter(app, token)).is_admin


async def test_a_person_is_listed_signed_out_and_removed(
    shell: Shell, app: Database, system: Database, alice: TestTenant
) -> None:
    member = await join(app, system, alice, "ana", "ADMIN")
    async with app.tenant_session(alice.id) as session:
        _, link = await invite(session, member.credential, email="friend@example.com", role="ADMIN")

    listed = await run(shell, "user", "list", "--json")
    signed_out = await run(shell, "user", "sign-out", ANA)
    with pytest.raises(NotSignedIn):
        await enter(app, member.token)
    removed = await run(shell, "user", "remove", ANA, "--tenant", "alice", "--confirm", ANA)

    assert [(each["tenant"], each["email"], each["role"]) for each in listed.document] == [
        ("alice", "alice@example.com", "ADMIN"),
        ("alice", ANA, "ADMIN"),
    ]
    assert signed_out.out == f"{ANA} is signed out: 1 sessions and links ended.\n"
    assert (removed.code, removed.out) == (0, f"{ANA} is no member of alice any more.\n")
    with pytest.raises(LinkUsed):
        async with app.session_without_tenant() as session:
            await offer_of(session, link)


async def test_without_a_confirmation_nobody_is_removed(
    shell: Shell, system: Database, alice: TestTenant
) -> None:
    answer = await run(shell, "user", "remove", "alice@example.com", "--tenant", "alice")

    assert (answer.code, answer.out) == (1, "")
    assert "fix: If you mean it: --confirm alice@example.com" in answer.err
    async with system.session_without_tenant() as session:
        assert len(await list_everybody(session, alice.id)) == 1
