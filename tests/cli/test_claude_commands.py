"""The key of Claude's, from the environment to what is stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import Cluster
from fakes.anthropic import Fails, FakeAnthropic, Says
from shell import Shell, environment_of

MODEL = "claude-sonnet-5-5"
SCENE = {"seconds": 6, "visual": "A kettle", "camera": "still", "on_screen_text": ""}
DRAFT = {
    "trend": 0,
    "title": "A title of Claude's",
    "hook": "A hook of Claude's",
    "hook_type": "question",
    "scenes": [SCENE, SCENE],
    "caption": "",
    "hashtags": [],
    "days": 1,
    "hour": 7,
    "look": "",
    "why": "",
}


@pytest.fixture
def account() -> Iterator[FakeAnthropic]:
    with FakeAnthropic() as account:
        yield account


@pytest.fixture(scope="module")
def environment(
    cluster: Cluster, module_database: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Name a database with samples, whose making cost nothing although a key was set."""
    environment = environment_of(cluster, module_database)
    shell = Shell(environment, tmp_path_factory.mktemp("seed"))
    with FakeAnthropic() as account:
        account.gives(Says("{}"))
        seeded = shell.viral("db", "seed", **key_of(account))
        assert (0, []) == (seeded.code, account.requests)
    return environment


@pytest.fixture
def shell(environment: dict[str, str], tmp_path: Path, account: FakeAnthropic) -> Shell:
    return Shell(environment | key_of(account), tmp_path)


def key_of(account: FakeAnthropic) -> dict[str, str]:
    return {"ANTHROPIC_API_KEY": account.api_key, "ANTHROPIC_BASE_URL": account.url}


def test_with_a_key_claude_writes(shell: Shell, account: FakeAnthropic) -> None:
    # Ten candidates for a concept are two requests.
    for_each = [
        {**DRAFT, **{line: f"{DRAFT[line]} {number}" for line in ("title", "hook", "caption")}}
        for number in range(10)
    ]
    account.gives(*(Says(json.dumps({"drafts": part})) for part in (for_each[:8], for_each[8:])))

    written = shell.viral("concepts", "generate", "--tenant", "demo", "--count", "1", "--json")

    assert written.code == 0
    assert written.document[0]["title"].startswith("A title of Claude's ")
    assert [MODEL, MODEL] == [each.body["model"] for each in account.requests]
    assert account.api_key not in written.out + written.err


def test_the_doctor_says_whether_the_key_is_taken(shell: Shell, account: FakeAnthropic) -> None:
    def told(**environment: str) -> tuple[int, str, str, str]:
        answer = shell.viral("doctor", "--only", "claude", "--json", **environment)
        (finding,) = answer.document
        return answer.code, finding["state"], finding["cause"], finding["fix"] or ""

    assert (0, "ok", "The key is taken, and the models are known.", "") == told()
    code, state, cause, fix = told(ANTHROPIC_API_KEY="sk-ant-wrong")
    assert (1, "error", "Claude refuses: the key is not accepted (401).") == (code, state, cause)
    assert "Correct ANTHROPIC_API_KEY: it is wrong or revoked." == fix
    assert account.requests == []


def test_a_key_does_not_travel_in_the_clear(shell: Shell) -> None:
    answer = shell.viral(
        "concepts",
        "generate",
        "--tenant",
        "demo",
        ANTHROPIC_BASE_URL="http://api.anthropic.example",
    )

    assert "ANTHROPIC_BASE_URL is no https address." in answer.err
    assert 0 != answer.code


def test_a_service_that_is_down_leaves_it_to_the_offline_writer(
    shell: Shell, account: FakeAnthropic
) -> None:
    account.gives(Fails(400, "invalid_request_error"))

    written = shell.viral("concepts", "generate", "--tenant", "demo", "--count", "2", "--json")

    assert (0, 2, 1) == (written.code, len(written.document), len(account.requests))
