"""Secrets of rows: sealed by the flush, opened on their row alone, refused on every other way."""

from __future__ import annotations

import asyncio
import logging
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
from clusters import Cluster
from factories import TestTenant
from sqlalchemy import Update, bindparam, insert, literal, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from viral.database.bulk import as_arrays, bulk_insert
from viral.database.encryption.keys import KeyRing, new_key
from viral.database.engine import Database
from viral.errors import BadSetting, DecryptionFailed, NotFound, PlaintextRefused, ViralError
from viral.postgres.binaries import find_binaries
from viral.postgres.installation import load_installation
from viral.schema.base import uuid7
from viral.schema.encrypted import SealedSecret, Secret
from viral.schema.publishing import SocialAccount
from viral.schema.tables import METADATA

ACCESS = "plain-access-7d1f"
REFRESH = "plain-refresh-9c4e"
TABLE = METADATA.tables["social_accounts"]


@pytest.fixture(scope="module")
def keys() -> KeyRing:
    return KeyRing([new_key(datetime.now(UTC))])


@pytest.fixture
async def vault(cluster: Cluster, database_name: str, keys: KeyRing) -> AsyncIterator[Database]:
    """The app's database, with keys."""
    database = cluster.database("viral_app", database_name, keys)
    yield database
    await database.close()


def account(name: str = "one", **fields: object) -> SocialAccount:
    return SocialAccount(
        **{
            "platform": "tiktok",
            "external_id": name,
            "username": name,
            "access_token": Secret(ACCESS),
            "refresh_token": Secret(REFRESH),
            **fields,
        }
    )


async def stored(vault: Database, tenant: TestTenant, *accounts: SocialAccount) -> UUID:
    async with vault.tenant_session(tenant.id) as session:
        session.add_all(accounts or [account()])
        await session.flush()
    async with vault.tenant_session(tenant.id) as session:
        found = await session.scalars(select(SocialAccount.id).order_by(SocialAccount.id))
        return found.all()[0]


async def one(session: AsyncSession) -> SocialAccount:
    return (await session.scalars(select(SocialAccount))).one()


def _refresh(row: SocialAccount) -> str:
    assert row.refresh_token is not None
    return row.refresh_token.reveal()


async def held(admin: AsyncConnection) -> list[bytes]:
    """Read the column as it lies in the database."""
    found = await admin.execute(text("SELECT access_token FROM social_accounts ORDER BY id"))
    values = [row[0] for row in found]
    await admin.rollback()
    return values


async def test_an_inserted_secret_is_ciphertext_in_the_table_and_a_text_on_its_row(
    vault: Database, admin: AsyncConnection, alice: TestTenant, keys: KeyRing
) -> None:
    made = account(refresh_token=None)
    await stored(vault, alice, made)

    async with vault.tenant_session(alice.id) as session:
        found = await one(session)

    assert found.access_token.reveal() == ACCESS == made.access_token.reveal()
    assert found.refresh_token is None
    (value,) = await held(admin)
    assert value[:5].hex() == "01" + keys.primary.id
    assert ACCESS.encode() not in value


async def test_an_update_seals_what_changed_and_leaves_the_rest(
    vault: Database, admin: AsyncConnection, alice: TestTenant
) -> None:
    await stored(vault, alice)
    (before,) = await held(admin)

    async with vault.tenant_session(alice.id) as session:
        (await one(session)).username = "renamed"
    (renamed,) = await held(admin)
    async with vault.tenant_session(alice.id) as session:
        (await one(session)).access_token = Secret("another")
    (after,) = await held(admin)

    assert before == renamed != after
    async with vault.tenant_session(alice.id) as session:
        found = await one(session)
        assert (found.access_token.reveal(), _refresh(found)) == ("another", REFRESH)


async def test_refreshed_expired_and_populated_rows_open(
    vault: Database, alice: TestTenant
) -> None:
    account_id = await stored(vault, alice)

    async with vault.tenant_session(alice.id) as session:
        found = await one(session)
        await session.refresh(found)
        assert found.access_token.reveal() == ACCESS
        await session.refresh(found, ["access_token"])
        assert found.access_token.reveal() == ACCESS
        session.expire(found)
        await session.get(SocialAccount, (alice.id, account_id), populate_existing=True)
        assert found.access_token.reveal() == ACCESS
        found.access_token = Secret("pending")
        await session.refresh(found, ["username"])
        assert found.access_token.reveal() == "pending"


