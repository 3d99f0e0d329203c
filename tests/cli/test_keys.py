"""`viral keys`: what the keys are used for, and their change, as people run it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

import pytest
from clusters import Cluster
from factories import make_tenant
from shell import Shell, environment_of
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.encryption.keys import FILE_NAME, KeyFile, KeyRing
from viral.database.engine import Database
from viral.postgres.backup.sealing import seal, unseal
from viral.postgres.backup.target import LocalFolder, one_chunk
from viral.postgres.backup.wal import wal_object
from viral.postgres.installation import load_or_create_installation
from viral.schema.encrypted import Secret
from viral.schema.publishing import SocialAccount

A_KEY = "QUFB" * 10 + "QUE="
ANOTHER_KEY = "QkJC" * 10 + "QkI="


@pytest.fixture
def shell(cluster: Cluster, database_name: str, tmp_path: Path) -> Shell:
    return Shell(environment_of(cluster, database_name), tmp_path)


@pytest.fixture
def keys(cluster: Cluster) -> KeyFile:
    return KeyFile.load_or_create(cluster.home, may_create=True)


@pytest.fixture
async def tenant_id(cluster: Cluster, system: Database, database_name: str, keys: KeyFile) -> UUID:
    """A tenant with one account: two values."""
    tenant = await make_tenant(system, cluster.secrets, slug="keys")
    await _connect_account(cluster, database_name, tenant.id, keys)
    return tenant.id


async def _connect_account(
    cluster: Cluster, database_name: str, tenant_id: UUID, keys: KeyRing
) -> None:
    vault = cluster.database("viral_app", database_name, keys)
    async with vault.tenant_session(tenant_id) as session:
        session.add(
            SocialAccount(
                platform="tiktok",
                external_id="one",
                username="one",
                access_token=Secret("token"),
                refresh_token=Secret("token"),
            )
        )
    await vault.close()


async def test_c03_a_key_is_changed_and_the_former_one_goes(
    cluster: Cluster, database_name: str, tenant_id: UUID, shell: Shell, keys: KeyFile
) -> None:
    old = keys.primary.id

    refused = await asyncio.to_thread(shell.viral, "keys", "retire", old)
    rotated = await asyncio.to_thread(shell.viral, "keys", "rotate", "--json")
    status = await asyncio.to_thread(shell.viral, "keys", "status", "--json")
    retired = await asyncio.to_thread(shell.viral, "keys", "retire", old)

    made = keys.primary.id
    assert (refused.code, f"{old} is the primary key" in refused.err) == (1, True)
    assert {"primary": made, "values": 2, "unreadable": []} == rotated.document
    assert made != old
    rows = [
        (row["id"], row["state"], row["social_accounts"]) for row in status.document["field_keys"]
    ]
    assert [(made, "primary", 2), (old, "readable", 0)] == rows[:2]
    assert (retired.code, retired.out) == (0, f"The key {old} is gone.\n")
    vault = cluster.database("viral_app", database_name, keys)
    async with vault.tenant_session(tenant_id) as session:
        assert (await session.scalars(select(SocialAccount))).one().access_token.reveal() == "token"
    await vault.close()


@pytest.mark.usefixtures("tenant_id")
async def test_a_key_that_wal_is_under_stays_and_histories_move_to_the_primary_key(
    cluster: Cluster, shell: Shell, keys: KeyFile
) -> None:
    old = keys.primary
    identity = load_or_create_installation(cluster.home).id
    target = LocalFolder(cluster.home / "backups")
    segment, history = (
        wal_object(identity, "1", file) for file in ("0000000200000000000000AA", "00000002.history")
    )
    for name in (segment, history):
        await target.write(name, seal(one_chunk(b"content"), old, name=name))
    try:
        await asyncio.to_thread(shell.viral, "keys", "rotate")
        refused = await asyncio.to_thread(shell.viral, "keys", "retire", old.id)
        await target.delete(segment)
        retired = await asyncio.to_thread(shell.viral, "keys", "retire", old.id)

        assert (refused.code, segment in refused.err.replace("\n", "")) == (1, True)
        assert retired.code == 0, retired.err
        opened = unseal(target.read(history), KeyRing([keys.primary]), name=history)
        assert b"".join([piece async for piece in opened]) == b"content"
    finally:
        for name in (segment, history):
            await target.delete(name)


@pytest.mark.usefixtures("tenant_id")
async def test_a_value_whose_key_is_missing_is_shown_and_fails_the_rotation(
    shell: Shell, admin: AsyncConnection, keys: KeyFile
) -> None:
    await admin.execute(
        text("UPDATE social_accounts SET access_token = set_byte(access_token, 1, 99)")
    )
    await admin.commit()
    lost = "63" + keys.primary.id[2:]

    status = await asyncio.to_thread(shell.viral, "keys", "status")
    rotated = await asyncio.to_thread(shell.viral, "keys", "rotate")

    assert any(line.split() == [lost, "missing", "-", "1"] for line in status.out.splitlines())
    assert rotated.code == 1
    assert "cannot be opened: social_accounts.access_token of row" in rotated.err


@pytest.mark.usefixtures("tenant_id")
async def test_c05_keys_of_the_environment_are_used_and_changed_by_a_person(shell: Shell) -> None:
    fixed = f"0000000a:{A_KEY}"
    both = f"0000000b:{ANOTHER_KEY},{fixed}"

    unset = await asyncio.to_thread(shell.viral, "keys", "status", "--json")
    status = await asyncio.to_thread(shell.viral, "keys", "status", "--json", VIRAL_FIELD_KEYS=both)
    retired = await asyncio.to_thread(
        shell.viral, "keys", "retire", "0000000a", VIRAL_FIELD_KEYS=both
    )

    states = [(row["id"], row["state"]) for row in status.document["field_keys"]]
    assert [("0000000b", "primary"), ("0000000a", "readable")] == states[:2]
    assert {"missing"} == {state for _, state in states[2:]}
    assert "primary" in {row["state"] for row in unset.document["field_keys"]}
    assert "take it out of VIRAL_FIELD_KEYS" in retired.out
    assert A_KEY not in status.out + retired.out


async def test_c04_production_does_not_start_without_a_key(
    shell: Shell, cluster: Cluster, keys: KeyFile
) -> None:
    path = cluster.home / FILE_NAME
    away = path.rename(cluster.home / "away.json")
    try:
        answers = [
            await asyncio.to_thread(shell.viral, *command, VIRAL_ENVIRONMENT="production")
            for command in (("keys", "status"), ("tenant", "list"), ("worker",))
        ]
    finally:
        made_up = path.exists()
        away.rename(path)

    assert not made_up
    assert [1, 1, 1] == [answer.code for answer in answers]
    assert all("There is no key for encrypted fields" in answer.err for answer in answers)
    assert keys.keys == KeyFile.load_or_create(cluster.home, may_create=False).keys
