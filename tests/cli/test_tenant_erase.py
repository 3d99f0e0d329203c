"""`viral tenant erase`: what it shows, what it asks, what it says, how it ends."""

from __future__ import annotations

import asyncio
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from clusters import Cluster, count_rows
from factories import TestTenant, make_tenant
from fakes.stripe import FakeStripe
from shell import Answer, Shell, environment_of
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.cli.tenant import _is_ours_to_end
from viral.database.engine import Database
from viral.database.tombstones import FILE_NAME, Tombstone, put_tombstone, slug_hash
from viral.features.tenants import find_tenant
from viral.runtime import Runtime


@pytest.fixture
async def shell(cluster: Cluster, database_name: str, system: Database, tmp_path: Path) -> Shell:
    """An installation of the test's own, with the tenants acme and other."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(cluster.home / "secrets.json", home)
    for slug in ("acme", "other"):
        await make_tenant(system, cluster.secrets, slug=slug)
    environment = environment_of(cluster, database_name) | {"VIRAL_HOME": str(home), "CI": ""}
    return Shell(environment, tmp_path)


async def run(shell: Shell, *arguments: str) -> Answer:
    return await asyncio.to_thread(shell.viral, "tenant", "erase", *arguments)


async def slugs(admin: AsyncConnection) -> list[str]:
    await admin.rollback()
    return list(await admin.scalars(text("SELECT slug FROM tenants ORDER BY 1")))


def tombstones(shell: Shell) -> Path:
    return Path(shell.environment["VIRAL_HOME"]) / FILE_NAME


async def test_a_confirmed_tenant_is_erased_once(shell: Shell, admin: AsyncConnection) -> None:
    await admin.execute(text("UPDATE tenants SET stripe_subscription_id = 'sub_' || slug"))
    await admin.commit()

    answer = await run(shell, "acme", "--confirm", "acme")
    again = await run(shell, "acme", "--confirm", "acme")

    left = "Its subscription sub_acme goes on at Stripe: end it there.\n"
    assert (0, f"Tenant acme is erased: 4 rows of 4 tables.\n{left}") == (answer.code, answer.out)
    assert "This will be gone, with no copy kept, of acme (Acme):\n" in answer.err
    assert "           1  memberships\n" in answer.err
    assert left in answer.err
    assert (1, "") == (again.code, again.out)
    assert "There is no tenant 'acme': it was erased on 20" in again.err
    assert ["other"] == await slugs(admin)
    assert 0o600 == tombstones(shell).stat().st_mode & 0o777


async def test_json_says_what_went(shell: Shell, admin: AsyncConnection) -> None:
    answer = await run(shell, "acme", "--confirm", "acme", "--json")

    document = answer.document
    assert 0 == answer.code
    billed: dict[str, object] = {"canceled_subscriptions": [], "subscription_left": None}
    assert {"id", "slug", "erased_at", "rows", *billed} == document.keys()
    assert billed == {name: document[name] for name in billed}
    assert document["rows"] == {
        "memberships": 1,
        "tenants": 1,
        "users": 1,
        "viral.tenant_contexts": 1,
    }
    assert 1 == await count_rows(admin, "memberships")


@pytest.fixture
def account() -> Iterator[FakeStripe]:
    with FakeStripe() as account:
        yield account


async def subscribed(shell: Shell, account: FakeStripe, admin: AsyncConnection) -> str:
    """Let acme pay, where the installation has a key for Stripe."""
    account.customers["cus_1"] = {"id": "cus_1"}
    id_ = account.subscribe("cus_1", "price_1")
    given = {"id": id_}
    columns = "stripe_customer_id = 'cus_1', stripe_subscription_id = :id"
    await admin.execute(text(f"UPDATE tenants SET {columns} WHERE slug = 'acme'"), given)
    await admin.commit()
    shell.environment.update(
        STRIPE_API_KEY=account.api_key,
        STRIPE_API_URL=account.url,
        STRIPE_PRICES="STARTER=price_1",
    )
    return id_


async def test_the_subscription_of_an_erased_tenant_is_canceled(
    shell: Shell, account: FakeStripe, admin: AsyncConnection
) -> None:
    id_ = await subscribed(shell, account, admin)

    refused = await run(shell, "acme", "--confirm", "other")
    assert "active" == account.subscriptions[id_]["status"]
    answer = await run(shell, "acme", "--confirm", "acme", "--json")

    assert f"Its subscription {id_} is canceled at Stripe.\n" in refused.err
    assert (0, [id_], None) == (
        answer.code,
        answer.document["canceled_subscriptions"],
        answer.document["subscription_left"],
    )
    assert "canceled" == account.subscriptions[id_]["status"]
    assert ["other"] == await slugs(admin)


async def test_nothing_is_erased_while_stripe_goes_on_asking_for_money(
    shell: Shell, account: FakeStripe, admin: AsyncConnection
) -> None:
    await subscribed(shell, account, admin)
    shell.environment["STRIPE_API_KEY"] = "sk_test_another"

    answer = await run(shell, "acme", "--confirm", "acme")

    assert (1, "") == (answer.code, answer.out)
    assert "the key is not accepted" in answer.err
    assert ["acme", "other"] == await slugs(admin)
    assert not tombstones(shell).exists()


@pytest.mark.parametrize(("branch", "ends"), [(None, True), ("feature/x", False)])
async def test_in_a_branch_no_subscription_is_canceled(
    system: Database, alice: TestTenant, branch: str | None, *, ends: bool
) -> None:
    """The tenant goes on in main, and pays."""
    async with system.session_without_tenant() as session:
        tenant = await find_tenant(session, alice.slug)
    tenant.stripe_customer_id = "cus_1"
    runtime = SimpleNamespace(branch=branch, vendors=SimpleNamespace(stripe=object()))

    assert ends == _is_ours_to_end(cast("Runtime", runtime), tenant)


async def test_without_a_confirmation_it_shows_what_would_go_and_changes_nothing(
    shell: Shell, admin: AsyncConnection
) -> None:
    answer = await run(shell, "acme")

    assert (1, "") == (answer.code, answer.out)
    assert "           1  users\n" in answer.err
    assert "needs the name of the tenant, and nobody is there to type it" in answer.err
    assert "fix: If you mean it: --confirm acme" in answer.err
    assert ["acme", "other"] == await slugs(admin)
    assert not tombstones(shell).exists()


async def test_another_name_is_refused(shell: Shell, admin: AsyncConnection) -> None:
    answer = await run(shell, "acme", "--confirm", "other", "--json")

    assert (1, "not_confirmed") == (answer.code, answer.document["error"]["code"])
    assert "'other' is not the name of the tenant" in answer.document["error"]["message"]
    assert ["acme", "other"] == await slugs(admin)
    assert not tombstones(shell).exists()


async def test_an_unknown_slug_is_named(shell: Shell) -> None:
    answer = await run(shell, "nobody", "--confirm", "nobody", "--json")

    assert (1, "not_found") == (answer.code, answer.document["error"]["code"])
    assert "There is no tenant 'nobody'." == answer.document["error"]["message"]


async def test_a_person_types_the_name(shell: Shell, admin: AsyncConnection) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, b"acme\n")

    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "viral", "tenant", "erase", "acme"],
        env=shell.environment,
        cwd=shell.folder,
        stdin=theirs,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(ours)
    os.close(theirs)

    assert 0 == ended.returncode
    assert "everything in the tenant acme will be gone" in ended.stderr
    assert ["other"] == await slugs(admin)


async def test_a_program_reads_json_while_a_restored_tenant_is_erased_again(
    shell: Shell, admin: AsyncConnection
) -> None:
    acme = await admin.scalar(text("SELECT id FROM tenants WHERE slug = 'acme'"))
    assert acme is not None
    erased = Tombstone(acme, slug_hash("acme"), datetime.now(UTC), "done", {})
    put_tombstone(tombstones(shell).parent, erased)

    answer = await asyncio.to_thread(shell.viral, "tenant", "list", "--json")

    assert (0, ["other"]) == (answer.code, [each["slug"] for each in answer.document])
    assert "tenant.erased_again" in answer.err
    assert ["other"] == await slugs(admin)
