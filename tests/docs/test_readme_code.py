"""The code of the README runs as it stands."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
from clusters import Cluster
from factories import TestTenant
from studio import add_trends, generate, trend

from viral.database.engine import Database

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


async def test_the_readmes_code_reads_one_tenants_concepts(
    monkeypatch: pytest.MonkeyPatch,
    cluster: Cluster,
    database_name: str,
    app: Database,
    system: Database,
    alice: TestTenant,
    bob: TestTenant,
) -> None:
    for name, role in (("DATABASE_URL", "viral_app"), ("DIRECT_URL", "viral_migrator")):
        monkeypatch.setenv(name, cluster.url(role, database_name).libpq(password=True))
    monkeypatch.setenv("VIRAL_HOME", str(cluster.home))
    await add_trends(system, trend())
    await generate(app, alice.id, count=2)
    await generate(app, bob.id, count=1)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    body = textwrap.indent(code, "    ") + "    return concepts\n"
    scope: dict[str, object] = {"tenant_id": alice.id}

    exec(f"async def run():\n{body}", scope)
    concepts = await scope["run"]()  # type: ignore[operator]  # made by the line above

    assert [alice.id, alice.id] == [concept.tenant_id for concept in concepts]
