"""The command: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from clusters import Cluster
from poolers import pooled, running_pooler
from typer.testing import CliRunner, Result

from viral.cli.verify import verify
from viral.errors import BadFile
from viral.features.verification import run as attacks
from viral.features.verification.attacks import roles
from viral.features.verification.verdicts import Family
from viral.settings import Settings
from viral.web.verification import family

# A whole run, which a busy machine makes long.
pytestmark = pytest.mark.timeout(180)

WHOLE = family.api_family
application = typer.Typer()
application.command("verify")(verify)


@pytest.fixture
def installed(cluster: Cluster, database_name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name the database of the test as the product's environment does."""
    monkeypatch.setenv("VIRAL_HOME", str(cluster.home))
    monkeypatch.setenv("DATABASE_URL", cluster.server.url("viral_app", database_name))
    monkeypatch.setenv("DIRECT_URL", cluster.server.url("viral_migrator", database_name))
    return database_name


async def run(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, application, list(arguments))


@asynccontextmanager
async def one_attack(settings: Settings) -> AsyncIterator[Family]:
    """Attack the application as ever, and by no more than its first attack."""
    async with WHOLE(settings) as whole:
        yield replace(whole, attacks=whole.attacks[:1])


@pytest.mark.usefixtures("installed")
async def test_a_report_is_written_signed_and_checked(tmp_path: Path) -> None:
    ended = await run("--report", str(tmp_path / "isolation"))

    document, page = tmp_path / "isolation.json", tmp_path / "isolation.html"
    signed = json.loads(document.read_text())
    key = signed["signature"]["public_key"]
    assert 0 == ended.exit_code
    assert "all held" in ended.output
    assert key in ended.output
    assert key in page.read_text()
    assert "<script" not in page.read_text()
    checked = await run("--check", str(document), "--public-key", key, "--json")
    assert {"file": str(document), "public_key": key, "is_key_expected": True} == json.loads(
        checked.stdout
    )


async def test_a_leak_ends_with_exit_code_1_and_is_named_with_its_fix(
    cluster: Cluster, installed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The others find nothing here, and take most of the time.
    monkeypatch.setattr(attacks, "FAMILIES", (roles.ROLES,))
    monkeypatch.setattr(family, "api_family", one_attack)
    await cluster.execute_as_admin(installed, "ALTER TABLE videos NO FORCE ROW LEVEL SECURITY")

    ended = await run("--json")

    document = json.loads(ended.stdout)
    (leak,) = (each for each in document["leaks"] if each["attack"] == "A14")
    assert 1 == ended.exit_code
    assert "public.videos" == leak["object"]
    assert "FORCE ROW LEVEL SECURITY" in leak["fix"]
    assert document["total"]["leaked"] == len(
        [each for each in document["attempts"] if each["result"] == "leaked"]
    )


@pytest.mark.usefixtures("installed")
async def test_where_the_app_goes_through_a_pooler_the_server_itself_is_attacked(
    cluster: Cluster, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        attacks, "FAMILIES", (replace(roles.ROLES, attacks=roles.ROLES.attacks[:1]),)
    )
    monkeypatch.setattr(family, "api_family", one_attack)
    async with running_pooler(cluster.server) as pooler:
        url = pooled(cluster, pooler, database_name).setting(password=True)
        monkeypatch.setenv("DATABASE_URL", url)

        ended = await run()

    assert (0, "all held") == (ended.exit_code, ended.output.strip()[-9:-1])


async def test_an_edited_report_is_refused(tmp_path: Path) -> None:
    edited = tmp_path / "isolation.json"
    edited.write_text("{")

    ended = await run("--check", str(edited))

    assert isinstance(ended.exception, BadFile)