async def test_a_merged_row_keeps_its_secret_and_writes_nothing(
    vault: Database, admin: AsyncConnection, alice: TestTenant
) -> None:
    await stored(vault, alice)
    before = await held(admin)
    async with vault.tenant_session(alice.id) as session:
        detached = await one(session)

    async with vault.tenant_session(alice.id) as session:
        merged = await session.merge(detached)
        assert not session.is_modified(merged)
        merged.username = "merged"
    async with vault.tenant_session(alice.id) as session:
        await session.merge(account(id=detached.id, tenant_id=alice.id, access_token=Secret("m")))

    assert merged.access_token.reveal() == ACCESS
    assert before != await held(admin)
    async with vault.tenant_session(alice.id) as session:
        assert (await one(session)).access_token.reveal() == "m"


async def test_a_secret_that_is_assigned_from_another_row_is_sealed_again(
    vault: Database, admin: AsyncConnection, alice: TestTenant
) -> None:
    await stored(vault, alice)

    async with vault.tenant_session(alice.id) as session:
        first = await one(session)
        session.add(account("two", access_token=first.access_token))

    async with vault.tenant_session(alice.id) as session:
        found = list(await session.scalars(select(SocialAccount)))
    assert [each.access_token.reveal() for each in found] == [ACCESS, ACCESS]
    first_value, second_value = await held(admin)
    assert first_value != second_value


async def test_a_row_whose_flush_failed_still_has_its_secret(
    vault: Database, alice: TestTenant
) -> None:
    await stored(vault, alice)
    double = account()

    with pytest.raises(DBAPIError) as caught:
        await stored(vault, alice, double)

    assert double.access_token.reveal() == ACCESS
    assert ACCESS not in str(caught.value) + repr(caught.value.orig)
    double.external_id = "free"
    await stored(vault, alice, double)


MOVES = {
    "row": "UPDATE social_accounts SET access_token = o.access_token FROM social_accounts AS o"
    " WHERE o.id <> social_accounts.id AND o.tenant_id = social_accounts.tenant_id",
    "tenant": "UPDATE social_accounts SET access_token = o.access_token FROM social_accounts AS o"
    " WHERE o.tenant_id <> social_accounts.tenant_id",
    "column": "UPDATE social_accounts SET access_token = refresh_token",
    "row with its id": "UPDATE social_accounts SET id = gen_random_uuid()",
    "bit": "UPDATE social_accounts SET access_token = set_bit(access_token, 300,"
    " 1 - get_bit(access_token, 300))",
    "key id": "UPDATE social_accounts SET access_token = set_byte(access_token, 2, 7)",
    "length": "UPDATE social_accounts SET access_token = substr(access_token, 1, 40)",
    "plaintext": "UPDATE social_accounts SET access_token = 'token'::bytea",
}


@pytest.mark.parametrize("what", list(MOVES))
async def test_c01_a_value_that_was_changed_in_the_database_is_rejected(
    vault: Database, admin: AsyncConnection, alice: TestTenant, bob: TestTenant, what: str
) -> None:
    await stored(vault, alice, account("one"), account("two"))
    await stored(vault, bob)

    await admin.execute(text(MOVES[what]))
    await admin.commit()

    async with vault.tenant_session(alice.id) as session:
        for found in await session.scalars(select(SocialAccount)):
            with pytest.raises(DecryptionFailed, match=r"social_accounts|field key") as caught:
                found.access_token.reveal()
            assert ACCESS not in str(caught.value)


async def test_c01_a_row_that_cannot_be_opened_does_not_hide_the_others(
    vault: Database, admin: AsyncConnection, alice: TestTenant
) -> None:
    broken = await stored(vault, alice, account("one"), account("two"))
    await admin.execute(
        text("UPDATE social_accounts SET access_token = 'x' WHERE id = :id"), {"id": broken}
    )
    await admin.commit()

    async with vault.tenant_session(alice.id) as session:
        found = {each.id: each for each in await session.scalars(select(SocialAccount))}

    assert len(found) == 2
    assert _refresh(found[broken]) == REFRESH


WRITES = {
    "text": update(SocialAccount).values(access_token="x"),
    "bytes": update(SocialAccount).values(access_token=b"x"),
    "secret": update(SocialAccount).values(access_token=Secret("x")),
    "ciphertext": update(SocialAccount).values(access_token=SealedSecret(b"\x01" * 40)),
    "table": update(TABLE).values(access_token=Secret("x")),
    "parameter": update(TABLE).values(access_token=bindparam("x", value=SealedSecret(b"x"))),
    "column": update(SocialAccount).values(access_token=SocialAccount.refresh_token),
    "expression": update(TABLE).values(access_token=text("'x'::bytea")),
}


