"""`viral branch` with a key for Neon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import Cluster
from fakes.neon import FakeNeon
from shell import Shell, environment_of

SECRET = "secret-of-the-app"


@pytest.fixture
def neon() -> Iterator[FakeNeon]:
    with FakeNeon(polls=1) as neon:
        neon.roles |= {"viral_app": SECRET, "viral_migrator": "secret-of-the-migrator"}
        yield neon


@pytest.fixture
def shell(cluster: Cluster, neon: FakeNeon, tmp_path: Path) -> Shell:
    """A terminal of a machine that has nothing but the key."""
    kept = environment_of(cluster, "unused")
    return Shell(
        {name: kept[name] for name in kept.keys() - {"DATABASE_URL", "DIRECT_URL"}}
        | {
            "VIRAL_HOME": str(tmp_path / "home"),
            "NEON_API_KEY": neon.api_key,
            "NEON_PROJECT_ID": neon.project_id,
            "NEON_API_URL": neon.url,
        },
        tmp_path,
    )


def test_the_life_of_a_branch(neon: FakeNeon, shell: Shell) -> None:
    made = shell.viral("branch", "create", "feature/x", "--expires", "7d", "--json")
    listed = shell.viral("branch", "list")
    kept = shell.viral("branch", "restore", "main", "--at", "1h")
    refused = shell.viral("branch", "delete", "main", "--force")
    shell.viral("branch", "delete", "feature/x", "--confirm", "feature/x")

    assert made.document["kind"] == "neon"
    assert [line.split()[0] for line in listed.out.splitlines()[1:]] == ["main", "feature/x"]
    assert "main_before_" in kept.out
    assert refused.code == 1
    assert "default branch" in refused.err
    names = [each["name"].partition("_before_")[0] for each in neon.branches.values()]
    assert sorted(names) == ["main", "main"]


def test_a_checked_out_branch_is_that_of_the_settings(shell: Shell) -> None:
    answer = shell.viral("branch", "checkout", "main")

    place = "us-east-2.aws.neon.tech/viral?sslmode=require&channel_binding=require"
    assert answer.out.splitlines() == [
        f"DATABASE_URL=postgresql://viral_app:{SECRET}@ep-cool-darkness-1-pooler.{place}",
        f"DIRECT_URL=postgresql://viral_migrator:secret-of-the-migrator@ep-cool-darkness-1.{place}",
    ]
    files = [each for each in shell.folder.rglob("*") if each.is_file()]
    assert not [each for each in files if SECRET in each.read_text(errors="replace")]


def test_without_a_name_the_default_branch_is_meant(shell: Shell) -> None:
    shell.viral("branch", "create", "x")

    answer = shell.viral("branch", "connection-string")

    assert answer.out == shell.viral("branch", "connection-string", "main").out
    assert answer.out.startswith(f"postgresql://viral_app:{SECRET}@ep-cool-darkness-1.")


def test_branches_are_compared_by_their_databases(
    cluster: Cluster, database_name: str, neon: FakeNeon, shell: Shell
) -> None:
    shell.viral("branch", "create", "x")
    neon.roles["viral_backup"] = "in the address"
    for name in ("main", "x"):
        address = cluster.url("viral_backup", database_name).libpq(password=True)
        neon.addresses[name, "viral_backup"] = address

    answer = shell.viral("branch", "diff", "main", "x")

    assert answer.code == 0
    assert "equal schemas and row counts" in answer.out


def test_a_key_without_a_project_is_not_enough(shell: Shell) -> None:
    del shell.environment["NEON_PROJECT_ID"]

    answer = shell.viral("branch", "list")

    assert answer.code == 1
    assert "NEON_PROJECT_ID is missing" in answer.err


def test_the_key_is_in_nothing_that_is_said(shell: Shell) -> None:
    key = "napi_wrongSecret"

    answer = shell.viral("branch", "list", NEON_API_KEY=key)

    assert answer.code == 1
    assert "NEON_API_KEY" in answer.err
    assert key not in answer.out + answer.err
