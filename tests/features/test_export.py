"""A tenant taken out and put back: all that is theirs, nothing of anybody else, whole or not."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from clusters import Cluster, copy_template, count_rows, superuser
from exports import KEYS, NOW, erase, export, restore
from factories import TestTenant, fill_every_table, make_tenant
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.encryption.keys import KeyRing, new_key
from viral.database.engine import Database
from viral.database.tombstones import (
    read_tombstones,
)
from viral.database.urls import ServerUrl
from viral.errors import AlreadyExists, BackupBroken, BadFile
from viral.features.audit import list_entries
from viral.features.export.archive import MANIFEST, open_archive
from viral.features.export.export import export_tenant
from viral.features.export.parts import travelling
from viral.schema.encrypted import Secret
from viral.schema.publishing import SocialAccount
from viral.schema.tables import METADATA

pytest_plugins = ["exports"]


@pytest.fixture
async def keyed(cluster: Cluster, database_name: str) -> AsyncIterator[Database]:
    """Open the app's database with the keys of its encrypted fields."""
    database = cluster.database("viral_app", database_name, KEYS)
    yield database
    await database.close()


@pytest.fixture
async def filled(admin: AsyncConnection, alice: TestTenant, bob: TestTenant) -> AsyncConnection:
    await fill_every_table(admin, alice)
    await fill_every_table(admin, bob)
    return admin


