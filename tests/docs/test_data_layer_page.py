"""The code of the developer's guide runs as it stands, top to bottom."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
from clusters import Cluster
from factories import TestTenant
from sqlalchemy import select
from studio import add_trends, generate, trend

from viral.database.engine import Database
from viral.schema.content import Concept, ConceptVariant

PAGE = (Path(__file__).parents[2] / "docs" / "data-layer.md").read_text("utf-8")


async def test_the_guides_code_reads_and_writes_one_tenants_rows(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
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
    async with app.tenant_session(alice.id) as session:
        concept = (await session.scalars(select(Concept).order_by(Concept.id))).first()
    assert concept is not None
    opening, *rest = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    body = opening.replace("        ...  #", "        pass  #") + textwrap.indent(
        "\n".join(rest), "    "
    )
    scope: dict[str, object] = {"tenant_id": alice.id, "concept_id": concept.id}
    lines = textwrap.indent(f"{body}\nreturn generations", "    ")

    exec(f"async def run():\n{lines}", scope)
    generations = await scope["run"]()  # type: ignore[operator]  # made by the line above

    assert [alice.id] == [each.tenant_id for each in generations]
    assert concept.title in capsys.readouterr().out
    async with app.tenant_session(alice.id) as session:
        titles = select(ConceptVariant.title).order_by(ConceptVariant.label)
        assert ["Soup", "Soup, at once"] == list(await session.scalars(titles))
