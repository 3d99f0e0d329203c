"""Branches at Neon, against a server that takes and refuses what the documented API does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from fakes.neon import FakeNeon
from structlog.testing import capture_logs

from viral.adapters.neon.api import opened
from viral.adapters.neon.branches import NeonBranches
from viral.errors import (
    AlreadyExists,
    BadInput,
    BadSetting,
    BranchRefused,
    NotFound,
    RestoreRefused,
    VendorRefused,
    VendorUnreachable,
    ViralError,
)
from viral.postgres.branches.provider import Branch

NOW = datetime.now(UTC)


@pytest.fixture
def neon() -> Iterator[FakeNeon]:
    with FakeNeon() as neon:
        yield neon


@pytest.fixture
def branches(neon: FakeNeon) -> NeonBranches:
    return connected(neon)


def connected(neon: FakeNeon, **arguments: Any) -> NeonBranches:
    defaults = {
        "api_key": neon.api_key,
        "project_id": neon.project_id,
        "first_pause_s": 0.01,
        "patience_s": 2.0,
        "retries": 0,
    }
    return NeonBranches(
        partial(opened, neon.url, **{**defaults, **arguments}), clock=lambda: datetime.now(UTC)
    )


async def make(branches: NeonBranches, name: str, **arguments: Any) -> Branch:
    defaults = {
        "parent": None,
        "at": None,
        "schema_only": False,
        "expires_at": None,
        "protected": False,
        "advance": lambda *_: None,
    }
    return await branches.create(name, **{**defaults, **arguments})


async def restore(branches: NeonBranches, branch: Branch, at: datetime) -> Branch:
    return await branches.restore(branch, at, advance=lambda *_: None)


# Making.


async def test_a_branch_is_made_with_a_compute_and_waited_for(
    neon: FakeNeon, branches: NeonBranches
) -> None:
    seen: list[tuple[int, int | None]] = []

    made = await make(branches, "x", advance=lambda _, done, total: seen.append((done, total)))

    assert (made.kind, made.state, made.is_protected) == ("neon", "ready", False)
    assert made.parent_id == neon.named("main")["id"]
    assert made.id in neon.endpoints
    assert seen[-1] == (2, 2)
    assert all(each["status"] == "finished" for each in neon.operations.values())


async def test_a_branch_gets_what_is_asked_for(neon: FakeNeon, branches: NeonBranches) -> None:
    parent = await make(branches, "parent")
    expires = NOW + timedelta(days=7)

    made = await make(
        branches, "child", parent="parent", schema_only=True, expires_at=expires, protected=True
    )

    assert made.parent_id == parent.id
    assert made.is_protected
    assert made.expires_at == expires.replace(microsecond=expires.microsecond // 1000 * 1000)
    assert neon.named("child")["init_source"] == "schema-only"


async def test_a_branch_of_the_past_begins_at_its_moment(branches: NeonBranches) -> None:
    at = (NOW - timedelta(hours=2)).replace(microsecond=0)

    made = await make(branches, "past", at=at.astimezone(tz=None))

    assert made.parent_at == at
    with pytest.raises(VendorRefused, match="outside of the history"):
        await make(branches, "older", at=NOW - timedelta(days=8))
    with pytest.raises(BadInput, match="rows"):
        await make(branches, "bare", at=at, schema_only=True)


async def test_a_name_is_taken_once(neon: FakeNeon, branches: NeonBranches) -> None:
    with pytest.raises(AlreadyExists, match="main"):
        await make(branches, "main")
    with pytest.raises(NotFound, match="nobody"):
        await make(branches, "x", parent="nobody")
    with pytest.raises(BadInput):
        await make(branches, "no name")

    assert not neon.changes


# What Neon does not do at once, or not at all.


async def test_a_branch_is_made_once_though_the_answer_is_lost(neon: FakeNeon) -> None:
    neon.lose_answers()

    made = await make(connected(neon, retries=2), "x")

    assert neon.changes == {"POST branches": 1}
    assert (made.name, made.state) == ("x", "ready")
    assert all(each["status"] == "finished" for each in neon.operations.values())


@pytest.mark.parametrize("status", [500, 502])
async def test_what_may_have_been_done_is_not_sent_again(neon: FakeNeon, status: int) -> None:
    neon.fail(status)

    with pytest.raises(VendorUnreachable, match=str(status)) as refusal:
        await make(connected(neon, retries=2), "x")

    assert neon.changes == {"POST branches": 1}
    assert "branch list" in refusal.value.hint


@pytest.mark.parametrize("status", [423, 429, 503])
async def test_what_was_not_done_is_sent_again(neon: FakeNeon, status: int) -> None:
    neon.fail(status, times=3)

    made = await make(connected(neon), "x")

    assert neon.changes == {"POST branches": 4}
    assert made.state == "ready"


async def test_a_locked_project_is_given_up_some_time(neon: FakeNeon) -> None:
    neon.fail(423, times=1000)

    with pytest.raises(VendorUnreachable, match="another operation"):
        await make(connected(neon, patience_s=0.2), "x")


async def test_retry_after_is_honoured(neon: FakeNeon, branches: NeonBranches) -> None:
    neon.fail(429, headers={"Retry-After": "1"})

    await make(branches, "x")

    first, second = (call.at for call in neon.calls if call.method == "POST")
    assert second - first >= 1


async def test_a_long_retry_after_is_not_waited_for(neon: FakeNeon, branches: NeonBranches) -> None:
    neon.fail(429, headers={"Retry-After": "3600"})

    with pytest.raises(VendorUnreachable, match="too many"):
        await make(branches, "x")


@pytest.mark.parametrize("outcome", ["skipped", "cancelled"])
async def test_an_operation_may_end_otherwise(
    neon: FakeNeon, branches: NeonBranches, outcome: str
) -> None:
    neon.end_operations("finished", outcome)

    assert (await make(branches, "x")).state == "ready"


@pytest.mark.parametrize("outcome", ["failed", "error"])
async def test_an_operation_that_fails_is_named(
    neon: FakeNeon, branches: NeonBranches, outcome: str
) -> None:
    neon.end_operations("finished", outcome)

    with pytest.raises(VendorRefused, match="start_compute"):
        await make(branches, "x")


async def test_an_operation_without_end_is_given_up(neon: FakeNeon) -> None:
    neon.polls = 10_000

    with pytest.raises(VendorUnreachable, match="create_branch, start_compute"):
        await make(connected(neon, patience_s=0.2), "x")


# Finding.


async def test_all_pages_are_read_and_the_default_branch_is_first(
    neon: FakeNeon, branches: NeonBranches
) -> None:
    for name in ("a", "b", "c", "d"):
        await make(branches, name)
    neon.named("main")["default"] = False
    neon.named("c")["default"] = True
    neon.most_per_page = 2

    names = [each.name for each in await branches.list()]

    assert names == ["c", "main", "a", "b", "d"]
    assert (await branches.get("d")).id == neon.named("d")["id"]
    assert (await branches.get(neon.named("d")["id"])).name == "d"
    with pytest.raises(NotFound, match="nobody"):
        await branches.get("nobody")


# Deleting and protecting.


async def test_a_branch_is_deleted(neon: FakeNeon, branches: NeonBranches) -> None:
    branch = await make(branches, "x")

    await branches.delete(branch)

    assert list(neon.branches) == [neon.named("main")["id"]]
    assert all(each["status"] == "finished" for each in neon.operations.values())


async def test_a_branch_is_deleted_though_the_answer_is_lost(neon: FakeNeon) -> None:
    patient = connected(neon, retries=2)
    branch = await make(patient, "x")
    neon.lose_answers()

    # The second attempt meets the operation of the first, the third finds no branch.
    await patient.delete(branch)

    assert len(neon.branches) == 1


async def test_what_may_not_be_deleted_is_not_asked_for(
    neon: FakeNeon, branches: NeonBranches
) -> None:
    main = await branches.get("main")
    parent = await make(branches, "parent")
    await make(branches, "child", parent="parent")
    guarded = await make(branches, "guarded", protected=True)
    neon.calls.clear()

    for branch in (main, parent, guarded):
        with pytest.raises(BranchRefused):
            await branches.delete(branch)

    assert not neon.changes


async def test_protection_comes_and_goes(branches: NeonBranches) -> None:
    branch = await make(branches, "x")

    assert (await branches.protect(branch, is_protected=True)).is_protected
    with pytest.raises(BranchRefused, match="protected"):
        await restore(branches, branch, NOW)
    assert not (await branches.protect(branch, is_protected=False)).is_protected


# Restoring.


async def test_a_restored_branch_leaves_its_former_state_and_its_children_to_another(
    neon: FakeNeon, branches: NeonBranches
) -> None:
    main = await branches.get("main")
    child = await make(branches, "child")

    kept = await restore(branches, main, NOW - timedelta(hours=1))

    assert kept.name.startswith("main_before_")
    assert neon.named("main")["restored_from"] == main.id
    assert neon.branches[child.id]["parent_id"] == kept.id


async def test_a_moment_before_a_branch_is_one_of_its_parent(
    neon: FakeNeon, branches: NeonBranches
) -> None:
    branch = await make(branches, "x")

    await restore(branches, branch, NOW - timedelta(hours=1))

    assert neon.named("x")["restored_from"] == neon.named("main")["id"]
    with pytest.raises(RestoreRefused, match="was not there"):
        await restore(branches, branch, NOW - timedelta(days=8))


async def test_a_branch_is_restored_once_though_the_answer_is_lost(neon: FakeNeon) -> None:
    patient = connected(neon, retries=2)
    neon.lose_answers()

    kept = await restore(patient, await patient.get("main"), NOW - timedelta(hours=1))

    assert sum(neon.changes.values()) == 1
    assert neon.named(kept.name)["id"] == kept.id
    assert neon.named("main")["current_state"] == "ready"


# Addresses.


@pytest.mark.parametrize("password", [True, False])
@pytest.mark.parametrize("pooled", [True, False])
async def test_an_address_for_the_app(
    neon: FakeNeon, branches: NeonBranches, *, pooled: bool, password: bool
) -> None:
    neon.roles["viral_app"] = "app%40secret"

    address = await branches.connection_string(
        await branches.get("main"), pooled=pooled, password=password
    )

    secret = ":app%40secret" if password else ""
    pooler = "-pooler" if pooled else ""
    assert address == (
        f"postgresql://viral_app{secret}@ep-cool-darkness-1{pooler}.us-east-2.aws.neon.tech/viral"
        "?sslmode=require&channel_binding=require"
    )


async def test_the_owner_connects_where_the_roles_are_missing(
    neon: FakeNeon, branches: NeonBranches
) -> None:
    neon.databases = {"neondb": "neondb_owner"}
    neon.roles = {"neondb_owner": "secret"}

    settings = await branches.settings(await branches.get("main"), password=False)

    host = "us-east-2.aws.neon.tech/neondb?sslmode=require&channel_binding=require"
    assert settings == {
        "DATABASE_URL": f"postgresql://neondb_owner@ep-cool-darkness-1-pooler.{host}",
        "DIRECT_URL": f"postgresql://neondb_owner@ep-cool-darkness-1.{host}",
    }


async def test_of_several_databases_ours_is_meant(neon: FakeNeon, branches: NeonBranches) -> None:
    main = await branches.get("main")
    neon.databases["other"] = "viral_owner"

    address = await branches.connection_string(main, pooled=False, password=False)
    del neon.databases["viral"]
    neon.databases["third"] = "viral_owner"

    assert "/viral?" in address
    with pytest.raises(BranchRefused, match="other, third"):
        await branches.connection_string(main, pooled=False, password=False)


async def test_a_branch_without_a_compute_has_no_address(branches: NeonBranches) -> None:
    kept = await restore(branches, await branches.get("main"), NOW - timedelta(hours=1))

    with pytest.raises(BranchRefused, match="no compute") as refusal:
        await branches.connection_string(kept, pooled=False, password=True)

    assert kept.name in refusal.value.hint


@pytest.mark.parametrize(
    "uri", ["https://x.example/", "postgresql://u:p@h/d\nX=1", "postgresql://", "p w"]
)
async def test_an_address_that_is_none_is_not_passed_on(
    neon: FakeNeon, branches: NeonBranches, uri: str
) -> None:
    neon.addresses["main", "viral_owner"] = uri

    with pytest.raises(VendorRefused, match="cannot be read") as refusal:
        await branches.connection_string(await branches.get("main"), pooled=False, password=True)

    assert uri not in refusal.value.message


# Errors and secrets.


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (400, VendorRefused, "it refuses"),
        (403, VendorRefused, "may not"),
        (404, NotFound, "no such thing"),
        (422, VendorRefused, "it refuses"),
    ],
)
async def test_a_refusal_says_what_neon_says(
    neon: FakeNeon, branches: NeonBranches, status: int, error: type[ViralError], words: str
) -> None:
    neon.fail(status, f"limit \x1b[31m of {neon.api_key} reached", code="BRANCHES_LIMIT_EXCEEDED")

    with pytest.raises(error, match=words) as refusal:
        await make(branches, "x")

    message = refusal.value.message
    assert "make x" in message
    assert "BRANCHES_LIMIT_EXCEEDED" in message
    assert "limit [31m of ... reached" in message


async def test_the_key_is_sent_and_shown_nowhere(neon: FakeNeon) -> None:
    wrong = "napi_wrongSecret"

    with capture_logs() as logs, pytest.raises(VendorRefused, match="key") as refusal:
        await connected(neon, api_key=wrong).list()

    assert "NEON_API_KEY" in refusal.value.hint
    assert neon.calls[0].headers["authorization"] == f"Bearer {wrong}"
    assert wrong not in repr((logs, refusal.value, refusal.value.hint, connected(neon)))
    async with opened(neon.url, api_key=wrong, project_id=neon.project_id) as api:
        assert wrong not in repr(api)


@pytest.mark.parametrize("project_id", ["../users/me", ""])
async def test_a_project_id_is_no_path(neon: FakeNeon, project_id: str) -> None:
    with pytest.raises(BadSetting, match="NEON_PROJECT_ID"):
        await connected(neon, project_id=project_id).list()

    assert not neon.calls


@pytest.mark.parametrize("url", ["http://console.neon.tech/api/v2", "ftp://x", "http://[", ""])
async def test_the_key_travels_under_tls(url: str) -> None:
    with pytest.raises(BadSetting, match="NEON_API_URL"):
        async with opened(url, api_key="napi_x", project_id="x"):
            pass