@pytest.mark.parametrize("way", list(WRITES))
async def test_bulk_updates_of_an_encrypted_column_are_refused(
    vault: Database, admin: AsyncConnection, alice: TestTenant, way: str
) -> None:
    await stored(vault, alice)
    before = await held(admin)

    with pytest.raises(PlaintextRefused) as caught:
        await _execute(vault, alice, WRITES[way])

    assert caught.value.hint
    assert before == await held(admin)


async def _execute(vault: Database, tenant: TestTenant, statement: Update) -> None:
    async with vault.tenant_session(tenant.id) as session:
        await session.execute(statement)


@pytest.mark.parametrize("token", [Secret(ACCESS), SealedSecret(b"\x01" * 40), ACCESS, b"x"])
async def test_bulk_inserts_and_updates_by_key_are_refused(
    vault: Database, admin: AsyncConnection, alice: TestTenant, token: object
) -> None:
    account_id = await stored(vault, alice)
    before = await held(admin)
    row = {"tenant_id": alice.id, "platform": "tiktok", "external_id": "b", "username": "b"}
    rows = [{**row, "id": uuid7(), "access_token": token} for _ in range(2)]
    changed = [{"tenant_id": alice.id, "id": account_id, "access_token": token}]

    for statement, parameters in (
        (insert(SocialAccount), rows),
        (insert(TABLE), rows),
        (insert(SocialAccount).values(rows), None),
        (update(SocialAccount), changed),
    ):
        async with vault.tenant_session(alice.id) as session:
            with pytest.raises(PlaintextRefused):
                await session.execute(statement, parameters)

    assert before == await held(admin)


@pytest.mark.parametrize("token", [Secret(ACCESS), ACCESS, b"x"])
async def test_arrays_and_plain_connections_take_no_plaintext(
    vault: Database, admin: AsyncConnection, alice: TestTenant, token: object
) -> None:
    await stored(vault, alice)
    before = await held(admin)
    names = ("tenant_id", "id", "platform", "external_id", "username", "access_token")
    row = (alice.id, uuid7(), "tiktok", "array", "array", token)

    async with vault.tenant_session(alice.id) as session:
        with pytest.raises(PlaintextRefused):
            await session.execute(bulk_insert(SocialAccount, names), as_arrays([row], names))
    async with vault.tenant_session(alice.id) as session:
        connection = await session.connection()
        with pytest.raises(PlaintextRefused):
            await connection.execute(update(TABLE).values(access_token=token))

    assert before == await held(admin)


async def test_a_flush_takes_secrets_only(vault: Database, alice: TestTenant) -> None:
    for token in (ACCESS, ACCESS.encode()):
        with pytest.raises(PlaintextRefused, match="takes a Secret") as caught:
            await stored(vault, alice, account(access_token=token))
        assert ACCESS not in str(caught.value)


async def test_other_columns_are_still_written_in_bulk(vault: Database, alice: TestTenant) -> None:
    await stored(vault, alice)

    await _execute(vault, alice, update(SocialAccount).values(used_today=3))

    async with vault.tenant_session(alice.id) as session:
        found = await one(session)
    assert (found.used_today, found.access_token.reveal()) == (3, ACCESS)


async def test_a_secret_that_is_read_without_its_row_stays_closed(
    vault: Database, alice: TestTenant
) -> None:
    await stored(vault, alice)
    inner = select(SocialAccount.access_token.label("t")).subquery()

    async with vault.tenant_session(alice.id) as session:
        for statement in (
            select(SocialAccount.access_token),
            select(TABLE.c.access_token),
            select(inner.c.t),
            select(SocialAccount.access_token).union_all(select(SocialAccount.refresh_token)),
        ):
            found = (await session.execute(statement)).scalars().first()
            assert isinstance(found, SealedSecret)
            with pytest.raises(DecryptionFailed, match="without its row"):
                found.reveal()


async def test_rows_are_not_searched_by_a_secret(vault: Database, alice: TestTenant) -> None:
    async with vault.tenant_session(alice.id) as session:
        with pytest.raises(PlaintextRefused):
            await session.execute(
                select(SocialAccount).where(SocialAccount.access_token == literal(Secret("x")))
            )


async def test_without_keys_rows_are_listed_and_stay_closed(
    vault: Database, app: Database, alice: TestTenant
) -> None:
    await stored(vault, alice)

    async with app.tenant_session(alice.id) as session:
        found = await one(session)
        with pytest.raises(BadSetting, match="without keys"):
            found.access_token.reveal()
        found.username = "renamed"
    with pytest.raises(BadSetting, match="without keys"):
        await stored(app, alice, account("two"))