def files(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rows(path: Path, table: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in files(path)[f"{table}.jsonl"].splitlines()]


def rewritten(path: Path, table: str, old: str, new: str) -> Path:
    """Change a file of an export by hand, and its manifest to fit."""
    contents = files(path)
    name = f"{table}.jsonl"
    before = contents[name]
    contents[name] = before.replace(old.encode(), new.encode())
    assert before != contents[name]
    was, now = (hashlib.sha256(each).hexdigest() for each in (before, contents[name]))
    contents[MANIFEST] = contents[MANIFEST].replace(was.encode(), now.encode())
    changed = path.with_name("changed.zip")
    with zipfile.ZipFile(changed, "w") as archive:
        for each, content in contents.items():
            archive.writestr(each, content)
    return changed


def test_everything_of_a_tenant_travels_but_what_lets_somebody_in() -> None:
    taken = {part.name for part in travelling(with_tokens=False)}

    left = {table.name for table in METADATA.sorted_tables} - taken
    of_nobody = {
        "job_reservations",
        "job_schedules",
        "job_workers",
        "model_versions",
        "shared_effects",
        "system_metrics",
        "trend_observations",
        "trend_sources",
        "trends",
    }
    keys = {"api_keys", "invitations", "rate_limits", "sessions", "tenant_contexts"}
    assert left == of_nobody | keys | {"idempotency_keys", "job_queue", "webhook_events"}


async def test_an_export_holds_all_rows_of_the_tenant_and_no_word_of_another(
    filled: AsyncConnection, app: Database, alice: TestTenant, bob: TestTenant, tmp_path: Path
) -> None:
    path = await export(app, alice, tmp_path / "alice.zip")

    contents = files(path)
    manifest = json.loads(contents[MANIFEST])
    by_name = {table["name"]: table for table in manifest["tables"]}
    hashes = await filled.scalars(
        text(
            "SELECT encode(token_sha256, 'hex') FROM sessions UNION ALL SELECT"
            " encode(key_hmac, 'hex') FROM api_keys"
        )
    )
    everything = b"".join(contents.values()).decode()
    assert (manifest["tenant_id"], manifest["slug"]) == (str(alice.id), "alice")
    assert set(contents) == {MANIFEST} | {f"{name}.jsonl" for name in by_name}
    for name, table in by_name.items():
        lines = contents[f"{name}.jsonl"]
        assert (table["rows"], lines.count(b"\n")) == (1, 1)
        assert table["sha256"] == hashlib.sha256(lines).hexdigest()
    for word in (bob.id, bob.user_id, "bob", *hashes, "password"):
        assert str(word) not in everything
    assert rows(path, "users") == [
        {"id": str(alice.user_id), "email": "alice@example.com", "name": "Alice"}
    ]
    assert 0o600 == path.stat().st_mode & 0o777


async def add_odd_rows(admin: AsyncConnection, alice: TestTenant) -> None:
    """Add what an export meets seldom."""
    # A month that no partition of the product's own is of, and a row that points at its like.
    await admin.execute(
        text("""
        INSERT INTO quota_ledger (tenant_id, id, kind, amount, reservation_id, period_start)
        SELECT tenant_id, '00000000-0000-7000-8000-000000000001', 'refund', -1, id, now()
        FROM quota_ledger WHERE tenant_id = :id
        """),
        {"id": alice.id},
    )
    await admin.execute(text("UPDATE tenants SET used_quota = 7 WHERE id = :id"), {"id": alice.id})
    await admin.execute(
        text("""
        CREATE TABLE api_usage_202401 PARTITION OF api_usage
        FOR VALUES FROM ('2024-01-01 00:00:00+00') TO ('2024-02-01 00:00:00+00')
        """)
    )
    await admin.execute(
        text("""
        INSERT INTO api_usage (tenant_id, id, requested_at, user_id, request_id, endpoint, method,
          status_code, response_time_ms)
        SELECT :id, gen_random_uuid(), '2024-01-31 23:59:59.999999+00', :user, 'r', '/', 'GET',
          200, 1
        """),
        {"id": alice.id, "user": alice.user_id},
    )
    await admin.commit()


async def test_export_erase_restore_export_gives_the_same_files(
    cluster: Cluster,
    filled: AsyncConnection,
    app: Database,
    migrator: ServerUrl,
    alice: TestTenant,
    home: Path,
    tmp_path: Path,
) -> None:
    await add_odd_rows(filled, alice)

    first = await export(app, alice, tmp_path / "first.zip")
    await erase(migrator, home, alice)
    await filled.execute(text("DROP TABLE api_usage_202401"))
    await filled.commit()
    restored = await restore(cluster, migrator, home, first)
    second = await export(app, alice, tmp_path / "second.zip")

    assert (alice.id, "alice") == (restored.tenant_id, restored.slug)
    assert files(first) == files(second)
    assert [] == read_tombstones(home)
    assert 0 == await filled.scalar(
        text("SELECT count(*) FROM pg_policy WHERE polname = 'migration_pass'")
    )
    assert await filled.scalar(
        text("SELECT relforcerowsecurity FROM pg_class WHERE relname = 'api_usage_202401'")
    )


@pytest.mark.usefixtures("filled")
async def test_exports_and_restores_stand_in_the_audit_log_of_their_tenant(
    cluster: Cluster,
    app: Database,
    migrator: ServerUrl,
    alice: TestTenant,
    home: Path,
    tmp_path: Path,
) -> None:
    path = await export(app, alice, tmp_path / "alice.zip")
    async with app.tenant_session(alice.id) as session:
        newest = (await list_entries(session, limit=1))[0]
    await erase(migrator, home, alice)
    await restore(cluster, migrator, home, path, slug="alice2")
    async with app.tenant_session(alice.id) as session:
        last = (await list_entries(session, limit=1))[0]

    assert ("exported tenant", "alice") == (newest.action, newest.subject)
    assert {"by": "the operator", "rows": 22, "tokens": "left out"} == newest.details
    assert ("restored tenant", "alice2") == (last.action, last.subject)
    assert "2026-11-23T12:00:00Z" == last.details["exported_at"]


async def test_a_tenant_that_is_here_or_a_slug_that_is_taken_is_refused(
    cluster: Cluster,
    filled: AsyncConnection,
    app: Database,
    migrator: ServerUrl,
    alice: TestTenant,
    home: Path,
    tmp_path: Path,
) -> None:
    path = await export(app, alice, tmp_path / "alice.zip")

    with pytest.raises(AlreadyExists, match="is here, as 'alice'"):
        await restore(cluster, migrator, home, path, slug="other")
    await erase(migrator, home, alice)
    with pytest.raises(AlreadyExists, match="the slug 'bob'"):
        await restore(cluster, migrator, home, path, slug="bob")

    assert 1 == await count_rows(filled, "tenants")
    assert 1 == len(read_tombstones(home))


@pytest.mark.parametrize(
    ("table", "old", "new", "words"),
    [
        ("scoring_adjustments", '"goal":"', '"goal":"no', "ck_scoring_adjustments_goal"),
        ("predictions", '"score":1', '"score":"x"', "a rule"),
    ],
)
async def test_one_row_that_cannot_be_stored_leaves_nothing(
    cluster: Cluster,
    filled: AsyncConnection,
    app: Database,
    migrator: ServerUrl,
    alice: TestTenant,
    home: Path,
    tmp_path: Path,
    table: str,
    old: str,
    new: str,
    words: str,
) -> None:
    path = await export(app, alice, tmp_path / "alice.zip")
    await erase(migrator, home, alice)

    with pytest.raises(BadFile, match=words):
        await restore(cluster, migrator, home, rewritten(path, table, old, new))

    await filled.rollback()
    assert 1 == await count_rows(filled, "tenants")
    assert 1 == await count_rows(filled, "concepts")
    assert 1 == await count_rows(filled, "viral.tenant_contexts")
    assert 1 == len(read_tombstones(home))


async def test_a_row_of_the_file_cannot_become_another_tenants(
    cluster: Cluster,
    filled: AsyncConnection,
    app: Database,
    migrator: ServerUrl,
    alice: TestTenant,
    bob: TestTenant,
    home: Path,
    tmp_path: Path,
) -> None:
    path = await export(app, alice, tmp_path / "alice.zip")
    await erase(migrator, home, alice)

    forged = rewritten(path, "learner_effects", str(alice.id), str(bob.id))
    await restore(cluster, migrator, home, forged)

    await filled.rollback()
    counts = await filled.execute(
        text("SELECT tenant_id, count(*) FROM learner_effects GROUP BY 1")
    )
    assert {(alice.id, 1), (bob.id, 1)} == {tuple(row) for row in counts}


async def test_tokens_travel_sealed_only_and_open_at_their_place_again(
    cluster: Cluster,
    keyed: Database,
    migrator: ServerUrl,
    alice: TestTenant,
    home: Path,
    tmp_path: Path,
) -> None:
    async with keyed.tenant_session(alice.id) as session:
        account = SocialAccount(
            platform="tiktok", external_id="1", username="a", access_token=Secret("tok-1")
        )
        session.add(account)
        await session.flush()
        account_id = account.id

    plain = await export(keyed, alice, tmp_path / "alice.zip")
    sealed = await export(keyed, alice, tmp_path / "alice.sealed", KEYS)
    with pytest.raises(BackupBroken):
        async with open_archive(sealed, KeyRing([new_key(NOW)]), home=home):
            pass
    found = []
    for path in (plain, sealed):
        await erase(migrator, home, alice)
        await restore(cluster, migrator, home, path)
        async with keyed.tenant_session(alice.id) as session:
            back = await session.get_one(SocialAccount, (alice.id, account_id))
            found.append(back.access_token)

    assert "access_token" not in rows(plain, "social_accounts")[0]
    assert b"PK" not in sealed.read_bytes()[:64]
    assert [] == [each.name for each in home.iterdir() if "json" not in each.name]
    assert b"" == getattr(found[0], "ciphertext", None)
    assert "tok-1" == found[1].reveal()


async def test_another_installation_knows_people_by_their_e_mail(
    cluster: Cluster,
    filled: AsyncConnection,
    app: Database,
    alice: TestTenant,
    home: Path,
    tmp_path: Path,
) -> None:
    # Usage names a person without a reference.
    await filled.execute(text("UPDATE api_usage SET user_id = :id"), {"id": alice.user_id})
    await filled.commit()
    path = await export(app, alice, tmp_path / "alice.zip")
    await copy_template(cluster, "elsewhere")
    there = cluster.database("viral_system", "elsewhere")
    try:
        known = await make_tenant(there, cluster.secrets, slug="first")
        async with superuser(cluster, "elsewhere") as connection:
            await connection.execute(text("UPDATE users SET email = 'alice@example.com'"))
            await connection.commit()
            await restore(cluster, cluster.url("viral_migrator", "elsewhere"), home, path)
            people = [await count_rows(connection, "users")]
            for name in ("memberships", "audit_log", "generations", "api_usage", "quota_ledger"):
                query = text(
                    f"SELECT user_id FROM {name} WHERE tenant_id = :id AND user_id IS NOT NULL"
                )
                people += await connection.scalars(query, {"id": alice.id})
    finally:
        await there.close()
        await cluster.execute_as_admin("postgres", "DROP DATABASE elsewhere WITH (FORCE)")

    assert [1, *[known.user_id] * 5] == people


async def test_an_export_is_of_one_moment(
    filled: AsyncConnection, app: Database, alice: TestTenant
) -> None:
    """Rows that come while it reads, in a table that it reads later, are not half in it."""
    seen: list[str] = []

    async with app.tenant_snapshot(alice.id) as session:
        before = await session.scalar(text("SELECT count(*) FROM learner_effects"))
        await filled.execute(text("DELETE FROM scoring_adjustments"))
        await filled.commit()
        seen.append(str(await session.scalar(text("SELECT count(*) FROM scoring_adjustments"))))

    assert (1, ["1"]) == (before, seen)


@pytest.mark.usefixtures("filled")
async def test_an_export_that_fails_leaves_no_file_and_one_that_exists_is_kept(
    app: Database, alice: TestTenant, tmp_path: Path
) -> None:
    path = tmp_path / "alice.zip"

    def fail(step: str, _done: int, _total: int | None) -> None:
        if step == "videos":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await export_tenant(app, alice.id, path, key=None, now=NOW, advance=fail)
    left = list(tmp_path.glob("*"))
    path.write_text("precious")
    with pytest.raises(AlreadyExists):
        await export(app, alice, path)

    assert ([], "precious") == ([each for each in left if each.name != "home"], path.read_text())


async def test_what_is_no_export_or_is_damaged_is_refused(
    cluster: Cluster,
    filled: AsyncConnection,
    app: Database,
    migrator: ServerUrl,
    alice: TestTenant,
    home: Path,
    tmp_path: Path,
) -> None:
    path = await export(app, alice, tmp_path / "alice.zip")
    await erase(migrator, home, alice)
    contents = files(path)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme", "no export")
    with zipfile.ZipFile(tmp_path / "added.zip", "w") as archive:
        for name, content in contents.items():
            changed = content + content if name == "videos.jsonl" else content
            archive.writestr(name, changed)
    with zipfile.ZipFile(tmp_path / "sessions.zip", "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content.replace(b'"name": "videos"', b'"name": "sessions"'))

    for name, words in (
        ("other.zip", "is no export"),
        ("added.zip", "rows of videos in .* are not those"),
        ("sessions.zip", "no export of the schema here: sessions"),
        ("none.zip", "cannot be read"),
    ):
        with pytest.raises(BadFile, match=words):
            await restore(cluster, migrator, home, tmp_path / name)
    await filled.rollback()
    assert 1 == await count_rows(filled, "tenants")