async def test_an_account_whose_token_is_not_kept_says_so(
    vault: Database, admin: AsyncConnection, alice: TestTenant
) -> None:
    await stored(vault, alice, account(access_token=SealedSecret(b"")))

    assert await held(admin) == [b""]
    async with vault.tenant_session(alice.id) as session:
        found = await one(session)
        with pytest.raises(NotFound, match="is not kept"):
            found.access_token.reveal()
        found.username = "still without"


@pytest.fixture
async def loud_server(cluster: Cluster) -> AsyncIterator[None]:
    """Let the server write every statement of the app with its values: the worst there is."""
    settings = {
        "log_statement": "'all'",
        "log_parameter_max_length": "-1",
        "log_parameter_max_length_on_error": "-1",
        "log_error_verbosity": "'verbose'",
        "log_min_error_statement": "'error'",
    }
    loud = [f"ALTER ROLE viral_app SET {name} = {value}" for name, value in settings.items()]
    await cluster.execute_as_admin("postgres", *loud)
    yield
    quiet = [f"ALTER ROLE viral_app RESET {name}" for name in settings]
    await cluster.execute_as_admin("postgres", *quiet)


@pytest.mark.usefixtures("loud_server")
async def test_c02_a_planted_text_is_found_nowhere(
    cluster: Cluster,
    vault: Database,
    admin: AsyncConnection,
    alice: TestTenant,
    caplog: pytest.LogCaptureFixture,
) -> None:
    planted = f"planted-{uuid7()}"
    caplog.set_level(logging.DEBUG)
    account_id = await stored(vault, alice, account(access_token=Secret(planted)))
    said = await _answers(vault, alice, planted)

    places = await _everywhere(cluster, admin)

    needles = (planted.encode(), planted.encode().hex().encode())
    hits = [name for name, data in places.items() if any(each in data for each in needles)]
    assert [] == hits
    assert not any(planted in each for each in [*said, caplog.text])
    # The search itself finds what is not secret.
    known = (account_id.bytes, str(account_id).encode())
    found = {name for name, data in places.items() if any(each in data for each in known)}
    assert {"wal", "table", "dump", "log"} <= {name.partition(":")[0] for name in found}


async def _answers(vault: Database, tenant: TestTenant, planted: str) -> list[str]:
    """Return what objects and errors say of a secret, with their tracebacks."""
    async with vault.tenant_session(tenant.id) as session:
        found = await one(session)
        found.refresh_token = Secret(planted)
        said = [str(vars(found)), repr(found)]
        await session.flush()
        said += [str(vars(found)), str(found.refresh_token)]
    for attempt in (
        stored(vault, tenant, account(access_token=Secret(planted))),
        stored(vault, tenant, account("t", access_token=Secret(planted), platform="no")),
        stored(vault, tenant, account("u", access_token=planted)),
        _execute(vault, tenant, update(SocialAccount).values(access_token=planted)),
        _execute(vault, tenant, update(SocialAccount).values(access_token=Secret(planted))),
    ):
        with pytest.raises((ViralError, DBAPIError)) as caught:
            await attempt
        said += [str(caught.getrepr(style="native")), repr(caught.value)]
    return said


async def _everywhere(cluster: Cluster, admin: AsyncConnection) -> dict[str, bytes]:
    """Read all that leaves the process: table files, WAL, a dump, the server's log, our folder."""
    database = await admin.scalar(text("SELECT current_database()"))
    oid = await admin.scalar(text("SELECT oid FROM pg_database WHERE datname = current_database()"))
    await admin.execute(text("CHECKPOINT"))
    await admin.rollback()
    installation = load_installation(cluster.home)
    assert installation is not None
    folders = {
        "wal": installation.data_dir / "pg_wal",
        "table": installation.data_dir / "base" / str(oid),
        "log": installation.log_file.parent,
        "home": cluster.home,
    }
    places = {
        f"{kind}:{path.name}": path.read_bytes()
        for kind, folder in folders.items()
        for path in folder.iterdir()
        if path.is_file()
    }
    program = find_binaries(None).program("pg_dump")
    url = cluster.server.url("viral_backup", str(database))
    dump = await asyncio.to_thread(
        subprocess.run, [program, url], capture_output=True, check=True, timeout=30
    )
    return {**places, "dump:plain": dump.stdout}
